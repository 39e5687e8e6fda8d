//! The conformance suites, and the comparison with the memory adapter, on a real server.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::sync::Arc;

use mini_platform_core::Worker;
use mini_platform_core::domain::MatchMode;
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryFraudRegistry};
use mini_platform_core::port::{EventStore, FraudRegistry, WorkerNode};
use mini_platform_core::testkit::worker_node::FRAUDSTERS;
use mini_platform_core::testkit::{Fixture, ManualClock, at, fraud_list, model};
use mongodb::bson::{Document, doc};
use support::Scratch;
use tokio::sync::OnceCell;

async fn event_store() -> Option<Fixture<dyn EventStore>> {
    let scratch = Scratch::new()?;
    Some(Fixture::with_guard(Arc::new(scratch.store().await), scratch))
}

async fn worker() -> Option<Fixture<dyn WorkerNode>> {
    let scratch = Scratch::new()?;
    let events = Arc::new(scratch.store().await);
    let registry = MemoryFraudRegistry::new(MatchMode::default(), Arc::new(ManualClock::new(at(0))));
    registry.replace(fraud_list(1, &FRAUDSTERS)).await.unwrap();
    let adjacency = Arc::new(MemoryAdjacencyStore::default());
    Some(Fixture::with_guard(Arc::new(Worker::new(events, adjacency, Arc::new(registry))), scratch))
}

mini_platform_core::event_store_conformance!(event_store());
mini_platform_core::worker_node_conformance!(worker());

#[test]
fn the_event_store_agrees_with_memory() {
    let Some(scratch) = Scratch::new() else { return };
    // Making indexes takes longer than a sequence, so all sequences use one database, emptied in between.
    let (scratch, opened) = (Arc::new(scratch), Arc::new(OnceCell::new()));
    model::event_store_agrees_with_memory(|| {
        let (scratch, opened) = (Arc::clone(&scratch), Arc::clone(&opened));
        async move {
            let open = async || (scratch.store().await, scratch.database().await);
            let (store, database) = opened.get_or_init(open).await;
            for collection in ["transactions", "operations"] {
                database.collection::<Document>(collection).delete_many(doc! {}).await.unwrap();
            }
            let store: Arc<dyn EventStore> = Arc::new(store.clone());
            Fixture::with_guard(store, Arc::clone(&scratch))
        }
    });
}
