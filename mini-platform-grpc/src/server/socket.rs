//! The bytes of a connection, which knows whether the peer has begun to speak.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a peer sends first, in bytes: the preface of HTTP/2, and the head of its settings.
const GREETING: usize = 24 + 9;

/// How much of its greeting a peer has sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Greeting(Arc<AtomicUsize>);

impl Greeting {
    /// Says whether the peer has greeted.
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= GREETING
    }
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    greeting: Greeting,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> (Self, Greeting) {
        let greeting = Greeting::default();
        (Self { stream, greeting: greeting.clone() }, greeting)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if !self.greeting.is_complete() {
            self.greeting.0.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
