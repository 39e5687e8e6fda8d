//! What became of an event.

use super::{EventScreening, Timestamp};

/// What an event store did with one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The event is new and now durable.
    Stored,
    /// The same id with the same content was stored before.
    Duplicate {
        /// The time under which it was stored: a resend may carry another one
        /// (see [`OccurredAt::Received`](super::OccurredAt::Received)).
        occurred_at: Timestamp,
    },
    /// The same id was stored before with other content; the new event is not stored.
    Conflict,
}

/// What became of an event that a worker finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Clear, and durable in the event store.
    Stored,
    /// Was stored before, with the same content.
    Duplicate,
    /// A subject is on the fraud list; not stored.
    Fraudulent,
    /// The id exists with other content; not stored.
    Conflict,
}

impl Outcome {
    /// Returns the wire name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Fraudulent => "fraudulent",
            Self::Conflict => "conflict",
        }
    }
}

/// What a worker answers for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestOutcome {
    /// What became of the event.
    pub outcome: Outcome,
    /// What the fraud list said of it.
    pub screening: EventScreening,
}
