//! Linking what the stored events imply.

use crate::domain::{AppendOutcome, Edge, EventBatch};
use crate::error::IngestError;
use crate::port::AdjacencyStore;

/// Links the stored events of a batch, and the duplicates too: a resend thereby repairs a crash between append
/// and link.
pub(super) async fn link(
    adjacency: &dyn AdjacencyStore,
    batch: &EventBatch,
    outcomes: &[AppendOutcome],
) -> Result<(), IngestError> {
    let mut edges = Vec::with_capacity(2 * batch.len());
    for (event, outcome) in batch.events().iter().zip(outcomes) {
        match outcome {
            AppendOutcome::Stored => edges.extend(Edge::implied_by(event, event.occurred_at().timestamp())),
            AppendOutcome::Duplicate(recording) => {
                edges.extend(Edge::implied_by(event, recording.occurred_at));
            }
            AppendOutcome::Conflict => {}
        }
    }
    if edges.is_empty() {
        return Ok(());
    }
    adjacency.link(&edges).await.map_err(IngestError::Link)
}
