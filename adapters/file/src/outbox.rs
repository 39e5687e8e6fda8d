//! The outbox on this machine.

mod front;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::LogRecord;
use mini_platform_core::error::LogError;
use mini_platform_core::port::{Outbox, OutboxPage, OutboxPosition, OutboxStatus, SystemClock};

use crate::background::in_background;
use crate::error::{Failure, OpenError};
use crate::segments::{Disk, LocalDisk, Rotation, SegmentWriter, Shared, encode};
use front::Front;

/// How many bytes may wait, unless another number is set: what 2,000 events a second leave in twenty minutes.
pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// How many bytes a segment has. One is removed when all of it is forgotten, so this is how much more than what waits
/// lies on the disk.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Where an outbox lies, and how much it holds.
#[derive(Debug, Clone)]
pub struct FileOutboxConfig {
    dir: PathBuf,
    max_bytes: u64,
}

impl FileOutboxConfig {
    /// Keeps the outbox in a folder of its own, which is made when it is missing.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), max_bytes: DEFAULT_MAX_BYTES }
    }

    /// Sets how many bytes may wait; 1 GiB by default. A record takes some 400.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Returns the folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// An [`Outbox`] in a folder on this machine. Positions count bytes.
///
/// One process uses a folder at a time. Close it with [`FileOutbox::close`]; a drop does the same, and makes the
/// dropping thread wait.
pub struct FileOutbox {
    front: Arc<Mutex<Front>>,
    shared: Arc<Shared>,
    /// Last, so that the folder is free when nobody works in it any more.
    writer: SegmentWriter,
}

impl fmt::Debug for FileOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileOutbox").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl FileOutbox {
    /// Opens the folder, making it if it is missing. Waits for the disk: it reads the newest segment.
    ///
    /// # Errors
    /// The folder is in use, or cannot be used.
    pub fn open(config: &FileOutboxConfig) -> Result<Self, OpenError> {
        Self::open_with(config, SEGMENT_BYTES, Arc::new(LocalDisk))
    }

    fn open_with(
        config: &FileOutboxConfig,
        segment_bytes: u64,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let rotation = Rotation {
            max_bytes: segment_bytes,
            max_age: Duration::MAX,
            compresses: false,
            clock: Arc::new(SystemClock),
        };
        let writer = SegmentWriter::open(&config.dir, rotation, config.max_bytes, disk)?;
        let shared = Arc::clone(writer.shared());
        let front = Front::open(config.dir.clone(), Arc::clone(&shared))
            .map_err(|source| OpenError::Folder { dir: config.dir.clone(), source })?;
        Ok(Self { writer, shared, front: Arc::new(Mutex::new(front)) })
    }

    /// Finishes what is queued, and gives the folder free.
    ///
    /// Dropping the future lets it go on in the background.
    pub async fn close(self) {
        // Fails only when the runtime shuts down, which runs the task's drop and thereby the same steps.
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }

    /// Does something at the front, where nobody else is meanwhile.
    async fn at_front<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Front) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let front = Arc::clone(&self.front);
        // What is done at the front does not panic, and a part of it that was done does no harm.
        in_background(move || work(&mut front.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

#[async_trait]
impl Outbox for FileOutbox {
    async fn append(&self, records: &[LogRecord]) -> Result<(), LogError> {
        let kept = self.writer.append(encode(records)).await;
        kept.map_err(|failure| failure.during("keep records in the outbox"))
    }

    async fn read(&self, max: usize) -> Result<OutboxPage, LogError> {
        let read = self.at_front(move |front| front.read(max)).await.and_then(|page| page);
        read.map_err(|failure| failure.during("read the outbox"))
    }

    async fn forget(&self, before: OutboxPosition) -> Result<(), LogError> {
        let forgotten = self.at_front(move |front| front.forget(before.0)).await;
        forgotten.map_err(|failure| failure.during("forget records of the outbox"))
    }

    fn status(&self) -> OutboxStatus {
        OutboxStatus { bytes: self.shared.waiting() }
    }

    async fn wait(&self) {
        // Before the look, so that what is appended after it is noticed.
        let appended = self.shared.appended.notified();
        if self.shared.waiting() == 0 {
            appended.await;
        }
    }
}

#[cfg(test)]
mod tests;
