//! Events in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;
use foldhash::fast::RandomState;

use super::lock;
use crate::domain::{
    AppendOutcome, ClientId, Event, EventBatch, EventId, EventPosition, EventQuery, Page, PartyRole,
    StoredEvent, Timestamp,
};
use crate::error::StoreError;
use crate::port::EventStore;

/// An [`EventStore`] in memory.
#[derive(Debug, Default)]
pub struct MemoryEventStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: HashMap<EventId, StoredEvent, RandomState>,
    timelines: HashMap<ClientId, Timeline, RandomState>,
}

/// The events of one client, oldest first.
type Timeline = BTreeMap<EventPosition, PartyRole>;

impl State {
    fn append(&mut self, event: &Event, recorded_at: Timestamp) -> AppendOutcome {
        if let Some(stored) = self.events.get(event.id()) {
            return if event.is_resend_of(&stored.event) {
                AppendOutcome::Duplicate { occurred_at: stored.event.occurred_at().timestamp() }
            } else {
                AppendOutcome::Conflict
            };
        }
        let stored = StoredEvent { event: event.clone(), recorded_at };
        for (role, client) in event.parties() {
            self.timelines.entry(client.clone()).or_default().insert(EventPosition::of(&stored), role);
        }
        self.events.insert(event.id().clone(), stored);
        AppendOutcome::Stored
    }

    fn query(&self, query: &EventQuery) -> Page<StoredEvent> {
        let roles = query.filter().roles();
        let newest_first =
            self.timelines.get(query.client()).into_iter().flat_map(|timeline| timeline.iter().rev());
        let items = newest_first
            .filter(|(position, _)| query.after().is_none_or(|after| *position < after))
            .filter(|(position, role)| query.range().contains(position.at) && roles.contains(role))
            .filter_map(|(position, _)| self.events.get(&position.id).cloned())
            .take(query.size().get() + 1)
            .collect();
        Page::cut(items, query.size(), |last| query.token_after(last))
    }
}

#[async_trait]
impl EventStore for MemoryEventStore {
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let mut state = lock(&self.state);
        Ok(batch.events().iter().map(|event| state.append(event, recorded_at)).collect())
    }

    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        Ok(lock(&self.state).events.get(id).cloned())
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        Ok(lock(&self.state).query(query))
    }
}
