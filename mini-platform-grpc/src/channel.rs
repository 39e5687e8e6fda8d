//! The way to another node: one HTTP/2 connection that is made when it is needed, and made anew when it broke.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use mini_platform_core::deadline;
use mini_platform_core::domain::NodeAddress;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// How much a peer may send ahead of what is read, in bytes: a whole batch on one stream, and two on all of them.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 2 << 20;

/// How many calls that were given up are remembered for a second. An answer that comes later than that counts as a
/// mistake of the peer, and many of those would end the connection with all that is under way on it: a worker that is
/// slow for a while is to lose no more than the calls that were given up.
const GIVEN_UP: usize = 4096;

/// The longest head of an answer, in bytes: a status with its details.
const MAX_HEADER: u32 = 16 << 10;

/// How a client reaches another node; start from the default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChannelSettings {
    /// How long connecting may take. Default 1 s.
    pub connect_timeout: Duration,
    /// How often a connection is checked, also while nothing is asked. Default 5 s.
    pub keepalive_interval: Duration,
    /// How long the peer may take to answer such a check, before the connection is given up. Default 2 s.
    pub keepalive_timeout: Duration,
    /// The longest answer that is taken, in bytes. Default 8 MiB: more than the longest page has.
    pub max_message: usize,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(2),
            max_message: 8 << 20,
        }
    }
}

impl ChannelSettings {
    /// Sets how long connecting may take.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how often a connection is checked.
    #[must_use]
    pub fn with_keepalive_interval(mut self, interval: Duration) -> Self {
        self.keepalive_interval = interval;
        self
    }

    /// Sets how long the peer may take to answer a check.
    #[must_use]
    pub fn with_keepalive_timeout(mut self, timeout: Duration) -> Self {
        self.keepalive_timeout = timeout;
        self
    }

    /// Sets the longest answer, in bytes.
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }
}

/// Makes the way to a node. Nothing is connected yet.
pub(crate) fn channel(address: &NodeAddress, settings: &ChannelSettings) -> Channel {
    endpoint(address)
        .connect_timeout(settings.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(MAX_HEADER)
        .http2_max_concurrent_reset_streams(GIVEN_UP)
        .http2_max_local_error_reset_streams(usize::MAX)
        .connect_lazy()
}

/// Sends a message and waits for the answer. The peer is told how much time there is for it; whoever set that limit
/// drops the call when it is over, which takes the request back.
///
/// An answer whose status cannot be decoded makes tonic panic; it is an answer that cannot be read.
pub(crate) async fn call<M, T, F>(message: M, send: impl FnOnce(Request<M>) -> F) -> Result<T, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut request = Request::new(message);
    if let Some(left) = deadline::remaining() {
        request.set_timeout(left);
    }
    match AssertUnwindSafe(send(request)).catch_unwind().await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(unreadable()),
    }
}

/// Stands for a status that made tonic panic.
pub(crate) fn unreadable() -> Status {
    Status::data_loss("the status of the answer cannot be read")
}

fn endpoint(address: &NodeAddress) -> Endpoint {
    // Every address of a node is a URI.
    Endpoint::from_shared(address.as_str().to_owned())
        .unwrap_or_else(|_| Endpoint::from_static("http://[::]:0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_node_can_be_connected_to() {
        for address in ["http://127.0.0.1:9082", "http://[::1]:1", "http://w_1.bank-2.example:65535"] {
            let node = NodeAddress::new(address).unwrap();
            assert_eq!(endpoint(&node).uri().to_string(), format!("{address}/"));
        }
    }
}
