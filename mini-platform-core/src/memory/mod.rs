//! Every port that keeps data, in memory: the executable specification, and quick stores for tests and trials.
//!
//! Nothing here is durable: what a contract calls durable lasts as long as the value.

mod adjacency_store;
mod event_store;
mod fraud_registry;
mod fraud_source;
mod long_term_log;
mod outbox;
mod parking_lot;

pub use adjacency_store::MemoryAdjacencyStore;
pub use event_store::MemoryEventStore;
pub use fraud_registry::MemoryFraudRegistry;
pub use fraud_source::MemoryFraudSource;
pub use long_term_log::MemoryLog;
pub use outbox::MemoryOutbox;
pub use parking_lot::MemoryParkingLot;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{ClientId, ClientQuery, Page};

/// Locks state that is only changed by code that does not panic, so a poisoned lock is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns one page of clients, in ascending byte order. Looks at all of them.
fn page_of_clients<'a>(clients: impl Iterator<Item = &'a ClientId>, query: &ClientQuery) -> Page<ClientId> {
    let behind = |client: &&ClientId| query.after().is_none_or(|after| client.as_str() > after);
    let mut items: Vec<ClientId> = clients.filter(behind).cloned().collect();
    items.sort_unstable();
    items.truncate(query.size().get() + 1);
    Page::cut(items, query.size(), |last| query.token_after(last.as_str()))
}
