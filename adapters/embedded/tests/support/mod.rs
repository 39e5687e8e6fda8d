//! What the tests share.

use std::sync::Arc;

use mini_platform_core::Worker;
use mini_platform_core::domain::MatchMode;
use mini_platform_core::port::{AdjacencyStore, EventStore, FraudRegistry, WorkerNode};
use mini_platform_core::testkit::parking_lot::{LIMITS, ParkingLotStage};
use mini_platform_core::testkit::worker_node::FRAUDSTERS;
use mini_platform_core::testkit::{Fixture, ManualClock, at, fraud_list};
use mini_platform_embedded::{Embedded, EmbeddedConfig};
use tempfile::TempDir;

/// An open store in a folder that goes away with it.
pub(crate) fn temporary() -> (Embedded, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Embedded::open(&EmbeddedConfig::new(dir.path())).unwrap(), dir)
}

pub(crate) async fn event_store() -> Fixture<dyn EventStore> {
    let (embedded, dir) = temporary();
    Fixture::with_guard(Arc::new(embedded.event_store()), (embedded, dir))
}

pub(crate) async fn adjacency() -> Fixture<dyn AdjacencyStore> {
    let (embedded, dir) = temporary();
    Fixture::with_guard(Arc::new(embedded.adjacency()), (embedded, dir))
}

pub(crate) async fn registry() -> Fixture<dyn FraudRegistry> {
    let (embedded, dir) = temporary();
    let registry = embedded.registry(MatchMode::default()).unwrap();
    Fixture::with_guard(Arc::new(registry), (embedded, dir))
}

pub(crate) async fn parking_lot() -> Fixture<ParkingLotStage> {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(at(0)));
    let config = EmbeddedConfig::new(dir.path()).with_clock(clock.clone());
    let embedded = Embedded::open(&config).unwrap();
    let lot = embedded.parking_lot(LIMITS).unwrap();
    Fixture::with_guard(Arc::new(ParkingLotStage::new(Arc::new(lot), clock)), (embedded, dir))
}

pub(crate) async fn worker() -> Fixture<dyn WorkerNode> {
    let (embedded, dir) = temporary();
    let registry = embedded.registry(MatchMode::default()).unwrap();
    registry.replace(fraud_list(1, &FRAUDSTERS)).await.unwrap();
    let (events, adjacency) = (Arc::new(embedded.event_store()), Arc::new(embedded.adjacency()));
    Fixture::with_guard(Arc::new(Worker::new(events, adjacency, Arc::new(registry))), (embedded, dir))
}
