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

/// A request may be under way until this is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    _permit: OwnedSemaphorePermit,
    /// The one of its connection.
    _own: Option<OwnedSemaphorePermit>,
}

/// Tells how much goes on in a server, at any time.
#[derive(Debug, Clone)]
pub struct ServerActivity {
    /// One task for each connection.
    pub(super) connections: TaskTracker,
    requests: Limit,
    /// Requests about the server and the cluster. They are only counted: each connection has a limit of its own.
    control: Limit,
}

impl ServerActivity {
    pub(super) fn new(max_in_flight: usize) -> Self {
        Self {
            connections: TaskTracker::new(),
            requests: Limit::new(max_in_flight),
            control: Limit::new(Semaphore::MAX_PERMITS),
        }
    }

    /// Admits work, if there is room.
    pub(super) fn admit_work(&self) -> Option<Admission> {
        Some(Admission { _permit: self.requests.enter()?, _own: None })
    }

    /// Admits what is no work, if there is room on its connection.
    pub(super) fn admit_control(&self, own: &Limit) -> Option<Admission> {
        let own = own.enter()?;
        Some(Admission { _permit: self.control.enter()?, _own: Some(own) })
    }

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
