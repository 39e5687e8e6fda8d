//! Where finished requests are kept for ever.

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use crate::domain::LogRecord;
use crate::error::LogError;

/// The most records of one call: those of the largest batch.
pub const MAX_RECORDS: usize = crate::domain::MAX_BATCH;

/// Keeps a record of every finished request.
///
/// # Contract
/// - **LL-1** When `publish` answers, all of its records are durable.
/// - **LL-2** Readers find the records of a client in the order in which they were published. Calls that are under
///   way at the same time have no order between them.
/// - **LL-3** `Err` means that any of the records may be kept. Publishing them again is safe: a record may then be
///   found twice, and behind the first find of a record come all that were published after it.
///
/// Cancelling `publish` may still apply it, and never puts a record behind one that is published later.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait LongTermLog: Send + Sync + 'static {
    /// Adds records: 1 to [`MAX_RECORDS`].
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError>;
}

/// Records of a log, in an order that keeps that of each client. An `Err` item ends it: the rest cannot be read.
pub type RecordStream = BoxStream<'static, Result<LogRecord, LogError>>;

/// Reads a long-term log from its beginning.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait LogReader: Send + Sync + 'static {
    /// Opens the records that are in the log now.
    async fn records(&self) -> Result<RecordStream, LogError>;
}
