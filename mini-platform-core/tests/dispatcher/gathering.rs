//! Single events are gathered into batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, Ingested};
use mini_platform_core::domain::{EventBatch, IngestOutcome, Outcome};
use mini_platform_core::error::{DispatchError, FetchError, IngestError};
use mini_platform_core::port::{EventStore, FetchAnswer, FetchQuery, WorkerNode};
use mini_platform_core::testkit::{id, transfer};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::support::{Act, Scripted, dispatcher, millis, worker};

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

fn outcome(answer: Result<Ingested<IngestOutcome>, DispatchError>) -> Outcome {
    answer.unwrap().finished().unwrap().outcome
}

/// Sends so many single events at once, each from a task of its own.
fn send_singly(
    dispatcher: &Dispatcher,
    count: i64,
) -> Vec<JoinHandle<Result<Ingested<IngestOutcome>, DispatchError>>> {
    let send = |n| {
        let dispatcher = dispatcher.clone();
        let event = transfer(&format!("t{n}"), "ann", "bob", n);
        tokio::spawn(async move { dispatcher.ingest_one(event).await })
    };
    (0..count).map(send).collect()
}

#[tokio::test(start_paused = true)]
async fn single_events_that_wait_together_travel_together() {
    let (worker, _) = worker().await;
    let gate = Gate::new(worker);
    let config = DispatcherConfig::default().with_timeout(Duration::from_secs(60));
    let dispatcher = dispatcher(config, vec![gate.clone()]);
    let answers = send_singly(&dispatcher, 200);
    gate.permits.add_permits(100);
    for answer in answers {
        assert_eq!(outcome(answer.await.unwrap()), Outcome::Stored);
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
    let outcomes: Vec<Outcome> = answers.await.into_iter().map(outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Stored).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count(), 19);
}

#[tokio::test(start_paused = true)]
async fn repeats_of_one_id_leave_room_for_others() {
    let (worker, _) = worker().await;
    let gate = Gate::new(worker);
    let config = DispatcherConfig::default().with_timeout(Duration::from_secs(60)).with_max_batch(16);
    let dispatcher = dispatcher(config, vec![gate.clone()]);
    let repeats: Vec<_> = (0..100)
        .map(|_| {
            let dispatcher = dispatcher.clone();
            tokio::spawn(async move { dispatcher.ingest_one(transfer("same", "ann", "bob", 1)).await })
        })
        .collect();
    let others = send_singly(&dispatcher, 12);
    gate.permits.add_permits(100);
    for answer in others {
        assert_eq!(outcome(answer.await.unwrap()), Outcome::Stored);
    }
    let batches = gate.batches.load(Ordering::SeqCst);
    assert!(batches <= 6, "12 events take few batches, took {batches}");
    for answer in futures_util::future::join_all(repeats).await {
        let answer = answer.unwrap();
        assert!(matches!(answer, Ok(Ingested::Finished(_)) | Err(DispatchError::Overloaded)), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_the_queue_holds_is_refused_at_once() {
    let (worker, _) = worker().await;
    let gate = Gate::new(worker);
    let config = DispatcherConfig::default().with_queue(10).with_max_batch(1);
    let dispatcher = dispatcher(config, vec![gate.clone()]);
    let answers = send_singly(&dispatcher, 100);
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
    let accepted = send_singly(&dispatcher, 50);
    tokio::task::yield_now().await;
    let stopping = {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move { dispatcher.shut_down().await })
    };
    tokio::task::yield_now().await;
    gate.permits.add_permits(100);
    stopping.await.unwrap();
    for (n, answer) in accepted.into_iter().enumerate() {
        assert_eq!(outcome(answer.await.unwrap()), Outcome::Stored);
        assert!(events.get(&id(&format!("t{n}"))).await.unwrap().is_some());
    }
    let late = dispatcher.ingest_one(transfer("late", "ann", "bob", 1)).await;
    assert!(matches!(late, Err(DispatchError::ShuttingDown)));
}

#[tokio::test(start_paused = true)]
async fn every_member_adds_room_for_batches() {
    let (worker, _) = worker().await;
    for members in 1..4 {
        let busy = Scripted::new(&worker, Act::Answer(millis(100)));
        let config = DispatcherConfig::default().with_max_batch(1).with_concurrent_batches(2);
        let dispatcher = dispatcher(config, (0..members).map(|_| busy.clone() as _).collect());
        let answers = (0..50).map(|n| dispatcher.ingest_one(transfer(&format!("t{n}"), "ann", "bob", n)));
        futures_util::future::join_all(answers).await;
        assert_eq!(busy.most_under_way(), 2 * members);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_panics_takes_no_room_with_it() {
    struct Panics(AtomicUsize, Arc<Worker>);
    #[async_trait]
    impl WorkerNode for Panics {
        async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
            assert!(self.0.fetch_add(1, Ordering::SeqCst) >= 20, "as planned");
            self.1.ingest(batch).await
        }
        async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
            self.1.fetch(query).await
        }
    }
    let (worker, _) = worker().await;
    let dispatcher =
        dispatcher(DispatcherConfig::default(), vec![Arc::new(Panics(AtomicUsize::new(0), worker))]);
    for n in 0..20 {
        assert!(dispatcher.ingest_one(transfer(&format!("t{n}"), "ann", "bob", n)).await.is_err());
    }
    assert!(dispatcher.ingest_one(transfer("t", "ann", "bob", 1)).await.is_ok());
}
