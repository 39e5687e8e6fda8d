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
    let edges = Edge::implied_by_appended(batch, outcomes);
    if edges.is_empty() {
        return Ok(());
    }
    adjacency.link(&edges).await.map_err(IngestError::Link)
}
