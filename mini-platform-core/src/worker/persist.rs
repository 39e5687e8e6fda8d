//! Appending what is clear to the event store.

use crate::domain::{AppendOutcome, EventBatch, EventScreening, Timestamp};
use crate::error::{Fault, FaultKind, IngestError};
use crate::port::EventStore;

/// Returns the events without a hit, or `None` when every event has one. Shares the batch when none has.
pub(super) fn clear_events(batch: &EventBatch, screenings: &[EventScreening]) -> Option<EventBatch> {
    if !screenings.iter().any(EventScreening::is_hit) {
        return Some(batch.clone());
    }
    let clear = batch.events().iter().zip(screenings).filter(|(_, screening)| !screening.is_hit());
    EventBatch::new(clear.map(|(event, _)| event.clone()).collect()).ok()
}

/// Appends a batch and checks that the store answered densely.
pub(super) async fn append(
    store: &dyn EventStore,
    batch: &EventBatch,
    recorded_at: Timestamp,
) -> Result<Vec<AppendOutcome>, IngestError> {
    let outcomes = store.append(batch, recorded_at).await.map_err(IngestError::Append)?;
    if outcomes.len() != batch.len() {
        return Err(Fault::new("event store", "answer one outcome an event", FaultKind::Corrupt).into());
    }
    Ok(outcomes)
}
