//! Decoding beside the runtime: the bytes of a source go to a thread that may block, entries come back.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::format::{DecodeOptions, ListDecoder, ListError};
use crate::domain::ListEntry;
use crate::error::{Fault, FaultKind, SourceError};
use crate::port::RawList;

/// How many pieces of a source wait for the decoder, and how many chunks wait for the registry.
///
/// Enough for one side to go on while the other is served; each piece and chunk takes memory.
const WAITING: usize = 4;

/// A piece of a source; `None` says that the content is complete, which the end of the channel does not.
type Piece = Result<Option<Bytes>, SourceError>;
type Chunk = Result<Vec<ListEntry>, SourceError>;

/// The decoded chunks of one source.
///
/// Dropping it closes both channels, so the thread stops at its next piece or chunk.
pub(super) struct Decoding {
    /// Moves pieces from the source to the thread; runs when the chunks are polled.
    pump: Option<BoxFuture<'static, ()>>,
    chunks: mpsc::Receiver<Chunk>,
    thread: Option<JoinHandle<()>>,
}

impl Decoding {
    /// Starts to decode on the blocking pool of the present runtime; adds malformed lines to `malformed`.
    ///
    /// Of a source that announces more than the limit, nothing is read.
    pub(super) fn start(
        raw: RawList,
        options: &DecodeOptions,
        place: String,
        malformed: Arc<AtomicU64>,
    ) -> Self {
        let (to_thread, pieces) = mpsc::channel(WAITING);
        let (to_registry, chunks) = mpsc::channel(WAITING);
        if let Some(too_large) = options.refuse_announced(raw.announced_bytes) {
            let _ = to_registry.try_send(Err(source_error(too_large, &place)));
            return Self { pump: None, chunks, thread: None };
        }
        let options = options.clone().with_announced_bytes(raw.announced_bytes);
        let thread = tokio::task::spawn_blocking(move || {
            decode(PieceReader::new(pieces), &options, &place, &malformed, &to_registry);
        });
        Self { pump: Some(pump(raw.bytes, to_thread).boxed()), chunks, thread: Some(thread) }
    }

    /// Joins the thread, whose panic must not look like the end of the list.
    fn poll_thread(&mut self, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let Some(thread) = &mut self.thread else { return Poll::Ready(None) };
        let joined = ready!(thread.poll_unpin(context));
        self.thread = None;
        let fault =
            |cause| Fault::new("feeder", "decode a fraud list", FaultKind::Internal).with_source(cause);
        Poll::Ready(joined.err().map(|cause| Err(fault(cause).into())))
    }
}

impl Stream for Decoding {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let this = &mut *self;
        if this.pump.as_mut().is_some_and(|pump| pump.poll_unpin(context).is_ready()) {
            this.pump = None;
        }
        match ready!(this.chunks.poll_recv(context)) {
            Some(chunk) => Poll::Ready(Some(chunk)),
            None => this.poll_thread(context),
        }
    }
}

async fn pump(mut bytes: BoxStream<'static, Result<Bytes, SourceError>>, to_thread: mpsc::Sender<Piece>) {
    while let Some(piece) = bytes.next().await {
        let is_last = piece.is_err();
        if to_thread.send(piece.map(Some)).await.is_err() || is_last {
            return;
        }
    }
    // Nobody to tell when the decoder has refused the list already.
    let _ = to_thread.send(Ok(None)).await;
}

fn decode(
    input: PieceReader,
    options: &DecodeOptions,
    place: &str,
    malformed: &AtomicU64,
    to_registry: &mpsc::Sender<Chunk>,
) {
    let mut decoder = match ListDecoder::open(input, options) {
        Ok(decoder) => decoder,
        Err(error) => {
            let _ = to_registry.blocking_send(Err(source_error(error, place)));
            return;
        }
    };
    for chunk in decoder.by_ref() {
        if to_registry.blocking_send(chunk.map_err(|error| source_error(error, place))).is_err() {
            return;
        }
    }
    malformed.fetch_add(decoder.tally().malformed, Ordering::Relaxed);
}

/// Gives an error of the source back as it was; anything else is a reason to refuse the list.
fn source_error(error: ListError, place: &str) -> SourceError {
    match error {
        ListError::Read(cause) => match cause.downcast::<SourceError>() {
            Ok(source) => source,
            Err(cause) => {
                Fault::new("feeder", "read a fraud list", FaultKind::Internal).with_source(cause).into()
            }
        },
        reason => SourceError::Unacceptable { place: place.to_owned(), reason: reason.into() },
    }
}

/// The pieces of a source as a reader that blocks.
struct PieceReader {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    is_complete: bool,
}

impl PieceReader {
    fn new(pieces: mpsc::Receiver<Piece>) -> Self {
        Self { pieces, piece: Bytes::new(), is_complete: false }
    }
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_complete {
            match self.pieces.blocking_recv() {
                Some(Ok(Some(piece))) => self.piece = piece,
                Some(Ok(None)) => self.is_complete = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the refresh was given up")),
            }
        }
        let count = self.piece.len().min(out.len());
        if let Some(target) = out.get_mut(..count) {
            self.piece.copy_to_slice(target);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::domain::{Etag, ListVersion, Timestamp};

    fn start(bytes: BoxStream<'static, Result<Bytes, SourceError>>) -> Decoding {
        let version = ListVersion::new(Timestamp::UNIX_EPOCH, Etag::new("a").unwrap());
        let raw = RawList { version, announced_bytes: None, bytes };
        Decoding::start(raw, &DecodeOptions::default(), "file:list".to_owned(), Arc::default())
    }

    #[tokio::test]
    async fn dropping_it_ends_a_thread_that_waits_for_the_source() {
        let piece = Ok(Bytes::from_static(b"Ann\n"));
        let mut decoding = start(stream::iter([piece]).chain(stream::pending()).boxed());
        assert!(futures_util::poll!(decoding.next()).is_pending());
        let thread = decoding.thread.take().unwrap();
        drop(decoding);
        thread.await.expect("the thread ends by itself");
    }

    #[tokio::test]
    async fn dropping_it_ends_a_thread_that_waits_for_the_registry() {
        let endless = stream::repeat_with(|| Ok(Bytes::from("Ann Bee\n".repeat(1000)))).boxed();
        let mut decoding = start(endless);
        assert!(matches!(decoding.next().await, Some(Ok(_))));
        let thread = decoding.thread.take().unwrap();
        drop(decoding);
        thread.await.expect("the thread ends by itself");
    }

    #[test]
    fn only_the_end_mark_ends_the_content() {
        let read = |pieces: Vec<Piece>| {
            let (sender, receiver) = mpsc::channel(WAITING);
            pieces.into_iter().for_each(|piece| sender.try_send(piece).unwrap());
            drop(sender);
            let mut content = String::new();
            PieceReader::new(receiver).read_to_string(&mut content).map(|_| content)
        };
        let piece = || Ok(Some(Bytes::from_static(b"Ann")));
        assert_eq!(read(vec![piece(), Ok(Some(Bytes::new())), piece(), Ok(None)]).unwrap(), "AnnAnn");
        assert!(read(vec![piece()]).is_err(), "a refresh that was given up is no short list");
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_no_end_of_the_list() {
        let mut decoding = start(stream::pending().boxed());
        let (_, chunks) = mpsc::channel(1);
        decoding.chunks = chunks;
        decoding.thread = Some(tokio::task::spawn_blocking(|| panic!("on purpose")));
        let chunk = decoding.next().await;
        assert!(matches!(chunk, Some(Err(SourceError::Fault(_)))), "{chunk:?}");
        assert!(decoding.next().await.is_none());
    }
}
