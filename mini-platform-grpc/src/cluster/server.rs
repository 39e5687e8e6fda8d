//! A dispatcher's cluster, served to workers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mini_platform_core::domain::{Epoch, WorkerId};
use mini_platform_core::port::{JoinRequest, Membership};
use tonic::{Request, Response, Status};

use crate::status::{convert_error_to_status, fault_to_status};
use crate::v1;
use crate::v1::cluster_service_server::{ClusterService, ClusterServiceServer};

/// The longest message, in bytes: a worker that joins says less than 1 KiB, and a later version may say more.
const MAX_MESSAGE: usize = 16 << 10;

/// Serves a cluster.
pub(crate) fn service(membership: Arc<dyn Membership>) -> ClusterServiceServer<Cluster> {
    ClusterServiceServer::new(Cluster { membership }).max_decoding_message_size(MAX_MESSAGE)
}

pub(crate) struct Cluster {
    membership: Arc<dyn Membership>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

#[async_trait]
impl ClusterService for Cluster {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let request =
            JoinRequest::try_from(request.into_inner()).map_err(|error| convert_error_to_status(&error))?;
        let answer = self.membership.join(&request).await.map_err(|fault| fault_to_status(&fault))?;
        Ok(Response::new((&answer).into()))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let (id, epoch): (WorkerId, Epoch) =
            request.into_inner().try_into().map_err(|error| convert_error_to_status(&error))?;
        let answer = self.membership.heartbeat(&id, epoch).await.map_err(|fault| fault_to_status(&fault))?;
        Ok(Response::new(answer.into()))
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        let (id, epoch): (WorkerId, Epoch) =
            request.into_inner().try_into().map_err(|error| convert_error_to_status(&error))?;
        self.membership.leave(&id, epoch).await.map_err(|fault| fault_to_status(&fault))?;
        Ok(Response::new(v1::LeaveResponse {}))
    }
}
