//! A worker elsewhere.

use async_trait::async_trait;
use mini_platform_core::domain::{
    EventBatch, Incarnation, IngestOutcome, NodeAddress, ProtocolVersion, WorkerId,
};
use mini_platform_core::error::{Fault, FaultKind, FetchError, IngestError};
use mini_platform_core::port::{FetchAnswer, FetchQuery, WorkerNode};
use tonic::Status;
use tonic::transport::Channel;

use super::Identity;
use crate::channel::{ChannelSettings, call, channel};
use crate::convert::{ConvertError, FetchRequest};
use crate::status::{answer_to_fault, status_to_fault, status_to_fetch_error, status_to_ingest_error};
use crate::v1;
use crate::v1::worker_service_client::WorkerServiceClient;

const WORKER: &str = "worker";

/// A worker elsewhere, reached over gRPC. A clone shares the connection.
///
/// Each request takes at most as long as [`mini_platform_core::deadline::remaining`] says, and tells the worker so.
#[derive(Debug, Clone)]
pub struct RemoteWorker {
    client: WorkerServiceClient<Channel>,
}

impl RemoteWorker {
    /// Makes the way to the worker at an address. Call it inside of a tokio runtime. Nothing is connected before
    /// the first request; a connection that broke is made anew by the next one.
    #[must_use]
    pub fn new(address: &NodeAddress, settings: &ChannelSettings) -> Self {
        let client = WorkerServiceClient::new(channel(address, settings))
            .max_decoding_message_size(settings.max_message);
        Self { client }
    }

    /// Asks the worker who it is.
    ///
    /// # Errors
    /// Nobody answers there, or not as a worker of this version does.
    pub async fn identify(&self) -> Result<Identity, Fault> {
        const IDENTIFY: &str = "say who it is";
        let mut client = self.client.clone();
        let response = call(v1::IdentifyRequest {}, |request| async move { client.identify(request).await })
            .await
            .map_err(|status| status_to_fault(&status, WORKER, IDENTIFY))?;
        let (id, incarnation, protocol): (WorkerId, Incarnation, ProtocolVersion) =
            response.try_into().map_err(|error| answer_to_fault(error, WORKER, IDENTIFY))?;
        if protocol != ProtocolVersion::CURRENT {
            let spoken = OtherProtocol { spoken: protocol.0 };
            return Err(Fault::new(WORKER, IDENTIFY, FaultKind::Denied).with_source(spoken));
        }
        Ok(Identity { id, incarnation })
    }

    async fn ask(&self, request: FetchRequest) -> Result<Result<FetchAnswer, ConvertError>, Status> {
        let mut client = self.client.clone();
        Ok(match request {
            FetchRequest::Transactions(message) => {
                call(message, |request| async move { client.fetch_transactions(request).await })
                    .await?
                    .try_into()
            }
            FetchRequest::Operations(message) => {
                call(message, |request| async move { client.fetch_operations(request).await })
                    .await?
                    .try_into()
            }
            FetchRequest::Interactions(message) => {
                call(message, |request| async move { client.fetch_interactions(request).await })
                    .await?
                    .try_into()
            }
            FetchRequest::Branches(message) => {
                call(message, |request| async move { client.fetch_branches(request).await }).await?.try_into()
            }
            FetchRequest::Client(message) => {
                call(message, |request| async move { client.fetch_client(request).await }).await?.try_into()
            }
            FetchRequest::Event(message) => {
                call(message, |request| async move { client.fetch_event(request).await }).await?.try_into()
            }
            FetchRequest::FraudList(message) => {
                call(message, |request| async move { client.fetch_fraud_list(request).await })
                    .await?
                    .try_into()
            }
            FetchRequest::CheckName(message) => {
                call(message, |request| async move { client.check_name(request).await }).await?.try_into()
            }
        })
    }
}

/// A worker speaks another protocol.
#[derive(Debug, thiserror::Error)]
#[error("it speaks protocol {spoken}, and {} is spoken here; update the older of the two", ProtocolVersion::CURRENT.0)]
struct OtherProtocol {
    spoken: u32,
}

/// A worker answered for more or fewer events than it was sent.
#[derive(Debug, thiserror::Error)]
#[error("{results} results came for {events} events")]
struct WrongCount {
    results: usize,
    events: usize,
}

/// There is no call for a query yet.
#[derive(Debug, thiserror::Error)]
#[error("there is no gRPC call for this query")]
struct NoCall;

#[async_trait]
impl WorkerNode for RemoteWorker {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        const INGEST: &str = "take a batch in";
        let mut client = self.client.clone();
        let message = v1::WorkerServiceIngestRequest::from(batch);
        let response = call(message, |request| async move { client.ingest(request).await })
            .await
            .map_err(|status| status_to_ingest_error(&status))?;
        let outcomes: Vec<IngestOutcome> =
            response.try_into().map_err(|error| answer_to_fault(error, WORKER, INGEST))?;
        let (results, events) = (outcomes.len(), batch.events().len());
        if results != events {
            let source = WrongCount { results, events };
            return Err(Fault::new(WORKER, INGEST, FaultKind::Corrupt).with_source(source).into());
        }
        Ok(outcomes)
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        const FETCH: &str = "answer a fetch";
        let request = FetchRequest::asking(query)
            .ok_or_else(|| Fault::new(WORKER, FETCH, FaultKind::Internal).with_source(NoCall))?;
        let answer = self.ask(request).await.map_err(|status| status_to_fetch_error(&status))?;
        Ok(answer.map_err(|error| answer_to_fault(error, WORKER, FETCH))?)
    }
}
