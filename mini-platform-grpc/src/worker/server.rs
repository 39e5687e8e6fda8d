//! A worker, served to dispatchers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mini_platform_core::domain::EventBatch;
use mini_platform_core::port::{FetchAnswer, FetchQuery, WorkerNode};
use tonic::{Request, Response, Status};

use super::Identity;
use crate::convert::{ConvertError, WrongAnswer};
use crate::status::{convert_error_to_status, fetch_error_to_status, ingest_error_to_status, wrong_answer};
use crate::v1;
use crate::v1::worker_service_server::{WorkerService, WorkerServiceServer};

/// Serves a worker.
pub(crate) fn service(
    node: Arc<dyn WorkerNode>,
    identity: Identity,
    max_message: usize,
) -> WorkerServiceServer<Worker> {
    WorkerServiceServer::new(Worker { node, identity }).max_decoding_message_size(max_message)
}

pub(crate) struct Worker {
    node: Arc<dyn WorkerNode>,
    identity: Identity,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Worker {
    async fn fetch<Q, A>(&self, request: Request<Q>) -> Result<Response<A>, Status>
    where
        FetchQuery: TryFrom<Q, Error = ConvertError>,
        A: for<'a> TryFrom<&'a FetchAnswer, Error = WrongAnswer>,
    {
        let query =
            FetchQuery::try_from(request.into_inner()).map_err(|error| convert_error_to_status(&error))?;
        let answer = self.node.fetch(&query).await.map_err(|error| fetch_error_to_status(&error))?;
        let answer = A::try_from(&answer).map_err(|error| wrong_answer(&error))?;
        Ok(Response::new(answer))
    }
}

#[async_trait]
impl WorkerService for Worker {
    async fn identify(
        &self,
        _: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        Ok(Response::new((&self.identity.id, self.identity.incarnation).into()))
    }

    async fn ingest(
        &self,
        request: Request<v1::WorkerServiceIngestRequest>,
    ) -> Result<Response<v1::WorkerServiceIngestResponse>, Status> {
        let batch =
            EventBatch::try_from(request.into_inner()).map_err(|error| convert_error_to_status(&error))?;
        let outcomes = self.node.ingest(&batch).await.map_err(|error| ingest_error_to_status(&error))?;
        Ok(Response::new(outcomes.as_slice().into()))
    }

    async fn fetch_transactions(
        &self,
        request: Request<v1::FetchTransactionsRequest>,
    ) -> Result<Response<v1::FetchTransactionsResponse>, Status> {
        self.fetch(request).await
    }

    async fn fetch_operations(
        &self,
        request: Request<v1::FetchOperationsRequest>,
    ) -> Result<Response<v1::FetchOperationsResponse>, Status> {
        self.fetch(request).await
    }

    async fn fetch_interactions(
        &self,
        request: Request<v1::FetchInteractionsRequest>,
    ) -> Result<Response<v1::FetchInteractionsResponse>, Status> {
        self.fetch(request).await
    }

    async fn fetch_branches(
        &self,
        request: Request<v1::FetchBranchesRequest>,
    ) -> Result<Response<v1::FetchBranchesResponse>, Status> {
        self.fetch(request).await
    }

    async fn fetch_client(
        &self,
        request: Request<v1::FetchClientRequest>,
    ) -> Result<Response<v1::FetchClientResponse>, Status> {
        self.fetch(request).await
    }

    async fn fetch_event(
        &self,
        request: Request<v1::FetchEventRequest>,
    ) -> Result<Response<v1::FetchEventResponse>, Status> {
        self.fetch(request).await
    }

    async fn fetch_fraud_list(
        &self,
        request: Request<v1::FetchFraudListRequest>,
    ) -> Result<Response<v1::FetchFraudListResponse>, Status> {
        self.fetch(request).await
    }

    async fn check_name(
        &self,
        request: Request<v1::CheckNameRequest>,
    ) -> Result<Response<v1::CheckNameResponse>, Status> {
        self.fetch(request).await
    }
}
