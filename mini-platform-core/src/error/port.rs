//! What a port can answer instead of a result.

use super::{Fault, Retry};
use crate::domain::ListVersion;

/// An event store or adjacency store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The backend failed; whether it acted is unknown, and the same call may be made again.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl StoreError {
    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Fault(fault) => fault.retry(),
        }
    }
}

/// A fraud registry failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No fraud list was ever loaded, so nothing can be screened.
    #[error("no fraud list is loaded")]
    NoList,
    /// The registry does not hold this version (any more).
    #[error("list version {0} is not held")]
    UnknownVersion(ListVersion),
    /// The new list broke off or was refused; the list in force stays.
    #[error("the new fraud list is refused")]
    Refused(#[source] SourceError),
    /// The backend failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl RegistryError {
    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoList => Retry::Backoff,
            Self::UnknownVersion(_) => Retry::Never,
            Self::Refused(source) => source.retry(),
            Self::Fault(fault) => fault.retry(),
        }
    }
}

/// A parking lot failed, or has no room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LotError {
    /// It holds as much as it may.
    #[error("the parking lot is full (parking.max_parcels, parking.max_bytes)")]
    Full,
    /// The backend failed; whether it acted is unknown, and the same call may be made again.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl LotError {
    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full => Retry::Backoff,
            Self::Fault(fault) => fault.retry(),
        }
    }
}

/// A long-term log or its outbox failed, or has no room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The outbox holds as much as it may, because the log does not take it.
    #[error("the outbox of the long-term log is full (log.max_outbox)")]
    Full,
    /// What was read is no record.
    #[error("{place} holds no record")]
    Undecodable {
        /// Where was read, such as a file and its line.
        place: String,
        /// What is wrong with it.
        #[source]
        reason: super::BoxError,
    },
    /// The backend failed; any of the records may be kept, and they may be published again.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl LogError {
    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full => Retry::Backoff,
            Self::Undecodable { .. } => Retry::Never,
            Self::Fault(fault) => fault.retry(),
        }
    }
}

/// A fraud source failed, or what it gave is no fraud list.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is nothing at this place.
    #[error("{place} does not exist")]
    NotFound {
        /// Where was looked, such as `file:list.csv`.
        place: String,
    },
    /// The content changed while it was read.
    #[error("{place} changed while it was read")]
    ChangedWhileReading {
        /// What was read.
        place: String,
    },
    /// The content is no list that may come into force.
    #[error("{place} is no acceptable fraud list")]
    Unacceptable {
        /// What was read.
        place: String,
        /// The reason.
        #[source]
        reason: super::BoxError,
    },
    /// The backend failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl SourceError {
    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotFound { .. } | Self::ChangedWhileReading { .. } => Retry::Backoff,
            Self::Unacceptable { .. } => Retry::Never,
            Self::Fault(fault) => fault.retry(),
        }
    }
}
