//! Listening, accepting, and stopping without losing what was accepted.

mod activity;
mod answer;
mod call;
mod connection;
mod gate;
mod health;
mod question;
mod services;
mod settings;
mod socket;
mod timeout;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

pub use activity::ServerActivity;
pub(crate) use call::LONGEST;
pub use services::Services;
pub use settings::ServerSettings;

use activity::Limit;
use connection::Protocol;
use gate::Gate;
use health::Health;

/// How long accepting pauses when the operating system refuses, as when it is out of file descriptors: long enough
/// not to spin, short enough for a connection to end and free one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves services over gRPC, with health and reflection beside them.
pub struct GrpcServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    shutdown_grace: Duration,
    protocol: Protocol,
    gate: Gate,
    room: Limit,
    activity: ServerActivity,
    health: Health,
    /// Cancelled when streams are to end and connections to take no more requests.
    stopping: CancellationToken,
}

impl fmt::Debug for GrpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcServer").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl GrpcServer {
    /// Starts to listen. Clients can connect from now on, and are served once [`GrpcServer::run`] is polled.
    ///
    /// # Errors
    /// The address is taken, or is not ours.
    pub async fn bind(settings: ServerSettings, services: Services) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let local_addr = listener.local_addr()?;
        let activity = ServerActivity::new(settings.max_in_flight);
        let stopping = CancellationToken::new();
        let (routes, health) = services.routes(&settings, &stopping).await.map_err(io::Error::other)?;
        Ok(Self {
            listener,
            local_addr,
            shutdown_grace: settings.shutdown_grace,
            protocol: Protocol::new(&settings),
            gate: Gate::new(routes, activity.clone(), settings.idle_timeout, stopping.clone()),
            room: Limit::new(settings.max_connections),
            activity,
            health,
            stopping,
        })
    }

    /// Returns the address that is listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns what tells how much goes on, now and while the server runs.
    #[must_use]
    pub fn activity(&self) -> ServerActivity {
        self.activity.clone()
    }

    /// Serves until `stop` is cancelled, then finishes what is under way, for as long as the grace lasts.
    ///
    /// From then on no connection is accepted, health says that nothing is served, and clients are told to go
    /// elsewhere. Streams of events end after the requests that were read by then.
    ///
    /// Dropping the future cuts all connections.
    pub async fn run(self, stop: CancellationToken) {
        let cut = CancellationToken::new();
        let _cut_when_dropped = cut.clone().drop_guard();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                (stream, permit) = self.accept() => self.spawn(stream, permit, cut.clone()),
            }
        }
        drop(self.listener);
        self.health.stop().await;
        self.stopping.cancel();
        let connections = self.activity.connections;
        connections.close();
        if tokio::time::timeout(self.shutdown_grace, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "the grace is over; gRPC connections are cut");
            cut.cancel();
            connections.wait().await;
        }
    }

    /// Accepts the next connection, once there is room for one.
    async fn accept(&self) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        let permit = self.room.wait().await;
        let mut refused = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, permit),
                Err(error) if concerns_one_client(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::warn!(%error, "gRPC connections cannot be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, permit: Option<OwnedSemaphorePermit>, cut: CancellationToken) {
        // Messages are written whole: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let connection = self.protocol.clone().serve(stream, self.gate.clone(), self.stopping.clone());
        self.activity.connections.spawn(async move {
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
