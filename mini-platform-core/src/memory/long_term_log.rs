//! A long-term log in memory.

use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::lock;
use crate::domain::LogRecord;
use crate::error::LogError;
use crate::port::{LogReader, LongTermLog, RecordStream};

/// A [`LongTermLog`] in memory, and its reader.
#[derive(Debug, Default)]
pub struct MemoryLog {
    records: Mutex<Vec<LogRecord>>,
}

#[async_trait]
impl LongTermLog for MemoryLog {
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
        lock(&self.records).extend_from_slice(records);
        Ok(())
    }
}

#[async_trait]
impl LogReader for MemoryLog {
    async fn records(&self) -> Result<RecordStream, LogError> {
        let records = lock(&self.records).clone();
        Ok(stream::iter(records.into_iter().map(Ok)).boxed())
    }
}
