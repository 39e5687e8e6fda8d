//! The bytes of a connection: what a bare socket lacks.
//!
//! - A client that lets an answer wait without reading any of it is cut off.
//! - A connection that is closed while the client still sends is drained for a moment. Closing it at once would make
//!   the operating system drop the answer that says why.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a closed connection is drained: time for an answer to cross the world and be read.
const DRAIN_TIME: Duration = Duration::from_secs(2);

const DRAIN_BUFFER: usize = 16 << 10;

/// A connected socket.
pub(super) struct Socket {
    inner: TokioIo<TcpStream>,
    write_timeout: Duration,
    /// When a write that waits for the client fails.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Set when an answer left while its request may still be under way.
    early_answer: Arc<AtomicBool>,
    closing: Closing,
}

enum Closing {
    No,
    /// Our side is closed; what the client still sends is dropped until then.
    Draining(Option<Pin<Box<Sleep>>>),
}

impl Socket {
    pub(super) fn new(stream: TcpStream, write_timeout: Duration, early_answer: Arc<AtomicBool>) -> Self {
        Self { inner: TokioIo::new(stream), write_timeout, stalled: None, early_answer, closing: Closing::No }
    }

    /// Passes on what a write came to, unless it has waited for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Drops what the client sends. A client that sends nothing is waited for only after an early answer.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing::Draining(until) = &mut self.closing else { return Poll::Ready(()) };
        let mut waits = self.early_answer.load(Ordering::Relaxed);
        let mut bytes = [0; DRAIN_BUFFER];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.inner).poll_read(cx, buffer.unfilled()) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => waits = true,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if !waits && until.is_none() => return Poll::Ready(()),
                Poll::Pending => break,
            }
            let until = until.get_or_insert_with(|| Box::pin(tokio::time::sleep(DRAIN_TIME)));
            if until.deadline() <= Instant::now() {
                return Poll::Ready(());
            }
        }
        until.get_or_insert_with(|| Box::pin(tokio::time::sleep(DRAIN_TIME))).as_mut().poll(cx)
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::No) {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.closing = Closing::Draining(None);
        }
        self.poll_drain(cx).map(Ok)
    }
}
