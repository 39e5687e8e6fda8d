//! A dispatcher's cluster elsewhere.

use async_trait::async_trait;
use mini_platform_core::domain::{Epoch, NodeAddress, WorkerId};
use mini_platform_core::error::Fault;
use mini_platform_core::port::{HeartbeatAnswer, JoinAnswer, JoinRequest, Membership};
use tonic::transport::Channel;

use crate::channel::{ChannelSettings, call, channel};
use crate::status::{answer_to_fault, status_to_fault};
use crate::v1;
use crate::v1::cluster_service_client::ClusterServiceClient;

const DISPATCHER: &str = "dispatcher";

/// The cluster of a dispatcher elsewhere, reached over gRPC. A clone shares the connection.
///
/// Each request takes at most as long as [`mini_platform_core::deadline::remaining`] says.
#[derive(Debug, Clone)]
pub struct ClusterClient {
    client: ClusterServiceClient<Channel>,
}

impl ClusterClient {
    /// Makes the way to the dispatcher at an address. Call it inside of a tokio runtime. Nothing is connected
    /// before the first request; a connection that broke is made anew by the next one.
    #[must_use]
    pub fn new(address: &NodeAddress, settings: &ChannelSettings) -> Self {
        let client = ClusterServiceClient::new(channel(address, settings))
            .max_decoding_message_size(settings.max_message);
        Self { client }
    }
}

#[async_trait]
impl Membership for ClusterClient {
    async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, Fault> {
        const JOIN: &str = "let a worker join";
        let mut client = self.client.clone();
        let message = v1::JoinRequest::from(request);
        let response = call(message, |request| async move { client.join(request).await })
            .await
            .map_err(|status| status_to_fault(&status, DISPATCHER, JOIN))?;
        response.try_into().map_err(|error| answer_to_fault(error, DISPATCHER, JOIN))
    }

    async fn heartbeat(&self, id: &WorkerId, epoch: Epoch) -> Result<HeartbeatAnswer, Fault> {
        const HEARTBEAT: &str = "renew a membership";
        let mut client = self.client.clone();
        let message = v1::HeartbeatRequest::from((id, epoch));
        let response = call(message, |request| async move { client.heartbeat(request).await })
            .await
            .map_err(|status| status_to_fault(&status, DISPATCHER, HEARTBEAT))?;
        response.try_into().map_err(|error| answer_to_fault(error, DISPATCHER, HEARTBEAT))
    }

    async fn leave(&self, id: &WorkerId, epoch: Epoch) -> Result<(), Fault> {
        let mut client = self.client.clone();
        let message = v1::LeaveRequest::from((id, epoch));
        call(message, |request| async move { client.leave(request).await })
            .await
            .map_err(|status| status_to_fault(&status, DISPATCHER, "end a membership"))?;
        Ok(())
    }
}
