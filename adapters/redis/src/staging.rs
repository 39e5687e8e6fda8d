//! A list on its way in.

use std::time::Duration;

use mini_platform_core::domain::{ListEntry, MatchMode};
use mini_platform_core::error::Fault;
use mini_platform_core::matching::normalize;
use redis::{Pipeline, cmd};

use crate::connection::Connection;
use crate::error::Failure;
use crate::lists::checksum;

/// How many names are written in one round trip, at most.
///
/// Large enough that the round trip does not count, and small enough that no other caller waits for long.
const BATCH_NAMES: usize = 1024;

/// How many bytes of names are written in one round trip, about.
const BATCH_BYTES: usize = 256 * 1024;

/// The names of a list on its way in, under a key of their own that goes by itself when nobody writes to it.
pub(crate) struct Staging<'a> {
    connection: &'a Connection,
    operation: &'static str,
    key: String,
    ttl_seconds: u64,
    mode: MatchMode,
    /// Keys with the published names; an empty name is the same as its key.
    pending: Vec<(String, String)>,
    pending_bytes: usize,
    entries: u64,
    checksum: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staged {
    /// How many different names.
    pub(crate) entries: u64,
    pub(crate) checksum: u64,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        operation: &'static str,
        key: String,
        ttl: Duration,
        mode: MatchMode,
    ) -> Self {
        let ttl_seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)).max(1);
        Self {
            connection,
            operation,
            key,
            ttl_seconds,
            mode,
            pending: Vec::new(),
            pending_bytes: 0,
            entries: 0,
            checksum: 0,
        }
    }

    pub(crate) async fn push(&mut self, entry: &ListEntry) -> Result<(), Fault> {
        let key = key_of(self.mode, entry.as_str());
        let published = if key == entry.as_str() { String::new() } else { entry.as_str().to_owned() };
        self.pending_bytes += key.len() + published.len();
        self.pending.push((key, published));
        if self.pending.len() >= BATCH_NAMES || self.pending_bytes >= BATCH_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// Writes what is pending. Of names with the same key, the first stays.
    async fn write(&mut self) -> Result<(), Fault> {
        let mut pipeline = Pipeline::with_capacity(self.pending.len() + 1);
        for (key, published) in &self.pending {
            pipeline.cmd("HSETNX").arg(&self.key).arg(key).arg(published);
        }
        pipeline.cmd("EXPIRE").arg(&self.key).arg(self.ttl_seconds);
        let answers: Vec<u8> = self.connection.pipeline(self.operation, &pipeline).await?;
        let Some((1, added)) = answers.split_last() else { return Err(self.lost()) };
        if added.len() != self.pending.len() {
            return Err(self.lost());
        }
        for ((key, published), added) in self.pending.drain(..).zip(added) {
            if *added == 1 {
                self.entries += 1;
                self.checksum = checksum(self.checksum, key.as_bytes(), published.as_bytes());
            }
        }
        self.pending_bytes = 0;
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<Staged, Fault> {
        if !self.pending.is_empty() {
            self.write().await?;
        }
        Ok(Staged { entries: self.entries, checksum: self.checksum })
    }

    fn lost(&self) -> Fault {
        Failure::Lost("the names written so far are gone").during(self.operation)
    }
}

/// The form of a name that is looked up.
pub(crate) fn key_of(mode: MatchMode, name: &str) -> String {
    match mode {
        MatchMode::Exact => name.to_owned(),
        MatchMode::Normalized => {
            let mut key = String::with_capacity(name.len());
            normalize(name, &mut key);
            key
        }
    }
}

/// Removes what was written, if Redis can be reached; else it goes by itself.
pub(crate) async fn discard(connection: &Connection, key: &str) {
    let removed: Result<(), _> = connection.try_command(cmd("UNLINK").arg(key)).await;
    if let Err(failure) = removed {
        let reason: &dyn std::error::Error = &failure;
        tracing::debug!(error = reason, "the names of a refused fraud list stay until their time is over");
    }
}
