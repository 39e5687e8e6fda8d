//! A fraud source in memory.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::lock;
use crate::domain::ListVersion;
use crate::error::SourceError;
use crate::port::{Fetched, FraudSource, RawList};

/// The bytes that one piece holds at most.
const PIECE: usize = 64 << 10;

/// A [`FraudSource`] in memory: it has what was last published to it.
#[derive(Debug, Default)]
pub struct MemoryFraudSource {
    published: Mutex<Option<(ListVersion, Bytes)>>,
}

impl MemoryFraudSource {
    /// Puts new content in the place of the old.
    pub fn publish(&self, version: ListVersion, content: impl Into<Bytes>) {
        *lock(&self.published) = Some((version, content.into()));
    }
}

#[async_trait]
impl FraudSource for MemoryFraudSource {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
        let published = lock(&self.published).clone();
        let Some((version, content)) = published else {
            return Err(SourceError::NotFound { place: self.place() });
        };
        if since.as_ref() == Some(&version) {
            return Ok(Fetched::NotModified);
        }
        let announced_bytes = u64::try_from(content.len()).ok();
        let pieces = (0..content.len()).step_by(PIECE).map(move |start| {
            let end = content.len().min(start + PIECE);
            Ok(content.slice(start..end))
        });
        Ok(Fetched::Changed(RawList { version, announced_bytes, bytes: stream::iter(pieces).boxed() }))
    }
}
