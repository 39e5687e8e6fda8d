//! What can go wrong, and whether a retry can help.

mod causes;
mod fault;
mod port;
mod service;

pub use causes::Causes;
pub use fault::{BoxError, Fault, FaultKind};
pub use port::{LogError, LotError, RegistryError, SourceError, StoreError};
pub use service::{DispatchError, FetchError, IngestError};

use std::time::Duration;

/// Whether the same call can succeed when it is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No: the input or the set-up has to change first.
    Never,
    /// Yes, after a pause that the caller chooses.
    Backoff,
    /// Yes, after the pause that the other side asked for.
    After(Duration),
}
