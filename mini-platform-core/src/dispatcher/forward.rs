//! What if a member fails, is slow, or all have enough to do.
//!
//! - A try that fails, whatever the error, is followed at once by one at a member that was not tried yet.
//! - A try that did not answer in half of the time that was left when it started gets company at another member: a
//!   hedge. The first good answer wins.
//! - Both are paid from one retry budget, so that an outage does not multiply its load, and end with the request's
//!   timeout.
//! - More requests than there is room for are refused at once: waiting would only make all of them late.
//!
//! The tries of one batch may meet: both store the same events, and each event is stored once because its id says
//! that it is the same. But the winner may answer `Duplicate` for what the loser stored a moment before, as it may
//! when an answer was lost and the batch is sent again.

mod admission;
mod meter;
mod race;
mod tries;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use self::admission::Admission;
use self::meter::Meter;
use self::race::{MemberError, Race};
use super::balancer::LoadBalancer;
use super::cluster::Cluster;
use super::member::Member;
use super::retry_budget::RetryBudget;
use super::{DispatcherConfig, affinity};
use crate::deadline;
use crate::domain::{ClientId, EventBatch, IngestOutcome, WorkerId};
use crate::error::{DispatchError, Fault, FaultKind, IngestError};
use crate::port::{FetchAnswer, FetchQuery};

/// A try that was given up on counts as failed when it had at least this part of the timeout. One that had less,
/// because it started late or its caller was in a hurry, shows nothing about its member.
const FAIR_SHARE: u32 = 4;

#[derive(Debug)]
pub(super) struct Forwarder {
    cluster: Arc<Cluster>,
    balancer: Arc<dyn LoadBalancer>,
    retries: RetryBudget,
    admission: Admission,
    timeout: Duration,
    ingests: Meter,
    fetches: Meter,
}

impl Forwarder {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        balancer: Arc<dyn LoadBalancer>,
        config: &DispatcherConfig,
    ) -> Self {
        Self {
            cluster,
            balancer,
            retries: RetryBudget::new(config.max_in_flight),
            admission: Admission::new(config.max_in_flight),
            timeout: config.timeout,
            ingests: Meter::new("ingest"),
            fetches: Meter::new("fetch"),
        }
    }

    /// Returns how many members there are.
    pub(super) fn members(&self) -> usize {
        self.cluster.view().members().len()
    }

    pub(super) async fn ingest(&self, batch: &EventBatch) -> Result<Finished, DispatchError> {
        let started_at = Instant::now();
        let call = |member: Arc<Member>| ingest_through(member, batch).boxed();
        let answer = self.forward(affinity(batch), call).await;
        self.ingests.record(&answer, started_at.elapsed());
        answer
    }

    pub(super) async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, DispatchError> {
        let started_at = Instant::now();
        let call = |member: Arc<Member>| async move { member.node().fetch(query).await }.boxed();
        let answer = self.forward(query.client(), call).await;
        self.fetches.record(&answer, started_at.elapsed());
        answer
    }

    async fn forward<'a, T, E: MemberError>(
        &'a self,
        client: Option<&'a ClientId>,
        call: impl Fn(Arc<Member>) -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, DispatchError> {
        let _admitted = self.admission.admit()?;
        let limit = deadline::remaining().map_or(self.timeout, |left| left.min(self.timeout));
        let mut race = Race::new(self, client, call);
        match deadline::within(limit, race.run()).await {
            Ok(answer) => answer,
            Err(_) => {
                race.time_out();
                Err(DispatchError::Timeout(limit))
            }
        }
    }

    /// The least time in which a batch shows something about who was to finish it.
    pub(super) fn fair_share(&self) -> Duration {
        self.timeout / FAIR_SHARE
    }
}

/// What became of a batch, and who finished it.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) outcomes: Vec<IngestOutcome>,
    pub(super) worker: WorkerId,
}

async fn ingest_through(member: Arc<Member>, batch: &EventBatch) -> Result<Finished, IngestError> {
    let outcomes = member.node().ingest(batch).await?;
    if outcomes.len() == batch.len() {
        Ok(Finished { outcomes, worker: member.id().clone() })
    } else {
        Err(Fault::new("worker", "answer one outcome an event", FaultKind::Corrupt).into())
    }
}

#[cfg(all(test, feature = "mock"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::dispatcher::RoundRobin;
    use crate::dispatcher::outlier::OutlierPolicy;
    use crate::domain::WorkerId;
    use crate::error::FetchError;
    use crate::mock::MockWorkerNode;
    use crate::telemetry::probe::Metrics;
    use crate::telemetry::{
        DISPATCHER_EJECTIONS, DISPATCHER_HEDGES, DISPATCHER_IN_FLIGHT, DISPATCHER_REQUEST_DURATION,
        DISPATCHER_REQUESTS, DISPATCHER_RETRIES,
    };

    type Answer = Result<FetchAnswer, FetchError>;

    fn forwarder(workers: Vec<MockWorkerNode>) -> Forwarder {
        let cluster = Arc::new(Cluster::new(OutlierPolicy::default(), Instant::now()));
        for (number, worker) in workers.into_iter().enumerate() {
            cluster.add(WorkerId::new(format!("w{number}")).unwrap(), Arc::new(worker));
        }
        let config = DispatcherConfig::default().with_max_in_flight(1);
        Forwarder::new(cluster, Arc::new(RoundRobin::default()), &config)
    }

    fn answers(answer: impl Fn() -> Answer + Send + 'static) -> MockWorkerNode {
        let mut worker = MockWorkerNode::new();
        worker.expect_fetch().returning(move |_| answer());
        worker
    }

    fn well() -> MockWorkerNode {
        answers(|| Ok(FetchAnswer::ListInForce(None)))
    }

    fn fails(kind: FaultKind) -> MockWorkerNode {
        answers(move || Err(Fault::new("worker", "answer", kind).into()))
    }

    /// Answers nothing.
    struct Silent;

    #[async_trait::async_trait]
    impl crate::port::WorkerNode for Silent {
        async fn ingest(&self, _: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
            pending().await
        }

        async fn fetch(&self, _: &FetchQuery) -> Answer {
            pending().await
        }
    }

    async fn fetch(forwarder: &Forwarder) -> Result<FetchAnswer, DispatchError> {
        forwarder.fetch(&FetchQuery::ListInForce).await
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_is_counted_by_its_result() {
        let probe = Metrics::default();
        let _recorder = metrics::set_default_local_recorder(&probe);
        let count = |result| probe.get(&format!("{DISPATCHER_REQUESTS}{{kind=fetch,result={result}}}"));
        fetch(&forwarder(vec![well()])).await.unwrap();
        fetch(&forwarder(Vec::new())).await.unwrap_err();
        fetch(&forwarder(vec![fails(FaultKind::Denied)])).await.unwrap_err();
        let silent = forwarder(Vec::new());
        silent.cluster.add(WorkerId::LOCAL, Arc::new(Silent));
        let (timed_out, refused) = tokio::join!(fetch(&silent), fetch(&silent));
        assert!(matches!(timed_out, Err(DispatchError::Timeout(_))));
        assert!(matches!(refused, Err(DispatchError::Overloaded)));
        for result in ["ok", "no_workers", "failed", "timeout", "overloaded"] {
            assert!((count(result) - 1.0).abs() < f64::EPSILON, "{result}: {}", count(result));
        }
        assert!((probe.labelled(DISPATCHER_REQUEST_DURATION, "kind", "fetch") - 5.0).abs() < f64::EPSILON);
        assert!(probe.get(DISPATCHER_IN_FLIGHT).abs() < f64::EPSILON, "nothing is under way");
    }

    #[tokio::test(start_paused = true)]
    async fn extra_tries_and_ejections_are_counted() {
        let probe = Metrics::default();
        let _recorder = metrics::set_default_local_recorder(&probe);
        let failing = forwarder(vec![fails(FaultKind::Throttled), well()]);
        for _ in 0..20 {
            fetch(&failing).await.unwrap();
        }
        assert!((probe.get(DISPATCHER_RETRIES) - 5.0).abs() < f64::EPSILON);
        assert!((probe.get(DISPATCHER_EJECTIONS) - 1.0).abs() < f64::EPSILON);
        assert!(probe.get(DISPATCHER_HEDGES).abs() < f64::EPSILON);
        let slow = forwarder(vec![well()]);
        slow.cluster.add(WorkerId::LOCAL, Arc::new(Silent));
        fetch(&slow).await.unwrap();
        assert!((probe.get(DISPATCHER_HEDGES) - 1.0).abs() < f64::EPSILON);
    }
}
