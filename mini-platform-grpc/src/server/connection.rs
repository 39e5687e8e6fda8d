//! One connection, from its first byte to its last.

use std::pin::pin;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::settings::ServerSettings;
use super::socket::Socket;
use crate::channel::{CONNECTION_WINDOW, STREAM_WINDOW};

/// How many requests a connection may at least have open, however few may be under way.
const MIN_STREAMS: usize = 256;

/// How connections are served.
#[derive(Clone)]
pub(super) struct Protocol {
    builder: Builder<TokioExecutor>,
    handshake_timeout: Duration,
}

impl Protocol {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        let mut builder = Builder::new(TokioExecutor::new()).http2_only();
        let streams = settings.max_in_flight.saturating_mul(2).max(MIN_STREAMS);
        builder
            .http2()
            .timer(TokioTimer::new())
            // Twice as many as requests may be at once: those that are too many are told so, and do not wait unseen.
            .max_concurrent_streams(u32::try_from(streams).unwrap_or(u32::MAX))
            // A dispatcher gives up on many requests at once when their time is up: that is no attack.
            .max_pending_accept_reset_streams(streams)
            .max_header_list_size(settings.max_header)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(settings.keepalive_interval)
            .keep_alive_timeout(settings.keepalive_timeout);
        Self { builder, handshake_timeout: settings.handshake_timeout }
    }

    /// Serves one connection until it ends, or until the server stops and what is under way is answered.
    pub(super) async fn serve(self, stream: TcpStream, gate: Gate, stopping: CancellationToken) {
        let (socket, greeting) = Socket::new(stream);
        let cut = CancellationToken::new();
        let service = TowerToHyperService::new(gate.of_connection(cut.clone()));
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(socket), service));
        let mut handshake = pin!(tokio::time::sleep(self.handshake_timeout));
        let (mut accepting, mut greeted) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke off");
                    }
                    return;
                }
                () = cut.cancelled() => return,
                () = stopping.cancelled(), if accepting => {
                    if !greeting.is_complete() {
                        return;
                    }
                    accepting = false;
                    connection.as_mut().graceful_shutdown();
                }
                () = handshake.as_mut(), if !greeted => {
                    if !greeting.is_complete() {
                        return;
                    }
                    greeted = true;
                }
            }
        }
    }
}
