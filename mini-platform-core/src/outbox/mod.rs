//! Publishing to a log elsewhere by way of an outbox on this machine.
//!
//! [`OutboxLog`] answers as soon as records are durable here, so that requests neither wait for the log nor fail with
//! it. [`OutboxRelay`] brings them there in the same order.

mod journal;
mod relay;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use relay::{DEFAULT_GRACE, DEFAULT_TIMEOUT, OutboxRelay};

use crate::domain::LogRecord;
use crate::error::LogError;
use crate::port::{LongTermLog, Outbox};

/// A [`LongTermLog`] whose records wait in an [`Outbox`] for an [`OutboxRelay`].
pub struct OutboxLog {
    outbox: Arc<dyn Outbox>,
}

impl fmt::Debug for OutboxLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxLog").finish_non_exhaustive()
    }
}

impl OutboxLog {
    /// Makes a log in front of an outbox.
    #[must_use]
    pub fn new(outbox: Arc<dyn Outbox>) -> Self {
        Self { outbox }
    }
}

#[async_trait]
impl LongTermLog for OutboxLog {
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
        self.outbox.append(records).await
    }
}
