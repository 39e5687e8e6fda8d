//! What the connections of one server share: their time limits, and how they end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::HttpSettings;

/// The time limits of a server's connections, and its end.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) header_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) shutdown_grace: Duration,
    pub(super) max_connections: usize,
    /// Cancelled when no further request is taken.
    pub(super) stopping: CancellationToken,
    /// The connections, and what outlives a request on them.
    pub(super) tasks: TaskTracker,
}

impl Serving {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self {
            header_timeout: settings.header_timeout,
            write_timeout: settings.write_timeout,
            shutdown_grace: settings.shutdown_grace,
            max_connections: settings.max_connections,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Serves probes: few connections, small answers, nothing to wait for at the end.
    pub(super) fn of_probes() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(1),
            max_connections: 64,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}
