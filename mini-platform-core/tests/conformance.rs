//! The memory adapters pass every suite: they are its executable specification.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use mini_platform_core::Worker;
use mini_platform_core::domain::{ListVersion, LogRecord};
use mini_platform_core::error::{LogError, SourceError};
use mini_platform_core::memory::{
    MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry, MemoryFraudSource, MemoryLog, MemoryOutbox,
    MemoryParkingLot,
};
use mini_platform_core::port::{
    AdjacencyStore, EventStore, Fetched, FraudRegistry, FraudSource, Outbox, OutboxPage, OutboxPosition,
    OutboxStatus, WorkerNode,
};
use mini_platform_core::testkit::fraud_source::PublishedSource;
use mini_platform_core::testkit::long_term_log::LogStage;
use mini_platform_core::testkit::membership::MembershipStage;
use mini_platform_core::testkit::outbox::{MAX_BYTES, RestartedOutbox};
use mini_platform_core::testkit::parking_lot::{LIMITS, ParkingLotStage};
use mini_platform_core::testkit::{
    Fixture, ManualClock, at, fraud_list, list_version, model, worker_node::FRAUDSTERS,
};

async fn events() -> Fixture<dyn EventStore> {
    Fixture::new(Arc::new(MemoryEventStore::default()))
}

async fn adjacency() -> Fixture<dyn AdjacencyStore> {
    Fixture::new(Arc::new(MemoryAdjacencyStore::default()))
}

async fn registry() -> Fixture<dyn FraudRegistry> {
    Fixture::new(Arc::new(MemoryFraudRegistry::default()))
}

async fn worker() -> Fixture<dyn WorkerNode> {
    let registry = Arc::new(MemoryFraudRegistry::default());
    registry.replace(fraud_list(1, &FRAUDSTERS)).await.unwrap();
    let events = Arc::new(MemoryEventStore::default());
    Fixture::new(Arc::new(Worker::new(events, Arc::new(MemoryAdjacencyStore::default()), registry)))
}

#[derive(Default)]
struct Source {
    inner: MemoryFraudSource,
    published: AtomicI64,
}

#[async_trait]
impl FraudSource for Source {
    fn place(&self) -> String {
        self.inner.place()
    }

    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
        self.inner.fetch_if_changed(since).await
    }
}

#[async_trait]
impl PublishedSource for Source {
    async fn publish(&self, content: &[u8]) {
        let time = self.published.fetch_add(1, Ordering::Relaxed);
        self.inner.publish(list_version(time), content.to_vec());
    }
}

async fn source() -> Fixture<dyn PublishedSource> {
    Fixture::new(Arc::new(Source::default()))
}

async fn membership() -> Fixture<MembershipStage> {
    Fixture::new(Arc::new(MembershipStage::default()))
}

async fn parking_lot() -> Fixture<ParkingLotStage> {
    let clock = Arc::new(ManualClock::new(at(0)));
    let lot = MemoryParkingLot::new(LIMITS, Arc::clone(&clock) as _);
    Fixture::new(Arc::new(ParkingLotStage::new(Arc::new(lot), clock)))
}

async fn log() -> Fixture<LogStage> {
    Fixture::new(Arc::new(LogStage::of(Arc::new(MemoryLog::default()))))
}

/// Lasts as long as its value, so it is the same after a restart.
struct Lasting(MemoryOutbox);

#[async_trait]
impl Outbox for Lasting {
    async fn append(&self, records: &[LogRecord]) -> Result<(), LogError> {
        self.0.append(records).await
    }

    async fn read(&self, max: usize) -> Result<OutboxPage, LogError> {
        self.0.read(max).await
    }

    async fn forget(&self, before: OutboxPosition) -> Result<(), LogError> {
        self.0.forget(before).await
    }

    fn status(&self) -> OutboxStatus {
        self.0.status()
    }

    async fn wait(&self) {
        self.0.wait().await;
    }
}

#[async_trait]
impl RestartedOutbox for Lasting {
    async fn restart(&self) {}
}

async fn outbox() -> Fixture<dyn RestartedOutbox> {
    Fixture::new(Arc::new(Lasting(MemoryOutbox::new(MAX_BYTES))))
}

mini_platform_core::event_store_conformance!(events());
mini_platform_core::adjacency_store_conformance!(adjacency());
mini_platform_core::fraud_registry_conformance!(registry());
mini_platform_core::fraud_source_conformance!(source());
mini_platform_core::worker_node_conformance!(worker());
mini_platform_core::membership_conformance!(membership());
mini_platform_core::parking_lot_conformance!(parking_lot());
mini_platform_core::long_term_log_conformance!(log());
mini_platform_core::outbox_conformance!(outbox());

#[test]
fn the_models_agree_with_themselves() {
    model::event_store_agrees_with_memory(events);
    model::adjacency_store_agrees_with_memory(adjacency);
    model::fraud_registry_agrees_with_memory(registry);
    model::parking_lot_agrees_with_memory(parking_lot);
}
