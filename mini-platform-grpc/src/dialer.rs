//! Reaches workers that want to join.

use std::sync::Arc;

use async_trait::async_trait;
use mini_platform_core::domain::NodeAddress;
use mini_platform_core::error::Fault;
use mini_platform_core::port::{Dialled, WorkerDialer};

use crate::channel::ChannelSettings;
use crate::worker::RemoteWorker;

/// Dials workers and asks who they are.
#[derive(Debug, Clone, Default)]
pub struct GrpcDialer {
    settings: ChannelSettings,
}

impl GrpcDialer {
    /// Makes a dialer whose connections have these settings.
    #[must_use]
    pub fn new(settings: ChannelSettings) -> Self {
        Self { settings }
    }
}

#[async_trait]
impl WorkerDialer for GrpcDialer {
    async fn dial(&self, address: &NodeAddress) -> Result<Dialled, Fault> {
        let worker = RemoteWorker::new(address, &self.settings);
        let identity = worker.identify().await?;
        Ok(Dialled { id: identity.id, incarnation: identity.incarnation, node: Arc::new(worker) })
    }
}
