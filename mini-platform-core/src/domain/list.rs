//! Fraud lists: their entries and versions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Timestamp;
use super::id::{InvalidId, check_name};

/// The longest entry of a fraud list, in bytes of UTF-8.
///
/// Longer than any client id, because normalisation can shorten a text.
pub const MAX_ENTRY_BYTES: usize = 1024;

/// One name of a fraud list, as its publisher wrote it, without outer white space.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct ListEntry(SmolStr);

impl ListEntry {
    /// Checks a text and makes an entry of it; outer white space is dropped.
    ///
    /// # Errors
    /// Nothing but white space, longer than [`MAX_ENTRY_BYTES`], or with a control character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
        let text = text.as_ref().trim();
        check_name(text, MAX_ENTRY_BYTES)?;
        Ok(Self(SmolStr::new(text)))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<SmolStr> for ListEntry {
    type Error = InvalidId;
    fn try_from(text: SmolStr) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl From<ListEntry> for SmolStr {
    fn from(entry: ListEntry) -> Self {
        entry.0
    }
}

impl fmt::Debug for ListEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListEntry(<redacted>)")
    }
}

/// A text is no list version or etag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a publication time and an etag, such as 2026-01-31T08:00:00Z_9f86d081")]
pub struct InvalidListVersion;

/// What a source says to tell two contents apart: 1–128 bytes of printable ASCII without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Etag(SmolStr);

impl Etag {
    /// Checks a text and makes an etag of it.
    ///
    /// # Errors
    /// Empty, longer than 128 bytes, or not printable ASCII.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidListVersion> {
        let text = text.as_ref();
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(SmolStr::new(text))) } else { Err(InvalidListVersion) }
    }

    /// Returns the etag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names one publication of a fraud list; ordered by publication time. A clone costs a reference count.
///
/// Its text form is the time and the etag: `2026-01-31T08:00:00Z_9f86d081`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListVersion(Arc<(Timestamp, Etag)>);

impl ListVersion {
    /// Makes the version of what was published at a time under an etag.
    #[must_use]
    pub fn new(published_at: Timestamp, etag: Etag) -> Self {
        Self(Arc::new((published_at, etag)))
    }

    /// Returns the publication time.
    #[must_use]
    pub fn published_at(&self) -> Timestamp {
        self.0.0
    }

    /// Returns the etag.
    #[must_use]
    pub fn etag(&self) -> &Etag {
        &self.0.1
    }
}

impl fmt::Display for ListVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.published_at(), self.etag().as_str())
    }
}

impl fmt::Debug for ListVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ListVersion {
    type Err = InvalidListVersion;

    fn from_str(text: &str) -> Result<Self, InvalidListVersion> {
        let (time, etag) = text.split_once('_').ok_or(InvalidListVersion)?;
        Ok(Self::new(time.parse().map_err(|_| InvalidListVersion)?, Etag::new(etag)?))
    }
}

impl TryFrom<String> for ListVersion {
    type Error = InvalidListVersion;
    fn try_from(text: String) -> Result<Self, InvalidListVersion> {
        text.parse()
    }
}

impl From<ListVersion> for String {
    fn from(version: ListVersion) -> Self {
        version.to_string()
    }
}

/// What a registry knows of a list that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListInfo {
    /// Which publication it is.
    pub version: ListVersion,
    /// How many different names it screens for.
    pub entries: u64,
    /// Where it came from, such as `file:list.csv`.
    pub source: String,
    /// When the registry took it in.
    pub loaded_at: Timestamp,
    /// When a feeder last found that its sources have no newer list to put in its place; `loaded_at` until then.
    pub confirmed_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(micros: i64, etag: &str) -> ListVersion {
        ListVersion::new(Timestamp::from_micros(micros).unwrap(), Etag::new(etag).unwrap())
    }

    #[test]
    fn versions_order_by_publication_time() {
        assert!(version(1, "z") < version(2, "a"));
        assert_ne!(version(1, "a"), version(1, "b"));
    }

    #[test]
    fn a_version_survives_its_text_form() {
        let original = version(1_700_000_000_123_456, "\"ab_cd\"");
        assert_eq!(original.to_string().parse(), Ok(original));
    }

    #[test]
    fn an_entry_loses_its_outer_white_space_only() {
        assert_eq!(ListEntry::new("  Ann  B ").unwrap().as_str(), "Ann  B");
        assert!(ListEntry::new(" \u{a0} ").is_err());
    }
}
