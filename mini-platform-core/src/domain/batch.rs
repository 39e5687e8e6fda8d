//! Events that travel together.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{Event, EventId};

/// The most events in one batch.
///
/// Above this the cost of a call is spread so thin (under 0.1 ns an event) that a larger batch only adds
/// latency and memory.
pub const MAX_BATCH: usize = 1024;

/// Says why events do not make a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// There are no events.
    #[error("a batch holds at least one event")]
    Empty,
    /// There are more events than [`MAX_BATCH`].
    #[error("a batch holds at most {MAX_BATCH} events, got {0}")]
    TooLarge(usize),
    /// Two events have the same id.
    #[error("event id {0} stands twice in one batch")]
    RepeatedId(EventId),
}

/// 1 to [`MAX_BATCH`] events with different ids; a clone costs a reference count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBatch(Arc<[Event]>);

impl EventBatch {
    /// Checks events and makes a batch of them.
    ///
    /// # Errors
    /// None, too many, or two with the same id.
    pub fn new(events: Vec<Event>) -> Result<Self, InvalidBatch> {
        if events.len() > MAX_BATCH {
            return Err(InvalidBatch::TooLarge(events.len()));
        }
        let mut seen = HashSet::with_capacity_and_hasher(events.len(), RandomState::default());
        match events.iter().find(|event| !seen.insert(event.id())) {
            Some(repeated) => Err(InvalidBatch::RepeatedId(repeated.id().clone())),
            None if events.is_empty() => Err(InvalidBatch::Empty),
            None => Ok(Self(events.into())),
        }
    }

    /// Makes a batch of one event.
    #[must_use]
    pub fn single(event: Event) -> Self {
        Self(Arc::new([event]))
    }

    /// Returns the events, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.0
    }

    /// Returns the number of events, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Gathers events one by one.
#[derive(Debug, Default)]
pub struct EventBatchBuilder {
    events: Vec<Event>,
    ids: HashSet<EventId, RandomState>,
}

impl EventBatchBuilder {
    /// Adds an event, or gives it back when the batch is full or holds its id already: it goes into another one.
    ///
    /// # Errors
    /// The event, unchanged.
    pub fn push(&mut self, event: Event) -> Result<(), Event> {
        if self.events.len() == MAX_BATCH || !self.ids.insert(event.id().clone()) {
            return Err(event);
        }
        self.events.push(event);
        Ok(())
    }

    /// Returns the number of events so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are no events yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Makes the batch, or `None` of nothing.
    #[must_use]
    pub fn build(self) -> Option<EventBatch> {
        if self.events.is_empty() { None } else { Some(EventBatch(self.events.into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amount, BranchId, ClientId, OccurredAt, OperationType, Timestamp};

    fn event(id: &str) -> Event {
        Event::operation(
            EventId::new(id).unwrap(),
            ClientId::new("ann").unwrap(),
            BranchId::new("north").unwrap(),
            OperationType::Deposit,
            Amount::from_minor_units(1).unwrap(),
            "EUR".parse().unwrap(),
            OccurredAt::Given(Timestamp::UNIX_EPOCH),
        )
    }

    #[test]
    fn a_batch_is_never_empty_too_large_or_of_repeated_ids() {
        assert_eq!(EventBatch::new(Vec::new()), Err(InvalidBatch::Empty));
        let many: Vec<Event> = (0..=MAX_BATCH).map(|n| event(&n.to_string())).collect();
        assert_eq!(EventBatch::new(many), Err(InvalidBatch::TooLarge(MAX_BATCH + 1)));
        let twice = EventBatch::new(vec![event("a"), event("b"), event("a")]);
        assert_eq!(twice, Err(InvalidBatch::RepeatedId(EventId::new("a").unwrap())));
    }

    #[test]
    fn a_builder_gives_back_what_does_not_fit() {
        let mut builder = EventBatchBuilder::default();
        assert!(builder.push(event("a")).is_ok());
        assert_eq!(builder.push(event("a")), Err(event("a")), "a repeated id goes into another batch");
        (1..MAX_BATCH).for_each(|n| builder.push(event(&n.to_string())).unwrap());
        assert!(builder.push(event("one-too-many")).is_err());
        assert_eq!(builder.build().map(|batch| batch.len()), Some(MAX_BATCH));
        assert!(EventBatchBuilder::default().build().is_none());
    }
}
