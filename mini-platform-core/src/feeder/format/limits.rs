//! How large and how dirty a list may be.

use super::super::Ratio;

/// How large and how dirty one list may be before it is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListLimits {
    max_bytes: u64,
    max_entries: u64,
    max_malformed: Ratio,
}

/// The default for [`ListLimits::with_max_bytes`]: 1 GiB, ample for a list of [`DEFAULT_MAX_ENTRIES`].
pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// The default for [`ListLimits::with_max_entries`]: an index of so many names takes about 1 GB.
pub const DEFAULT_MAX_ENTRIES: u64 = 10_000_000;

impl Default for ListLimits {
    fn default() -> Self {
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            max_entries: DEFAULT_MAX_ENTRIES,
            max_malformed: Ratio::ONE_PERCENT,
        }
    }
}

impl ListLimits {
    /// Sets the largest content in bytes, counted after unpacking.
    #[must_use]
    pub fn with_max_bytes(mut self, max: u64) -> Self {
        self.max_bytes = max;
        self
    }

    /// Sets how many entries a list may have; equal ones count each time.
    #[must_use]
    pub fn with_max_entries(mut self, max: u64) -> Self {
        self.max_entries = max;
        self
    }

    /// Sets which share of the lines may be malformed, 1 % by default; these are skipped and counted.
    #[must_use]
    pub fn with_max_malformed(mut self, max: Ratio) -> Self {
        self.max_malformed = max;
        self
    }

    /// Returns the largest content in bytes, counted after unpacking.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Returns how many entries a list may have.
    #[must_use]
    pub fn max_entries(&self) -> u64 {
        self.max_entries
    }

    /// Returns which share of the lines may be malformed.
    #[must_use]
    pub fn max_malformed(&self) -> Ratio {
        self.max_malformed
    }
}
