//! An outbox in memory.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::lock;
use crate::domain::LogRecord;
use crate::error::LogError;
use crate::port::{Outbox, OutboxPage, OutboxPosition, OutboxStatus};

/// An [`Outbox`] in memory. Positions count bytes.
#[derive(Debug)]
pub struct MemoryOutbox {
    max_bytes: u64,
    state: Mutex<State>,
    appended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What waits, each with the place behind it.
    records: VecDeque<(LogRecord, u64)>,
    front: u64,
    end: u64,
}

impl MemoryOutbox {
    /// Makes an empty outbox that holds at most so many bytes of records, as JSON with a line end each.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, state: Mutex::default(), appended: Notify::new() }
    }
}

#[async_trait]
impl Outbox for MemoryOutbox {
    async fn append(&self, records: &[LogRecord]) -> Result<(), LogError> {
        {
            let mut state = lock(&self.state);
            let mut end = state.end;
            let added: Vec<_> = records
                .iter()
                .map(|record| {
                    end += record.to_json().len() as u64 + 1;
                    (record.clone(), end)
                })
                .collect();
            if end - state.front > self.max_bytes {
                return Err(LogError::Full);
            }
            state.records.extend(added);
            state.end = end;
        }
        self.appended.notify_waiters();
        Ok(())
    }

    async fn read(&self, max: usize) -> Result<OutboxPage, LogError> {
        let state = lock(&self.state);
        let mut page = OutboxPage { records: Vec::new(), end: OutboxPosition(state.front) };
        for (record, end) in state.records.iter().take(max) {
            page.records.push(record.clone());
            page.end = OutboxPosition(*end);
        }
        Ok(page)
    }

    async fn forget(&self, before: OutboxPosition) -> Result<(), LogError> {
        let mut state = lock(&self.state);
        while let Some((_, end)) = state.records.pop_front_if(|(_, end)| *end <= before.0) {
            state.front = end;
        }
        Ok(())
    }

    fn status(&self) -> OutboxStatus {
        let state = lock(&self.state);
        OutboxStatus { bytes: state.end - state.front }
    }

    async fn wait(&self) {
        // Before the look, so that what is appended after it is noticed.
        let appended = self.appended.notified();
        if self.status().bytes == 0 {
            appended.await;
        }
    }
}
