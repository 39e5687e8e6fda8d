//! Batches of events.

use mini_platform_core::domain::{Event, EventBatch, InvalidBatch, MAX_BATCH};

use super::{ConvertError, InField};
use crate::v1;

impl From<&EventBatch> for v1::EventBatch {
    fn from(batch: &EventBatch) -> Self {
        Self { events: batch.events().iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::EventBatch> for EventBatch {
    type Error = ConvertError;

    fn try_from(batch: v1::EventBatch) -> Result<Self, ConvertError> {
        let size = batch.events.len();
        if size > MAX_BATCH {
            return Err(InvalidBatch::TooLarge(size)).in_field("events"); // before any work on the events
        }
        let mut events = Vec::with_capacity(size);
        for (index, event) in batch.events.into_iter().enumerate() {
            events.push(Event::try_from(event).map_err(|error| error.within_item("events", index))?);
        }
        Self::new(events).in_field("events")
    }
}

/// Takes the submissions of a request, as many as a batch may have.
pub(crate) fn submissions_of(request: v1::IngestRequest) -> Result<Vec<v1::Submission>, ConvertError> {
    match request.events.len() {
        0 => Err(InvalidBatch::Empty).in_field("events"),
        size if size > MAX_BATCH => Err(InvalidBatch::TooLarge(size)).in_field("events"),
        _ => Ok(request.events),
    }
}
