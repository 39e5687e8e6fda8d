//! Verdicts of the fraud list.

use super::{ListEntry, ListVersion, PartyRole};

/// How a subject's name is compared with the list's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatchMode {
    /// After NFKC, case folding and collapsing of white space.
    #[default]
    Normalized,
    /// Byte by byte.
    Exact,
}

/// What the list says of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The subject is not on the list.
    Clear,
    /// The subject is on the list.
    Hit {
        /// The entry that matched, as its publisher wrote it.
        entry: ListEntry,
    },
}

/// The verdicts of one call, all from one version of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screening {
    /// The version that was asked.
    pub version: ListVersion,
    /// One verdict a subject, in order.
    pub verdicts: Vec<Verdict>,
}

/// What screening says of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventScreening {
    /// The event has no subject, so nothing was compared.
    None {
        /// The version that was in force.
        version: ListVersion,
    },
    /// No subject is on the list.
    Clear {
        /// The version that was asked.
        version: ListVersion,
    },
    /// A subject is on the list.
    Hit {
        /// The version that was asked.
        version: ListVersion,
        /// The part that the subject plays in the event.
        party: PartyRole,
        /// The entry that matched.
        entry: ListEntry,
    },
}

impl EventScreening {
    /// Returns the version of the list behind the verdict.
    #[must_use]
    pub fn version(&self) -> &ListVersion {
        match self {
            Self::None { version } | Self::Clear { version } | Self::Hit { version, .. } => version,
        }
    }

    /// Whether a subject is on the list.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit { .. })
    }
}
