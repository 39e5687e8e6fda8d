//! What the worker promises when its ports fail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use mini_platform_core::Worker;
use mini_platform_core::domain::{
    EventFilter, EventQuery, Interaction, NeighbourQuery, Outcome, PartyRole, Screening, StoredEvent,
};
use mini_platform_core::error::{FaultKind, IngestError, RegistryError, Retry};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::mock::{MockAdjacencyStore, MockEventStore, MockFraudRegistry};
use mini_platform_core::port::{AdjacencyStore, EventStore, FraudRegistry, WorkerNode};
use mini_platform_core::testkit::{
    Fate, Faulty, ManualClock, at, batch, client, deposit, fraud_list, id, transfer, withdrawal,
};
use mini_platform_core::worker::ScreenedParties;

struct Stores {
    events: Arc<MemoryEventStore>,
    adjacency: Arc<MemoryAdjacencyStore>,
    registry: Arc<MemoryFraudRegistry>,
}

async fn stores() -> Stores {
    let registry = Arc::new(MemoryFraudRegistry::default());
    registry.replace(fraud_list(1, &["mallory"])).await.unwrap();
    Stores { events: Arc::default(), adjacency: Arc::default(), registry }
}

impl Stores {
    fn worker(&self) -> Worker {
        Worker::new(self.events.clone(), self.adjacency.clone(), self.registry.clone())
    }

    async fn stored(&self, name: &str) -> Vec<StoredEvent> {
        let query = EventQuery::new(client(name), EventFilter::Transactions);
        self.events.query(&query).await.unwrap().items
    }

    async fn interactions(&self, name: &str) -> Vec<Interaction> {
        self.adjacency.interactions(&NeighbourQuery::new(client(name))).await.unwrap().items
    }
}

async fn outcomes(worker: &impl WorkerNode, event: mini_platform_core::Event) -> Vec<Outcome> {
    worker.ingest(&batch([event])).await.unwrap().iter().map(|finished| finished.outcome).collect()
}

#[tokio::test]
async fn nothing_is_stored_when_the_registry_cannot_answer() {
    let stores = stores().await;
    let registry = Faulty::new(stores.registry.clone(), [Fate::Fail(FaultKind::Unavailable)]);
    let worker = Worker::new(stores.events.clone(), stores.adjacency.clone(), Arc::new(registry));
    let failed =
        worker.ingest(&batch([transfer("t", "ann", "bob", 1), deposit("d", "ann", "north", 1)])).await;
    assert!(matches!(failed, Err(IngestError::Screen(_))), "screening fails closed: {failed:?}");
    assert!(stores.stored("ann").await.is_empty());
    assert!(stores.interactions("ann").await.is_empty());
}

#[tokio::test]
async fn a_batch_of_deposits_alone_also_needs_a_fraud_list() {
    let stores = stores().await;
    let worker = Worker::new(
        stores.events.clone(),
        stores.adjacency.clone(),
        Arc::new(MemoryFraudRegistry::default()),
    );
    let failed = worker.ingest(&batch([deposit("d", "ann", "north", 1)])).await;
    assert!(matches!(failed, Err(IngestError::Screen(RegistryError::NoList))));
    assert!(stores.events.get(&id("d")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_resend_repairs_a_crash_between_append_and_link() {
    let stores = stores().await;
    let adjacency = Faulty::new(stores.adjacency.clone(), [Fate::Fail(FaultKind::Unavailable)]);
    let worker = Worker::new(stores.events.clone(), Arc::new(adjacency), stores.registry.clone());
    let failed = worker.ingest(&batch([transfer("t", "ann", "bob", 1)])).await;
    assert_eq!(failed.unwrap_err().retry(), Retry::Backoff, "an unlinked batch is not acknowledged");
    assert!(stores.interactions("ann").await.is_empty());
    assert_eq!(outcomes(&worker, transfer("t", "ann", "bob", 1)).await, [Outcome::Duplicate]);
    assert_eq!(stores.interactions("ann").await.len(), 1);
    assert_eq!(stores.interactions("bob").await.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_of_the_store_ends_as_duplicate_once() {
    let stores = stores().await;
    let events = Faulty::new(stores.events.clone(), [Fate::LoseAnswer(FaultKind::Timeout)]);
    let worker = Worker::new(Arc::new(events), stores.adjacency.clone(), stores.registry.clone());
    assert!(worker.ingest(&batch([transfer("t", "ann", "bob", 1)])).await.is_err());
    assert_eq!(outcomes(&worker, transfer("t", "ann", "bob", 1)).await, [Outcome::Duplicate]);
    assert_eq!(stores.stored("ann").await.len(), 1);
}

#[tokio::test]
async fn a_store_that_answers_too_few_outcomes_is_not_believed() {
    let stores = stores().await;
    let mut events = MockEventStore::new();
    events.expect_append().returning(|_, _| Ok(Vec::new()));
    let worker = Worker::new(Arc::new(events), stores.adjacency.clone(), stores.registry.clone());
    let failed = worker.ingest(&batch([transfer("t", "ann", "bob", 1)])).await;
    assert_eq!(failed.unwrap_err().retry(), Retry::Never);
    assert!(stores.interactions("ann").await.is_empty());
}

#[tokio::test]
async fn a_registry_that_answers_too_few_verdicts_is_not_believed() {
    let stores = stores().await;
    let mut registry = MockFraudRegistry::new();
    registry.expect_screen().returning(|_| {
        let version = mini_platform_core::testkit::list_version(1);
        Ok(Screening { version, verdicts: Vec::new() })
    });
    let worker = Worker::new(stores.events.clone(), stores.adjacency.clone(), Arc::new(registry));
    assert!(worker.ingest(&batch([transfer("t", "ann", "bob", 1)])).await.is_err());
    assert!(stores.stored("ann").await.is_empty(), "nothing unscreened is stored");
}

#[tokio::test]
async fn each_port_is_called_once_a_batch_and_with_nothing_to_store_not_at_all() {
    let stores = stores().await;
    let (mut events, mut adjacency) = (MockEventStore::new(), MockAdjacencyStore::new());
    events
        .expect_append()
        .times(1)
        .returning(|batch, _| Ok(vec![mini_platform_core::domain::AppendOutcome::Stored; batch.len()]));
    adjacency.expect_link().times(1).withf(|edges| edges.len() == 200).returning(|_| Ok(()));
    let worker = Worker::new(Arc::new(events), Arc::new(adjacency), stores.registry.clone());
    let hundred = (0..100).map(|n| transfer(&format!("t{n}"), "ann", "bob", n));
    assert_eq!(worker.ingest(&batch(hundred)).await.unwrap().len(), 100);
    assert_eq!(outcomes(&worker, transfer("f", "ann", "mallory", 1)).await, [Outcome::Fraudulent]);
}

#[tokio::test]
async fn both_parties_are_screened_when_asked_for() {
    let stores = stores().await;
    let worker = stores.worker().with_parties(ScreenedParties::Both);
    let events = [
        transfer("a", "mallory", "ann", 1),
        deposit("b", "mallory", "north", 1),
        withdrawal("c", "ann", "north", 1),
    ];
    let finished = worker.ingest(&batch(events)).await.unwrap();
    let parties: Vec<Option<PartyRole>> = finished
        .iter()
        .map(|finished| match finished.screening {
            mini_platform_core::domain::EventScreening::Hit { party, .. } => Some(party),
            _ => None,
        })
        .collect();
    assert_eq!(parties, [Some(PartyRole::Sender), Some(PartyRole::Depositor), None]);
}

#[tokio::test]
async fn the_time_of_recording_is_the_workers_clock() {
    let stores = stores().await;
    let worker = stores.worker().with_clock(Arc::new(ManualClock::new(at(77))));
    outcomes(&worker, transfer("t", "ann", "bob", 1)).await;
    assert_eq!(stores.events.get(&id("t")).await.unwrap().unwrap().recorded_at, at(77));
}
