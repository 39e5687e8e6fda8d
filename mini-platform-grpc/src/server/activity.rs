//! How much goes on in a server.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// So many things at once, and no more.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    free: Arc<Semaphore>,
    most: usize,
}

impl Limit {
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    /// Waits for room. The semaphore is never closed, so there is always a permit in the end.
    pub(super) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Takes room, if there is any.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    fn taken(&self) -> usize {
        self.most - self.free.available_permits()
    }
}

/// Tells how much goes on in a server, at any time.
#[derive(Debug, Clone)]
pub struct ServerActivity {
    /// One task for each connection.
    pub(super) connections: TaskTracker,
    pub(super) requests: Limit,
    /// Requests about the server and the cluster, which others must not keep out.
    pub(super) control: Limit,
}

impl ServerActivity {
    /// Returns how many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Returns how many requests are under way, streams included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.requests.taken() + self.control.taken()
    }
}
