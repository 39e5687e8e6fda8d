//! Listening, accepting, and stopping without losing what was accepted.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::feeder::{self, FeederApi};
use super::log_limit::LogLimit;
use super::serving::Serving;
use super::settings::HttpSettings;
use super::state::{Api, State};
use super::{connection, routes};

/// How long accepting pauses when the operating system refuses, as when it is out of file descriptors: long enough
/// not to spin, short enough for a connection to end and free one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves over HTTP: the platform's API, or the pages of a feeder or a worker.
pub struct HttpServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    serving: Arc<Serving>,
    filter: BoxedFilter<(Response,)>,
    builder: Builder<TokioExecutor>,
    connections: Arc<Semaphore>,
    refusals: LogLimit,
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl HttpServer {
    /// Starts to listen. Clients can connect from now on, and are served once [`HttpServer::run`] is polled.
    ///
    /// # Errors
    /// The address is taken, or is not ours.
    pub async fn bind(settings: HttpSettings, api: Api) -> io::Result<Self> {
        let (listen, serving) = (settings.listen, Serving::new(&settings));
        let state = State::new(settings, api, &serving);
        Self::start(listen, serving, routes::routes(Arc::new(state))).await
    }

    /// Starts to listen for who asks a feeder of its own how it is. As [`HttpServer::bind`] otherwise.
    ///
    /// # Errors
    /// The address is taken, or is not ours.
    pub async fn bind_feeder(listen: SocketAddr, api: FeederApi) -> io::Result<Self> {
        Self::start(listen, Serving::of_probes(), feeder::routes(api)).await
    }

    /// Starts to listen for who asks a worker of its own how it is. As [`HttpServer::bind`] otherwise.
    ///
    /// # Errors
    /// The address is taken, or is not ours.
    #[cfg(feature = "cluster")]
    pub async fn bind_worker(listen: SocketAddr, api: super::WorkerApi) -> io::Result<Self> {
        Self::start(listen, Serving::of_probes(), super::worker::routes(api)).await
    }

    async fn start(
        listen: SocketAddr,
        serving: Serving,
        filter: BoxedFilter<(Response,)>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let local_addr = listener.local_addr()?;
        let builder = connection::builder(&serving);
        let connections = Arc::new(Semaphore::new(serving.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        let (serving, refusals) = (Arc::new(serving), LogLimit::new());
        Ok(Self { listener, local_addr, serving, filter, builder, connections, refusals })
    }

    /// Returns the address that is listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is cancelled, then finishes what was accepted, for as long as the grace lasts.
    ///
    /// A stream of lines ends after the lines that were read by then.
    pub async fn run(self, shutdown: CancellationToken) {
        let cut = CancellationToken::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                (stream, permit) = self.accept() => self.spawn(stream, permit, cut.clone()),
            }
        }
        let Self { listener, serving, .. } = self;
        drop(listener);
        serving.stopping.cancel();
        serving.tasks.close();
        if tokio::time::timeout(serving.shutdown_grace, serving.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = serving.tasks.len(), "the grace is over; connections are cut");
            cut.cancel();
            serving.tasks.wait().await;
        }
    }

    /// Accepts the next connection, once there is room for one.
    async fn accept(&self) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        // The semaphore is never closed, so there is always a permit.
        let permit = Arc::clone(&self.connections).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, permit),
                Err(error) if concerns_one_client(&error) => {}
                Err(error) => {
                    if let Some(held_back) = self.refusals.pass() {
                        tracing::warn!(%error, held_back, "connections cannot be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, permit: Option<OwnedSemaphorePermit>, cut: CancellationToken) {
        // Answers are small and leave whole: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let connection =
            connection::serve(stream, self.builder.clone(), self.filter.clone(), Arc::clone(&self.serving));
        self.serving.tasks.spawn(async move {
            cut.run_until_cancelled_owned(connection).await;
            drop(permit);
        });
    }
}

/// Whether accepting failed because a client went away before its turn.
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
