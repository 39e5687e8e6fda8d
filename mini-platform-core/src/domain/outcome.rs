//! What became of an event.

use super::{EventScreening, Timestamp};

/// Under which times an event is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    /// When the event happened. A resend may carry another time
    /// (see [`OccurredAt::Received`](super::OccurredAt::Received)).
    pub occurred_at: Timestamp,
    /// When a worker stored it.
    pub recorded_at: Timestamp,
}

/// What an event store did with one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The event is new and now durable.
    Stored,
    /// The same id with the same content was stored before, under these times.
    Duplicate(Recording),
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
///
/// Made by a constructor for each outcome, so that only an event that is stored has a recording. It may be unknown:
/// from workers of before, which do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestOutcome {
    /// What became of the event.
    pub outcome: Outcome,
    /// What the fraud list said of it.
    pub screening: EventScreening,
    /// Under which times it is stored; `None` of an event that is not, and when it is unknown.
    pub recording: Option<Recording>,
}

impl IngestOutcome {
    /// Makes the outcome of an event that is now stored.
    #[must_use]
    pub fn stored(screening: EventScreening, recording: impl Into<Option<Recording>>) -> Self {
        Self { outcome: Outcome::Stored, screening, recording: recording.into() }
    }

    /// Makes the outcome of an event that was stored before, with the times of then.
    #[must_use]
    pub fn duplicate(screening: EventScreening, recording: impl Into<Option<Recording>>) -> Self {
        Self { outcome: Outcome::Duplicate, screening, recording: recording.into() }
    }

    /// Makes the outcome of an event with a subject on the fraud list.
    #[must_use]
    pub fn fraudulent(screening: EventScreening) -> Self {
        Self { outcome: Outcome::Fraudulent, screening, recording: None }
    }

    /// Makes the outcome of an event whose id exists with other content.
    #[must_use]
    pub fn conflict(screening: EventScreening) -> Self {
        Self { outcome: Outcome::Conflict, screening, recording: None }
    }
}
