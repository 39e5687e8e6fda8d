//! What the dispatcher promises when workers are slow, failing or gone. Time is paused throughout.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, RoundRobin, WorkerId};
use mini_platform_core::domain::{EventBatch, IngestOutcome, Outcome};
use mini_platform_core::error::{DispatchError, FaultKind, FetchError, IngestError};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{EventStore, FetchAnswer, FetchQuery, FraudRegistry, WorkerNode};
use mini_platform_core::testkit::{Fate, Faulty, batch, fraud_list, id, transfer};
use tokio::sync::Semaphore;

async fn worker() -> (Arc<Worker>, Arc<MemoryEventStore>) {
    let registry = Arc::new(MemoryFraudRegistry::default());
    registry.replace(fraud_list(1, &["mallory"])).await.unwrap();
    let events = Arc::new(MemoryEventStore::default());
    (Arc::new(Worker::new(events.clone(), Arc::new(MemoryAdjacencyStore::default()), registry)), events)
}

fn dispatcher(config: DispatcherConfig, members: Vec<Arc<dyn WorkerNode>>) -> Dispatcher {
    let dispatcher = Dispatcher::new(config, Arc::new(RoundRobin::default()));
    for (number, member) in members.into_iter().enumerate() {
        dispatcher.add_member(WorkerId::new(format!("w{number}")), member);
    }
    dispatcher
}

fn faulty(worker: &Arc<Worker>, plan: impl IntoIterator<Item = Fate>) -> Arc<dyn WorkerNode> {
    Arc::new(Faulty::new(Arc::clone(worker), plan))
}

/// Counts batches and holds each until it is let go.
struct Gate {
    inner: Arc<Worker>,
    batches: AtomicUsize,
    permits: Semaphore,
}

impl Gate {
    fn new(inner: Arc<Worker>) -> Arc<Self> {
        Arc::new(Self { inner, batches: AtomicUsize::new(0), permits: Semaphore::new(0) })
    }
}

#[async_trait]
impl WorkerNode for Gate {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.inner.ingest(batch).await
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.inner.fetch(query).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_member_is_covered_by_another() {
    let (worker, events) = worker().await;
    let failing = faulty(&worker, vec![Fate::Fail(FaultKind::Unavailable); 100]);
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![failing, worker]);
    for n in 0..10 {
        let answer = dispatcher.ingest(&batch([transfer(&format!("t{n}"), "ann", "bob", n)])).await.unwrap();
        assert_eq!(answer.first().map(|finished| finished.outcome), Some(Outcome::Stored));
        assert!(events.get(&id(&format!("t{n}"))).await.unwrap().is_some());
    }
    let view = dispatcher.view();
    let failed: u64 = view.members().iter().map(|member| member.failed()).sum();
    assert_eq!(failed, 5, "every second batch met the failing member first");
    assert!(view.members().iter().all(|member| member.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_no_member_can_mend_is_not_retried() {
    let (worker, events) = worker().await;
    let broken = faulty(&worker, [Fate::Fail(FaultKind::Corrupt)]);
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![broken, worker]);
    let failed = dispatcher.ingest(&batch([transfer("t", "ann", "bob", 1)])).await;
    assert!(matches!(failed, Err(DispatchError::Ingest(_))));
    assert!(events.get(&id("t")).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_hangs_costs_the_timeout_and_no_more() {
    let (worker, _) = worker().await;
    let config = DispatcherConfig::default().with_timeout(Duration::from_millis(300));
    let dispatcher = dispatcher(config, vec![faulty(&worker, [Fate::Hang])]);
    let start = tokio::time::Instant::now();
    let failed = dispatcher.ingest(&batch([transfer("t", "ann", "bob", 1)])).await;
    assert!(matches!(failed, Err(DispatchError::Timeout(limit)) if limit == Duration::from_millis(300)));
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    let view = dispatcher.view();
    assert!(
        view.members().iter().all(|member| member.in_flight() == 0),
        "what is given up on is not in flight"
    );
}

#[tokio::test(start_paused = true)]
async fn without_members_nothing_is_accepted() {
    let dispatcher = dispatcher(DispatcherConfig::default(), Vec::new());
    let failed = dispatcher.ingest_one(transfer("t", "ann", "bob", 1)).await;
    assert!(
        matches!(&failed, Err(DispatchError::Batch(cause)) if matches!(**cause, DispatchError::NoWorkers))
    );
    let failed = dispatcher.fetch(&FetchQuery::ListInForce).await;
    assert!(matches!(failed, Err(DispatchError::NoWorkers)));
}

#[tokio::test(start_paused = true)]
async fn single_events_that_wait_together_travel_together() {
    let (worker, _) = worker().await;
    let gate = Gate::new(worker);
    let config = DispatcherConfig::default().with_timeout(Duration::from_secs(60));
    let dispatcher = dispatcher(config, vec![gate.clone()]);
    let answers: Vec<_> = (0..200)
        .map(|n| {
            let dispatcher = dispatcher.clone();
            let event = transfer(&format!("t{n}"), "ann", "bob", n);
            tokio::spawn(async move { dispatcher.ingest_one(event).await.unwrap().outcome })
        })
        .collect();
    gate.permits.add_permits(100);
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Outcome::Stored);
    }
    let batches = gate.batches.load(Ordering::SeqCst);
    assert!(batches <= 5, "200 events that wait together take few batches, took {batches}");
}

#[tokio::test(start_paused = true)]
async fn the_same_id_twice_at_once_is_stored_once() {
    let (worker, _) = worker().await;
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![worker]);
    let answers = futures_util::future::join_all(
        (0..20).map(|_| dispatcher.ingest_one(transfer("same", "ann", "bob", 1))),
    );
    let outcomes: Vec<Outcome> = answers.await.into_iter().map(|answer| answer.unwrap().outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Stored).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count(), 19);
}

#[tokio::test(start_paused = true)]
async fn more_than_the_queue_holds_is_refused_at_once() {
    let (worker, _) = worker().await;
    let gate = Gate::new(worker);
    let config = DispatcherConfig::default().with_queue(10).with_max_batch(1);
    let dispatcher = dispatcher(config, vec![gate.clone()]);
    let answers: Vec<_> = (0..100)
        .map(|n| {
            let dispatcher = dispatcher.clone();
            let event = transfer(&format!("t{n}"), "ann", "bob", n);
            tokio::spawn(async move { dispatcher.ingest_one(event).await })
        })
        .collect();
    tokio::task::yield_now().await;
    gate.permits.add_permits(100);
    let answers = futures_util::future::join_all(answers).await;
    let refused =
        answers.iter().filter(|answer| matches!(answer, Ok(Err(DispatchError::Overloaded)))).count();
    let stored = answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count();
    assert!(refused >= 80, "the queue is bounded: {refused} refused");
    assert_eq!(refused + stored, 100, "what was accepted is answered");
}

#[tokio::test(start_paused = true)]
async fn shutting_down_answers_what_was_accepted_and_refuses_the_rest() {
    let (worker, events) = worker().await;
    let gate = Gate::new(worker);
    let config = DispatcherConfig::default().with_timeout(Duration::from_secs(60));
    let dispatcher = dispatcher(config, vec![gate.clone()]);
    let accepted: Vec<_> = (0..50)
        .map(|n| {
            let dispatcher = dispatcher.clone();
            let event = transfer(&format!("t{n}"), "ann", "bob", n);
            tokio::spawn(async move { dispatcher.ingest_one(event).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let stopping = {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move { dispatcher.shut_down().await })
    };
    tokio::task::yield_now().await;
    gate.permits.add_permits(100);
    stopping.await.unwrap();
    for (n, answer) in accepted.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().unwrap().outcome, Outcome::Stored);
        assert!(events.get(&id(&format!("t{n}"))).await.unwrap().is_some());
    }
    let late = dispatcher.ingest_one(transfer("late", "ann", "bob", 1)).await;
    assert!(matches!(late, Err(DispatchError::ShuttingDown)));
}
