//! Your own event store: implement the port, and let the conformance suite tell whether it keeps the contract.
//!
//! This one counts what it stores and leaves the rest to the store that it wraps. Its conformance tests are at the
//! end: `cargo test -p mini-platform-examples --examples`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use mini_platform_core::domain::{
    AppendOutcome, ClientId, ClientQuery, EventBatch, EventId, EventQuery, Page, StoredEvent, Timestamp,
};
use mini_platform_core::error::StoreError;
use mini_platform_core::memory::MemoryEventStore;
use mini_platform_core::port::EventStore;
use mini_platform_core::testkit::{batch, deposit};

#[derive(Default)]
struct CountingStore {
    inner: MemoryEventStore,
    stored: AtomicU64,
}

#[async_trait]
impl EventStore for CountingStore {
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let outcomes = self.inner.append(batch, recorded_at).await?;
        let stored = outcomes.iter().filter(|outcome| **outcome == AppendOutcome::Stored).count();
        self.stored.fetch_add(stored.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(outcomes)
    }

    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.inner.get(id).await
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        self.inner.query(query).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.inner.clients(query).await
    }
}

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let store = Arc::new(CountingStore::default());
    let events = batch([deposit("d1", "Ann", "North", 0), deposit("d2", "Bob", "North", 0)]);
    store.append(&events, Timestamp::UNIX_EPOCH).await?;
    store.append(&events, Timestamp::UNIX_EPOCH).await?;
    println!("appended 2 events twice, stored {}", store.stored.load(Ordering::Relaxed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Arc, CountingStore, EventStore};
    use mini_platform_core::testkit::Fixture;

    async fn fixture() -> Fixture<dyn EventStore> {
        Fixture::new(Arc::new(CountingStore::default()))
    }

    mini_platform_core::event_store_conformance!(fixture());
}
