//! Dispatchers for the tests of this module.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::dispatcher::{DispatcherConfig, RoundRobin};
use mini_platform_core::domain::{EventBatch, IngestOutcome, Timestamp, WorkerId};
use mini_platform_core::error::{FetchError, IngestError};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{FetchAnswer, FetchQuery, FraudRegistry, WorkerNode};
use mini_platform_core::testkit::{ManualClock, fraud_list};
use mini_platform_core::{Dispatcher, Worker};

use super::IngestRules;
use super::intake::Intake;

/// A worker that takes its time.
pub(super) struct Slow {
    inner: Worker,
    time: Duration,
}

impl Slow {
    pub(super) async fn new(time: Duration) -> Arc<Self> {
        let registry = Arc::new(MemoryFraudRegistry::default());
        registry.replace(fraud_list(1, &["Mallory"])).await.unwrap();
        let events = Arc::new(MemoryEventStore::default());
        let inner = Worker::new(events, Arc::new(MemoryAdjacencyStore::default()), registry);
        Arc::new(Self { inner, time })
    }
}

#[async_trait]
impl WorkerNode for Slow {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        tokio::time::sleep(self.time).await;
        self.inner.ingest(batch).await
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.inner.fetch(query).await
    }
}

pub(super) fn intake(nodes: impl IntoIterator<Item = (WorkerId, Arc<dyn WorkerNode>)>) -> Intake {
    let config = DispatcherConfig::default().with_timeout(Duration::from_secs(10));
    let dispatcher = Dispatcher::new(config, Arc::new(RoundRobin::default()));
    for (id, node) in nodes {
        dispatcher.add_member(id, node);
    }
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    Intake::new(dispatcher, IngestRules { default_currency: "CZK".parse().unwrap(), clock })
}
