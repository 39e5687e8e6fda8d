//! Where new fraud lists come from.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;

use crate::domain::ListVersion;
use crate::error::SourceError;

/// The undecoded content of a fraud list.
pub struct RawList {
    /// Which publication it is.
    pub version: ListVersion,
    /// How many bytes the source announced, before any decompression; fewer mean a truncated read.
    pub announced_bytes: Option<u64>,
    /// The content. An `Err` item means that the rest cannot be read.
    pub bytes: BoxStream<'static, Result<Bytes, SourceError>>,
}

impl fmt::Debug for RawList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawList")
            .field("version", &self.version)
            .field("announced_bytes", &self.announced_bytes)
            .finish()
    }
}

/// What a source answers.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fetched {
    /// The source still has the version that was asked about.
    NotModified,
    /// The source has another version.
    Changed(RawList),
}

/// Gives the bytes of a fraud list; what they mean is decided by the feeder.
///
/// # Contract
/// - **FS-1** `fetch_if_changed(None)` answers the content.
/// - **FS-2** `fetch_if_changed(Some(version))` answers `NotModified` when the source holds that version's content.
/// - **FS-3** Content that changes while it is read ends in an `Err` item, never in a mix.
/// - **FS-4** The content is read in bounded pieces.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait FraudSource: Send + Sync + 'static {
    /// Returns where the list comes from, for people: `file:list.csv`, `s3://bucket/key`.
    fn place(&self) -> String;

    /// Returns the content, unless it is the content of the given version.
    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError>;
}
