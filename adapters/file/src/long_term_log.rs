//! The long-term log on this machine.

mod read;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::LogRecord;
use mini_platform_core::error::LogError;
use mini_platform_core::port::{Clock, LongTermLog, SystemClock};

pub use read::FileLogReader;

use crate::error::OpenError;
use crate::segments::{Disk, LocalDisk, Rotation, SegmentWriter, encode};

/// How many bytes a segment has, unless another number is set: about 150,000 records. Compressed they are a few
/// megabytes, which is quick to copy and to look into, and a year of a busy bank is some ten thousand files.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

/// How old a segment gets, unless another time is set: a day, so that one that grows slowly is finished and can be
/// taken to an archive, too.
pub const DEFAULT_SEGMENT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a log lies, and when its segments are finished.
#[derive(Clone)]
pub struct FileLogConfig {
    dir: PathBuf,
    segment_bytes: u64,
    segment_age: Duration,
    clock: Arc<dyn Clock>,
}

impl FileLogConfig {
    /// Keeps the log in a folder of its own, which is made when it is missing.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            segment_age: DEFAULT_SEGMENT_AGE,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets after how many bytes a segment is finished and compressed; 64 MiB by default.
    #[must_use]
    pub fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Sets after which time a segment is finished when something is written; a day by default.
    #[must_use]
    pub fn with_segment_age(mut self, age: Duration) -> Self {
        self.segment_age = age;
        self
    }

    /// Tells the age of segments by another clock than that of the operating system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl fmt::Debug for FileLogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLogConfig")
            .field("dir", &self.dir)
            .field("segment_bytes", &self.segment_bytes)
            .field("segment_age", &self.segment_age)
            .finish_non_exhaustive()
    }
}

/// A [`LongTermLog`] in a folder on this machine: a record a line, in segments that are compressed when they are full.
///
/// One process writes to a folder at a time. Close it with [`FileLog::close`]; a drop does the same, and makes the
/// dropping thread wait.
pub struct FileLog {
    dir: PathBuf,
    writer: SegmentWriter,
}

impl fmt::Debug for FileLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLog").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl FileLog {
    /// Opens the folder, making it if it is missing. Waits for the disk: it reads the newest segment.
    ///
    /// # Errors
    /// The folder is in use, or cannot be used.
    pub fn open(config: &FileLogConfig) -> Result<Self, OpenError> {
        Self::open_with(config, Arc::new(LocalDisk))
    }

    /// Opens the folder on a disk; tests give one that fails.
    fn open_with(config: &FileLogConfig, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let rotation = Rotation {
            max_bytes: config.segment_bytes,
            max_age: config.segment_age,
            compresses: true,
            clock: Arc::clone(&config.clock),
        };
        let writer = SegmentWriter::open(&config.dir, rotation, u64::MAX, disk)?;
        Ok(Self { dir: config.dir.clone(), writer })
    }

    /// Finishes what is queued, and gives the folder free. A segment that is being compressed stays as it is until
    /// the next start.
    ///
    /// Dropping the future lets it go on in the background.
    pub async fn close(self) {
        // Fails only when the runtime shuts down, which runs the task's drop and thereby the same steps.
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }
}

#[async_trait]
impl LongTermLog for FileLog {
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
        let kept = self.writer.append(encode(records)).await;
        kept.map_err(|failure| failure.during("keep records"))
    }
}

#[cfg(test)]
mod tests;
