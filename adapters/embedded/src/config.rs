//! What can be set.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mini_platform_core::port::{Clock, SystemClock};

/// The block cache, in bytes, when nothing else is asked for: 16 MiB.
///
/// Holds the hot index and filter blocks of about ten million events and leaves the idle process small.
pub const DEFAULT_CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Where the data lies and how much memory may hold it.
#[derive(Clone)]
pub struct EmbeddedConfig {
    dir: PathBuf,
    cache_bytes: u64,
    clock: Arc<dyn Clock>,
}

impl EmbeddedConfig {
    /// Keeps the data in a folder, which is made when it is missing.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), cache_bytes: DEFAULT_CACHE_BYTES, clock: Arc::new(SystemClock) }
    }

    /// Sets how many bytes of data that was read stay in memory.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets the clock that says when a fraud list was loaded, and when a parcel is due.
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

    /// Returns the size of the block cache, in bytes.
    #[must_use]
    pub fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}

impl fmt::Debug for EmbeddedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedConfig")
            .field("dir", &self.dir)
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}
