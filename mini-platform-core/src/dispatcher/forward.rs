//! What if a member fails: the next one that was not tried, until the time is up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::affinity;
use super::balancer::{LoadBalancer, PickRequest};
use super::cluster::{Cluster, InFlight, Member, MemberIndex};
use crate::domain::{ClientId, EventBatch, IngestOutcome};
use crate::error::{DispatchError, Fault, FaultKind, FetchError, IngestError, Retry};
use crate::port::{FetchAnswer, FetchQuery};

/// The most members that are tried for one request: more tries would multiply load when it hurts most.
const MAX_TRIES: usize = 3;

#[derive(Debug)]
pub(super) struct Forwarder {
    cluster: Arc<Cluster>,
    balancer: Arc<dyn LoadBalancer>,
    timeout: Duration,
}

impl Forwarder {
    pub(super) fn new(cluster: Arc<Cluster>, balancer: Arc<dyn LoadBalancer>, timeout: Duration) -> Self {
        Self { cluster, balancer, timeout }
    }

    pub(super) async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, DispatchError> {
        let call = |member: Arc<Member>| ingest_through(member, batch).boxed();
        self.within_timeout(self.try_members(
            affinity(batch),
            call,
            IngestError::retry,
            DispatchError::Ingest,
        ))
        .await
    }

    pub(super) async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, DispatchError> {
        let call = |member: Arc<Member>| async move { member.node().fetch(query).await }.boxed();
        self.within_timeout(self.try_members(None, call, FetchError::retry, DispatchError::Fetch)).await
    }

    async fn within_timeout<T>(
        &self,
        answer: impl Future<Output = Result<T, DispatchError>>,
    ) -> Result<T, DispatchError> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(DispatchError::Timeout(self.timeout)),
        }
    }

    /// Calls members until one answers, or fails in a way that no other member can mend.
    async fn try_members<'a, T, E>(
        &self,
        client: Option<&ClientId>,
        call: impl Fn(Arc<Member>) -> BoxFuture<'a, Result<T, E>>,
        retry: impl Fn(&E) -> Retry,
        exhausted: impl Fn(E) -> DispatchError,
    ) -> Result<T, DispatchError> {
        let view = self.cluster.view();
        let mut tried: Vec<MemberIndex> = Vec::new();
        let mut last_error = None;
        while tried.len() < MAX_TRIES {
            let Some(index) = self.balancer.pick(&view, &PickRequest::new(client, &tried)) else { break };
            let Some(member) = view.get(index) else { break };
            let in_flight = InFlight::start(Arc::clone(member));
            match call(Arc::clone(member)).await {
                Ok(answer) => {
                    in_flight.succeed();
                    return Ok(answer);
                }
                Err(error) if retry(&error) == Retry::Never => return Err(exhausted(error)),
                Err(error) => last_error = Some(error),
            }
            tried.push(index);
        }
        Err(last_error.map_or(DispatchError::NoWorkers, exhausted))
    }
}

async fn ingest_through(member: Arc<Member>, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
    let outcomes = member.node().ingest(batch).await?;
    if outcomes.len() == batch.len() {
        Ok(outcomes)
    } else {
        Err(Fault::new("worker", "answer one outcome an event", FaultKind::Corrupt).into())
    }
}
