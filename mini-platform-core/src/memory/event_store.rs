//! Events in memory.

use std::hash::BuildHasher;
use std::sync::Mutex;

use async_trait::async_trait;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use super::{lock, page_of_clients};
use crate::domain::{
    AppendOutcome, ClientId, ClientQuery, Event, EventBatch, EventId, EventPosition, EventQuery, Page,
    PartyRole, StoredEvent, Timestamp,
};
use crate::error::StoreError;
use crate::port::EventStore;

/// An [`EventStore`] in memory.
#[derive(Debug, Default)]
pub struct MemoryEventStore {
    state: Mutex<State>,
}

/// Events lie in one log; the index by id and the timelines of clients hold places in it.
#[derive(Debug, Default)]
struct State {
    log: Vec<StoredEvent>,
    by_id: HashTable<usize>,
    hasher: RandomState,
    timelines: HashMap<ClientId, Timeline, RandomState>,
}

/// The events of one client: oldest first, once they are sorted.
#[derive(Debug, Default)]
struct Timeline {
    entries: Vec<Entry>,
    unsorted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Timestamp,
    role: PartyRole,
    place: usize,
}

impl Timeline {
    fn push(&mut self, entry: Entry) {
        // Events of the same instant are ordered by id, which is looked at when somebody reads.
        self.unsorted |= self.entries.last().is_some_and(|last| entry.at <= last.at);
        self.entries.push(entry);
    }

    fn sort(&mut self, log: &[StoredEvent]) {
        if std::mem::take(&mut self.unsorted) {
            let id = |entry: &Entry| log.get(entry.place).map(|stored| stored.event.id());
            self.entries.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| id(a).cmp(&id(b))));
        }
    }
}

impl State {
    fn find(&self, id: &EventId) -> Option<&StoredEvent> {
        let is_it = |place: &usize| self.log.get(*place).is_some_and(|stored| stored.event.id() == id);
        self.by_id.find(self.hasher.hash_one(id), is_it).and_then(|place| self.log.get(*place))
    }

    fn append(&mut self, event: &Event, recorded_at: Timestamp) -> AppendOutcome {
        match self.find(event.id()) {
            Some(stored) if event.is_resend_of(&stored.event) => AppendOutcome::Duplicate(stored.recording()),
            Some(_) => AppendOutcome::Conflict,
            None => {
                self.store(StoredEvent { event: event.clone(), recorded_at });
                AppendOutcome::Stored
            }
        }
    }

    fn store(&mut self, stored: StoredEvent) {
        let (place, at) = (self.log.len(), stored.event.occurred_at().timestamp());
        for (role, client) in stored.event.parties() {
            self.timelines.entry_ref(client).or_default().push(Entry { at, role, place });
        }
        let Self { log, by_id, hasher, .. } = self;
        let hash = hasher.hash_one(stored.event.id());
        log.push(stored);
        by_id.insert_unique(hash, place, |place| {
            log.get(*place).map_or(0, |stored| hasher.hash_one(stored.event.id()))
        });
    }

    fn query(&mut self, query: &EventQuery) -> Page<StoredEvent> {
        let Self { log, timelines, .. } = self;
        let timeline = timelines.get_mut(query.client());
        let entries = timeline.map_or(&[][..], |timeline| {
            timeline.sort(log);
            &timeline.entries
        });
        let roles = query.filter().roles();
        let items = entries
            .iter()
            .rev()
            .filter(|entry| query.range().contains(entry.at) && roles.contains(&entry.role))
            .filter_map(|entry| log.get(entry.place))
            .filter(|stored| query.after().is_none_or(|after| EventPosition::of(stored) < *after))
            .take(query.size().get() + 1)
            .cloned()
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
        Ok(lock(&self.state).find(id).cloned())
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        Ok(lock(&self.state).query(query))
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        Ok(page_of_clients(lock(&self.state).timelines.keys(), query))
    }
}
