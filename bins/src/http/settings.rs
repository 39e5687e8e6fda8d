//! How the HTTP server behaves.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mini_platform_core::domain::Currency;

/// The settings of the HTTP server; start from [`HttpSettings::new`].
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where to listen; port 0 picks a free one. Default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// The longest body of a single event, in bytes. Default 64 KiB: hundreds of times a real event.
    pub max_body: usize,
    /// The longest line of a stream, in bytes. Default 64 KiB, as for a single event.
    pub max_line: usize,
    /// The longest JSON array, in bytes. Default 16 MiB: longer input is streamed as NDJSON.
    pub max_array: usize,
    /// The bytes of JSON arrays that are held at once over all connections; more are answered `overloaded`.
    /// Default 256 MiB.
    pub max_buffered: usize,
    /// How long a client may take to send the head of a request, and a connection to stay idle. Default 10 s.
    pub header_timeout: Duration,
    /// How long a client may take to send a body, or the next line of a stream. Default 30 s.
    pub body_timeout: Duration,
    /// How long a client may let an answer wait without reading any of it. Default 30 s.
    pub write_timeout: Duration,
    /// The most connections at once; more wait in the operating system's queue. Default 4096.
    pub max_connections: usize,
    /// How long a stop waits for what was accepted. Default 10 s.
    pub shutdown_grace: Duration,
    /// The currency of events that name none.
    pub default_currency: Currency,
    /// The age from which on a fraud list makes the service unready, counted from when a feeder last found that there
    /// is no newer one. Default 24 h.
    pub max_list_age: Duration,
}

impl HttpSettings {
    /// Makes the default settings with the currency of events that name none.
    #[must_use]
    pub fn new(default_currency: Currency) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            max_body: 64 << 10,
            max_line: 64 << 10,
            max_array: 16 << 20,
            max_buffered: 256 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            max_connections: 4096,
            shutdown_grace: Duration::from_secs(10),
            default_currency,
            max_list_age: Duration::from_secs(24 * 60 * 60),
        }
    }
}
