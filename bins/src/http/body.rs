//! Request bodies: what they are, how long and how slow they may be.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};

/// A request body as it arrives.
pub(super) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// Says how a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-ndjson`
    Ndjson,
}

impl MediaType {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// Returns the media type of a body that is one of the accepted ones, in UTF-8 and not compressed.
pub(super) fn media_type(headers: &HeaderMap, accepted: &[MediaType]) -> Result<MediaType, Problem> {
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(unsupported(
            "This body is compressed; send it uncompressed, without Content-Encoding.".to_owned(),
        ));
    }
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let only = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    };
    only.and_then(|value| accepted.iter().copied().find(|media| is_media_type(value, *media))).ok_or_else(
        || {
            let names: Vec<&str> = accepted.iter().map(|media| media.name()).collect();
            unsupported(format!("Say which it is with Content-Type: {}, in UTF-8.", names.join(" or ")))
        },
    )
}

fn unsupported(detail: String) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}

fn is_media_type(value: &str, media: MediaType) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(media.name()));
    is_named && parts.all(is_utf8_or_no_charset)
}

fn is_utf8_or_no_charset(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    }
}

/// How long and how slow a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    pub(super) max_bytes: usize,
    pub(super) timeout: Duration,
}

impl BodyLimits {
    fn too_large(&self) -> Problem {
        let max = self.max_bytes;
        let detail = format!(
            "The body is longer than {max} bytes; send less at once, or stream many events as NDJSON."
        );
        Problem::new(Code::BodyTooLarge, detail)
    }

    fn too_slow(&self) -> Problem {
        let timeout = self.timeout;
        Problem::new(
            Code::RequestTimeout,
            format!("The body was not complete within {timeout:?}; send it faster."),
        )
    }
}

/// A whole body, and its share of the memory that bodies may take.
#[derive(Debug)]
pub(super) struct WholeBody {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// The memory that long bodies may take over all connections.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory {
    blocks: Arc<Semaphore>,
}

/// The unit in which memory is shared out. A body takes its first block without asking: the number of connections
/// bounds those.
const BLOCK: usize = 64 << 10;

impl BodyMemory {
    pub(super) fn new(bytes: usize) -> Self {
        Self { blocks: Arc::new(Semaphore::new((bytes / BLOCK).clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// Grows a share until it covers a body of this length.
    fn grow(&self, share: &mut Option<OwnedSemaphorePermit>, length: usize) -> Result<(), Problem> {
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = (length / BLOCK).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let more = u32::try_from(missing)
            .ok()
            .and_then(|missing| Arc::clone(&self.blocks).try_acquire_many_owned(missing).ok());
        let more = more.ok_or_else(|| {
            Problem::new(
                Code::Overloaded,
                "Too many long bodies are being read; resend it in a moment, or stream it as NDJSON.",
            )
        })?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// Reads a whole body within its limits.
pub(super) async fn collect(
    headers: &HeaderMap,
    body: BodyStream,
    limits: BodyLimits,
    memory: &BodyMemory,
) -> Result<WholeBody, Problem> {
    let declared =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    if declared.is_some_and(|length: usize| length > limits.max_bytes) {
        return Err(limits.too_large());
    }
    let read = read_whole(body, declared, limits, memory);
    tokio::time::timeout(limits.timeout, read).await.map_err(|_| limits.too_slow())?
}

async fn read_whole(
    mut body: BodyStream,
    declared: Option<usize>,
    limits: BodyLimits,
    memory: &BodyMemory,
) -> Result<WholeBody, Problem> {
    let mut whole = Gathered::default();
    let mut share = None;
    // A body of a declared length is complete with its last byte; the end of the stream would come a turn later.
    while declared.is_none_or(|length| whole.len() < length) {
        let Some(chunk) = body.next().await else { break };
        let chunk =
            chunk.map_err(|_| Problem::new(Code::InvalidJson, "The body broke off; send it again."))?;
        let length = whole.len().saturating_add(chunk.len());
        if length > limits.max_bytes {
            return Err(limits.too_large());
        }
        memory.grow(&mut share, length)?;
        whole.push(chunk, declared);
    }
    Ok(WholeBody { bytes: whole.into_bytes(), _share: share })
}

/// Chunks of a body; the usual single chunk is not copied.
#[derive(Debug, Default)]
struct Gathered {
    first: Bytes,
    more: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len().max(self.more.len())
    }

    fn push(&mut self, chunk: Bytes, declared: Option<usize>) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.more.is_empty() {
            // Reserving what was declared is safe: it is within the limit, and pages are taken as they fill.
            self.more.reserve(declared.unwrap_or(self.first.len() + chunk.len()).min(BLOCK));
            self.more.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.more.extend_from_slice(&chunk);
    }

    fn into_bytes(self) -> Bytes {
        if self.more.is_empty() { self.first } else { self.more.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepts(value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        media_type(&headers, &[MediaType::Json]).is_ok()
    }

    #[test]
    fn json_in_utf_8_is_taken_however_it_is_written() {
        for value in [
            "application/json",
            "Application/JSON",
            "application/json; charset=\"UTF-8\"",
            "application/json;v=1",
        ] {
            assert!(accepts(value), "{value} must be taken");
        }
        for value in [
            "text/plain",
            "application/json; charset=latin1",
            "application/jsonx",
            "",
            "application/x-ndjson",
        ] {
            assert!(!accepts(value), "{value} must be refused");
        }
    }

    #[test]
    fn a_share_of_memory_is_given_back() {
        let memory = BodyMemory::new(2 * BLOCK);
        let (mut one, mut other) = (None, None);
        assert!(memory.grow(&mut one, BLOCK - 1).is_ok(), "short bodies need no share");
        assert!(one.is_none());
        assert!(memory.grow(&mut one, 2 * BLOCK).is_ok());
        assert!(memory.grow(&mut other, BLOCK).is_err(), "all memory is taken");
        drop(one);
        assert!(memory.grow(&mut other, BLOCK).is_ok());
    }
}
