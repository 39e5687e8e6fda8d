//! Taking in a stream of lines (NDJSON), of any length, in constant memory.
//!
//! Line N of the answer is the result of line N of the request. A stream that breaks off, pauses for too long or
//! outlives the server ends after its last complete line: a line without a result was not taken in.

use std::io::BufRead;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use warp::Reply;

use super::body::BodyStream;
use super::pipeline::{Framing, Item, Manner, Pipeline, Results, Source};
use super::problem::{Code, Rejection};
use super::request::ApiRequest;
use super::routes::Answer;
use super::state::State;

/// Takes in many events, one a line.
pub(super) fn many(state: Arc<State>, request: ApiRequest) -> Answer {
    let manner = Manner::of(&request)?;
    let (max_line, timeout) = (state.settings.max_line, state.settings.body_timeout);
    let source = Lines::new(request.body, max_line, timeout, state.stopping.clone());
    let results = Results::new(Pipeline::new(source, state, manner, Framing::Lines));
    let mut response = warp::reply::stream(results).into_response();
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Splits a body into lines.
struct Lines {
    body: BodyStream,
    /// What arrived last and is not yet split.
    chunk: Bytes,
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Whether the line is too long already: the rest of it is read past.
    too_long: bool,
    max_line: usize,
    timeout: Duration,
    /// When the next line must be complete. Runs while the client is waited for.
    deadline: Pin<Box<Sleep>>,
    waiting: bool,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    end: Option<End>,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As it should: what is behind the last line feed is a line too.
    Whole,
    /// It broke off, or was no longer waited for.
    Torn,
}

impl Lines {
    fn new(body: BodyStream, max_line: usize, timeout: Duration, stop: CancellationToken) -> Self {
        Self {
            body,
            chunk: Bytes::new(),
            partial: Vec::new(),
            too_long: false,
            max_line,
            timeout,
            deadline: Box::pin(tokio::time::sleep(timeout)),
            waiting: false,
            stop: Box::pin(stop.cancelled_owned()),
            end: None,
        }
    }

    /// Hands over the next complete line of the chunk, or puts the rest of the chunk by.
    fn take_line<T, F: FnOnce(Item<'_>) -> T>(&mut self, take: F) -> Result<T, F> {
        let length = (&self.chunk[..]).skip_until(b'\n').unwrap_or(0);
        let Some((b'\n', line)) = self.chunk.get(..length).and_then(<[u8]>::split_last) else {
            self.put_by();
            return Err(take);
        };
        let too_long = std::mem::take(&mut self.too_long);
        let taken = if self.partial.is_empty() {
            take(item(line, too_long, self.max_line))
        } else {
            self.partial.extend_from_slice(line);
            take(item(&self.partial, too_long, self.max_line))
        };
        self.partial.clear();
        self.chunk.advance(length);
        self.waiting = false;
        Ok(taken)
    }

    /// Keeps the start of a line until its end arrives, unless it is too long already.
    fn put_by(&mut self) {
        // One byte more, for the carriage return before a line feed.
        let room = self.max_line.saturating_add(1).saturating_sub(self.partial.len());
        if self.too_long || self.chunk.len() > room {
            self.too_long = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(&self.chunk);
        }
        self.chunk = Bytes::new();
    }

    /// Hands over what is behind the last line feed.
    fn take_rest<T>(&mut self, take: impl FnOnce(Item<'_>) -> T) -> Option<T> {
        let too_long = std::mem::take(&mut self.too_long);
        let rest = std::mem::take(&mut self.partial);
        (too_long || !rest.is_empty()).then(|| take(item(&rest, too_long, self.max_line)))
    }

    /// Waits for more of the body.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(End::Torn));
        }
        if let Poll::Ready(chunk) = self.body.as_mut().poll_next(cx) {
            return Poll::Ready(chunk.ok_or(End::Whole).and_then(|chunk| chunk.map_err(|_| End::Torn)));
        }
        if !self.waiting {
            self.waiting = true;
            self.deadline.as_mut().reset(Instant::now() + self.timeout);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(End::Torn))
    }
}

impl Source for Lines {
    fn poll_item<T>(&mut self, cx: &mut Context<'_>, take: impl FnOnce(Item<'_>) -> T) -> Poll<Option<T>> {
        let mut take = take;
        loop {
            match self.take_line(take) {
                Ok(taken) => return Poll::Ready(Some(taken)),
                Err(back) => take = back,
            }
            match self.end {
                Some(End::Whole) => return Poll::Ready(self.take_rest(take)),
                Some(End::Torn) => return Poll::Ready(None),
                None => match ready!(self.poll_chunk(cx)) {
                    Ok(chunk) => self.chunk = chunk,
                    Err(end) => self.end = Some(end),
                },
            }
        }
    }

    fn rest(&mut self) {
        self.waiting = false;
    }
}

fn item(line: &[u8], too_long: bool, max_line: usize) -> Item<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if too_long || line.len() > max_line {
        let detail = format!("The line is longer than {max_line} bytes.");
        return Item::Rejected(Rejection::new(Code::BodyTooLarge, detail));
    }
    Item::Text(line)
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_fn;
    use futures_util::{StreamExt, stream};

    use super::*;

    fn lines(pieces: Vec<Vec<u8>>, max_line: usize) -> Lines {
        let body = stream::iter(pieces.into_iter().map(|piece| Ok(Bytes::from(piece)))).boxed();
        Lines::new(body, max_line, Duration::from_secs(1), CancellationToken::new())
    }

    async fn next(lines: &mut Lines) -> Option<Option<Vec<u8>>> {
        let keep = |item: Item<'_>| match item {
            Item::Text(text) => Some(text.to_vec()),
            Item::Rejected(_) => None,
        };
        poll_fn(|cx| lines.poll_item(cx, keep)).await
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_are_cut_into_pieces() {
        let text = b"one\r\n\ntwo\nthree is too long\n\r\nfour\nfive";
        let expected =
            [Some(&b"one"[..]), Some(b""), Some(b"two"), None, Some(b""), Some(b"four"), Some(b"five")];
        for size in 1..=text.len() {
            let mut lines = lines(text.chunks(size).map(<[u8]>::to_vec).collect(), 8);
            for line in expected {
                assert_eq!(next(&mut lines).await, Some(line.map(<[u8]>::to_vec)), "in pieces of {size}");
            }
            assert_eq!(next(&mut lines).await, None);
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_not_kept() {
        let small = vec![vec![b'x'; 1_000]; 100];
        let large = [vec![vec![b'x'; 1_000]; 3], vec![vec![b'y'; 1_000_000]]].concat();
        for pieces in [small, large] {
            let count = pieces.len();
            let mut lines = lines(pieces, 4_000);
            let mut context = Context::from_waker(std::task::Waker::noop());
            for _ in 0..count {
                let chunk = lines.poll_chunk(&mut context);
                let Poll::Ready(Ok(chunk)) = chunk else { panic!("there is more") };
                lines.chunk = chunk;
                assert!(lines.take_line(|_| ()).is_err());
                assert!(lines.partial.capacity() <= 8_000, "{} bytes are kept", lines.partial.capacity());
            }
            assert_eq!(lines.partial.capacity(), 0, "what is known to be too long is let go");
            assert_eq!(next(&mut lines).await, Some(None));
        }
    }
}
