//! How a dispatcher reaches a worker that wants to join.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::WorkerNode;
use crate::domain::{Incarnation, NodeAddress, WorkerId};
use crate::error::Fault;

/// A worker that answered.
#[derive(Clone)]
pub struct Dialled {
    /// Who it says it is.
    pub id: WorkerId,
    /// Which run it says it is.
    pub incarnation: Incarnation,
    /// The way to it.
    pub node: Arc<dyn WorkerNode>,
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled")
            .field("id", &self.id)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

/// Connects to workers.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WorkerDialer: Send + Sync + 'static {
    /// Connects to the worker at an address and asks who it is. The caller bounds the time.
    ///
    /// # Errors
    /// Nobody answers there, or not as a worker does.
    async fn dial(&self, address: &NodeAddress) -> Result<Dialled, Fault>;
}
