//! What the worker and the dispatcher can answer instead of a result.

use std::time::Duration;

use super::{Fault, FaultKind, LogError, LotError, RegistryError, Retry, StoreError};

/// A worker could not finish a batch. Nothing was promised; the same batch may be sent again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The fraud list did not answer, so nothing was stored.
    #[error("the batch could not be screened")]
    Screen(#[source] RegistryError),
    /// The event store failed; some events may be stored, and a resend finds out.
    #[error("the batch could not be stored")]
    Append(#[source] StoreError),
    /// The adjacency store failed; the events are stored, and a resend repairs their links.
    #[error("the links of the batch could not be stored")]
    Link(#[source] StoreError),
    /// The worker could not be reached, or broke its promise.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl IngestError {
    /// Says whether the worker itself could not be reached, as opposed to a backend behind it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.kind() == FaultKind::Unavailable)
    }

    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Screen(source) => source.retry(),
            Self::Append(source) | Self::Link(source) => source.retry(),
            Self::Fault(fault) => fault.retry(),
        }
    }
}

/// A worker could not answer a fetch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A store failed.
    #[error("the data could not be read")]
    Store(#[from] StoreError),
    /// The fraud registry failed.
    #[error("the fraud list could not be asked")]
    Registry(#[from] RegistryError),
    /// The worker could not be reached, or broke its promise.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl FetchError {
    /// Says whether the worker itself could not be reached, as opposed to a backend behind it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.kind() == FaultKind::Unavailable)
    }

    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Store(source) => source.retry(),
            Self::Registry(source) => source.retry(),
            Self::Fault(fault) => fault.retry(),
        }
    }
}

/// The dispatcher could not finish a request. Nothing was promised; it may be sent again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// There is no worker to send it to.
    #[error("no worker is ready")]
    NoWorkers,
    /// Too much is waiting already.
    #[error("too many requests are waiting")]
    Overloaded,
    /// No worker finished within the time; what was sent may still be stored.
    #[error("no worker finished within {0:?}")]
    Timeout(Duration),
    /// Every worker that was tried failed to take the batch in; the last cause is the source.
    #[error("no worker could finish the batch")]
    Ingest(#[source] IngestError),
    /// Every worker that was tried failed to answer; the last cause is the source.
    #[error("no worker could answer")]
    Fetch(#[source] FetchError),
    /// A worker finished the batch, but the long-term log did not take the records; sending it again finds out.
    #[error("what was finished could not be logged")]
    Log(#[source] LogError),
    /// No worker could finish the batch, and it could not be parked.
    #[error("what could not be finished could not be parked")]
    Park(#[source] LotError),
    /// The batch into which a single event was gathered could not be finished.
    #[error(transparent)]
    Batch(std::sync::Arc<Self>),
    /// The dispatcher is shutting down.
    #[error("the dispatcher is shutting down")]
    ShuttingDown,
    /// The dispatcher's own code broke down; what was sent may still be stored.
    #[error("the dispatcher broke down")]
    BrokeDown,
}

impl DispatchError {
    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoWorkers | Self::Overloaded | Self::Timeout(_) | Self::ShuttingDown | Self::BrokeDown => {
                Retry::Backoff
            }
            Self::Ingest(source) => source.retry(),
            Self::Fetch(source) => source.retry(),
            Self::Log(source) => source.retry(),
            Self::Park(source) => source.retry(),
            Self::Batch(source) => source.retry(),
        }
    }
}
