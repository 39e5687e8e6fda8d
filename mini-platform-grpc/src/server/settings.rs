//! Where a server listens, and what it may be asked for at most.

use std::net::SocketAddr;
use std::time::Duration;

/// Where a server listens and what its limits are; start from [`ServerSettings::new`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerSettings {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The most connections at once; more wait to be accepted. Default 1024.
    pub max_connections: usize,
    /// The most requests at once, over all connections; more are answered `RESOURCE_EXHAUSTED` with the reason
    /// `OVERLOADED`, at once. Membership, health and the like have room of their own on each connection, so that no
    /// amount of work ends a membership, and no peer that of another. Default 1024.
    pub max_in_flight: usize,
    /// The longest message that is taken, in bytes. Default 1 MiB: the longest batch has less. Empty items of
    /// a list take 60 times as much room as in the message, so choose no more than is needed.
    pub max_message: usize,
    /// The longest head of a request, in bytes. Default 16 KiB.
    pub max_header: u32,
    /// How long a peer may take to begin to speak HTTP/2. Default 5 s.
    pub handshake_timeout: Duration,
    /// How often a silent peer is asked whether it is still there. Default 10 s.
    pub keepalive_interval: Duration,
    /// How long the peer may take to answer that, before it is cut off. Default 5 s.
    pub keepalive_timeout: Duration,
    /// How long a stream of events may say nothing while nothing is under way, and how long a part of an answer may
    /// wait for its peer to take it; who does not take it is cut off. Default 30 s.
    pub idle_timeout: Duration,
    /// How long requests may go on after the server is told to stop. Default 10 s.
    pub shutdown_grace: Duration,
}

impl ServerSettings {
    /// Listens at an address, with the default limits.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            max_connections: 1024,
            max_in_flight: 1024,
            max_message: 1 << 20,
            max_header: 16 << 10,
            handshake_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
        }
    }

    /// Sets the most connections at once, at least 1.
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Sets the most requests at once, at least 1.
    #[must_use]
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests.max(1);
        self
    }

    /// Sets the longest message, in bytes.
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets the longest head of a request, in bytes.
    #[must_use]
    pub fn with_max_header(mut self, bytes: u32) -> Self {
        self.max_header = bytes;
        self
    }

    /// Sets how long a peer may take to begin to speak HTTP/2.
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Sets how often a silent peer is asked whether it is still there.
    #[must_use]
    pub fn with_keepalive_interval(mut self, interval: Duration) -> Self {
        self.keepalive_interval = interval;
        self
    }

    /// Sets how long the peer may take to answer that.
    #[must_use]
    pub fn with_keepalive_timeout(mut self, timeout: Duration) -> Self {
        self.keepalive_timeout = timeout;
        self
    }

    /// Sets how long a stream may say nothing, and an answer wait to be taken.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets how long requests may go on after the server is told to stop.
    #[must_use]
    pub fn with_shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }
}
