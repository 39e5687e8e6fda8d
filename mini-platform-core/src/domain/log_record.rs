//! What is kept of a finished request for ever.

use super::{ClientId, Event, EventScreening, Outcome, Timestamp, TraceContext, WorkerId};

/// One finished request, as the long-term log keeps it.
///
/// A record of a stored event or of a duplicate holds the event under the times under which it is stored, so that an
/// event store can be made anew from records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The event. Of one that is stored, with the time under which it is.
    pub event: Event,
    /// What became of it.
    pub outcome: Outcome,
    /// What the fraud list said of it.
    pub screening: EventScreening,
    /// When the event was stored; `None` of an event that is not, and from workers that do not say.
    pub recorded_at: Option<Timestamp>,
    /// Who finished it.
    pub worker: WorkerId,
    /// When the dispatcher received it.
    pub received_at: Timestamp,
    /// When the dispatcher had the worker's answer.
    pub finished_at: Timestamp,
    /// Which trace it belongs to.
    pub trace: TraceContext,
}

impl LogRecord {
    /// Returns the client whose records stay in order: the sender of a transaction, the client of an operation.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        self.event.client()
    }
}
