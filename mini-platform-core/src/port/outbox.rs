//! Where records wait for a long-term log that is elsewhere.

use async_trait::async_trait;

use crate::domain::LogRecord;
use crate::error::LogError;

/// A place in an outbox: everything before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxPosition(pub u64);

/// Records in front of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxPage {
    /// The records, oldest first; none when the outbox is empty.
    pub records: Vec<LogRecord>,
    /// The place behind them.
    pub end: OutboxPosition,
}

/// How full an outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxStatus {
    /// Bytes that wait.
    pub bytes: u64,
}

/// A bounded, durable queue of records on this machine, with one reader.
///
/// # Contract
/// - **OB-1** When `append` answers, its records are durable, behind all that were appended before the call.
/// - **OB-2** When they have no room, it answers `Full` and takes none.
/// - **OB-3** `read` answers records from the front that are not forgotten, in the order of `append`, and the same
///   again until they are; after a restart, too.
/// - **OB-4** `forget` gives the room of what is before a position free. It may be undone by a crash: then the records
///   are read again.
/// - **OB-5** `status` answers how many bytes wait: none in an empty outbox. `wait` ends at once while something
///   waits, and else with the next append.
///
/// Cancelling `append` may still apply it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Adds records: 1 to [`MAX_RECORDS`](super::MAX_RECORDS).
    async fn append(&self, records: &[LogRecord]) -> Result<(), LogError>;

    /// Returns up to `max` records from the front, without taking them.
    async fn read(&self, max: usize) -> Result<OutboxPage, LogError>;

    /// Takes away what is before a position that `read` answered.
    async fn forget(&self, before: OutboxPosition) -> Result<(), LogError>;

    /// Returns how full it is.
    fn status(&self) -> OutboxStatus;

    /// Waits until there may be something to read. May answer too early, never too late.
    async fn wait(&self);
}
