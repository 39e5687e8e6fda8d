//! The fictional fraud list that is part of the program, so that a first try needs no file.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use mini_platform_core::domain::{Etag, ListVersion, Timestamp};
use mini_platform_core::error::{Fault, FaultKind, SourceError};
use mini_platform_core::port::{Fetched, FraudSource, RawList};

const LIST: &str = include_str!("../config/fictional-fraud-list.txt");

/// Returns the names on the bundled list.
#[must_use]
pub fn names() -> Vec<String> {
    LIST.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A [`FraudSource`] of the bundled list. It is older than any real list, so that a real one replaces it and it
/// never replaces a real one.
#[derive(Debug)]
pub struct BundledSource;

#[async_trait]
impl FraudSource for BundledSource {
    fn place(&self) -> String {
        "bundled".to_owned()
    }

    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
        let etag = Etag::new(concat!("bundled-", env!("CARGO_PKG_VERSION"))).map_err(|error| {
            Fault::new("bundled list", "name its version", FaultKind::Internal).with_source(error)
        })?;
        let version = ListVersion::new(Timestamp::UNIX_EPOCH, etag);
        if since.as_ref() == Some(&version) {
            return Ok(Fetched::NotModified);
        }
        let bytes = stream::iter([Ok(Bytes::from_static(LIST.as_bytes()))]).boxed();
        Ok(Fetched::Changed(RawList { version, announced_bytes: u64::try_from(LIST.len()).ok(), bytes }))
    }
}
