//! Events, by id and by client.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use fjall::{Guard, Iter, OwnedWriteBatch, Readable, Snapshot, UserKey, UserValue};
use mini_platform_core::domain::{
    AppendOutcome, ClientId, ClientQuery, Event, EventBatch, EventId, EventQuery, Page, StoredEvent,
    Timestamp,
};
use mini_platform_core::error::StoreError;
use mini_platform_core::port::EventStore;

use crate::clients::{self, KnownClients};
use crate::error::{BadRecord, Failure};
use crate::group::Answer;
use crate::shared::Shared;
use crate::store::Store;
use crate::writer::{Job, Reply};
use crate::{key, record};

/// An [`EventStore`] in the folder of an [`Embedded`](crate::Embedded). A clone costs a reference count.
#[derive(Clone)]
pub struct EmbeddedEventStore {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for EmbeddedEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedEventStore").finish_non_exhaustive()
    }
}

/// A batch with its keys and values, made on the caller's thread so that the writer has less to do.
pub(crate) struct AppendJob {
    batch: EventBatch,
    recorded_at: Timestamp,
    records: Vec<(UserKey, UserValue)>,
    /// The timeline keys with the place of their event in the batch. In key order, in which they are quicker to
    /// insert.
    timeline: Vec<(UserKey, usize)>,
    reply: Reply<Vec<AppendOutcome>>,
}

impl AppendJob {
    pub(crate) fn new(batch: &EventBatch, recorded_at: Timestamp, reply: Reply<Vec<AppendOutcome>>) -> Self {
        let mut records = Vec::with_capacity(batch.len());
        let mut timeline = Vec::with_capacity(2 * batch.len());
        let mut buffer = Vec::new();
        for (index, event) in batch.events().iter().enumerate() {
            record::write_event(event, recorded_at, &mut buffer);
            records.push((UserKey::from(event.id().as_str()), UserValue::from(buffer.as_slice())));
            let at = event.occurred_at().timestamp();
            for (role, client) in event.parties() {
                key::write_timeline(&mut buffer, client.as_str(), role, at, event.id().as_str());
                timeline.push((UserKey::from(buffer.as_slice()), index));
            }
        }
        timeline.sort_unstable();
        Self { batch: batch.clone(), recorded_at, records, timeline, reply }
    }

    pub(crate) fn weight(&self) -> usize {
        self.batch.len()
    }

    pub(crate) fn batch(&self) -> &EventBatch {
        &self.batch
    }

    pub(crate) fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// Returns the events with their keys.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&Event, &UserKey)> {
        self.batch.events().iter().zip(self.records.iter().map(|(key, _)| key))
    }

    /// Adds the events that are to be stored to a batch, and their clients unless they are known to be there.
    pub(crate) fn write(
        self,
        decision: Result<Vec<AppendOutcome>, Failure>,
        store: &Store,
        known: &mut KnownClients,
        batch: &mut OwnedWriteBatch,
    ) -> Answer {
        if let Ok(outcomes) = &decision {
            let is_stored = |index: usize| outcomes.get(index) == Some(&AppendOutcome::Stored);
            for (index, (key, value)) in self.records.into_iter().enumerate() {
                if is_stored(index) {
                    batch.insert(&store.events, key, value);
                }
            }
            let stored = self.batch.events().iter().enumerate().filter(|(index, _)| is_stored(*index));
            for (_, client) in stored.flat_map(|(_, event)| event.parties()) {
                if known.add(client) {
                    batch.insert(&store.clients, client.as_str(), []);
                }
            }
            for (key, _) in self.timeline.into_iter().filter(|(_, index)| is_stored(*index)) {
                batch.insert(&store.timeline, key, []);
            }
        }
        Answer::new(self.reply, decision)
    }
}

#[async_trait]
impl EventStore for EmbeddedEventStore {
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let job = |reply| Job::Append(AppendJob::new(batch, recorded_at, reply));
        Ok(self.shared.write("append events", job).await?)
    }

    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        let id = id.clone();
        let stored = self.shared.read("get an event", move |store| get(&store.snapshot(), store, id)).await?;
        Ok(stored)
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        let query = query.clone();
        Ok(self.shared.read("query events", move |store| page(store, &query)).await?)
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        let asked = query.clone();
        let items = self.shared.read("list clients", move |store| clients::in_order(store, &asked)).await?;
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.as_str())))
    }
}

fn get(snapshot: &Snapshot, store: &Store, id: EventId) -> Result<Option<StoredEvent>, Failure> {
    let bytes = snapshot.get(&store.events, id.as_str())?;
    Ok(bytes.map(|bytes| record::read_event(id, &bytes)).transpose()?)
}

fn page(store: &Store, query: &EventQuery) -> Result<Page<StoredEvent>, Failure> {
    let snapshot = store.snapshot();
    let mut newest = NewestFirst::new(store, &snapshot, query)?;
    // One more than fits says that there is another page.
    let wanted = query.size().get() + 1;
    let mut items = Vec::new();
    while items.len() < wanted {
        let Some(id) = newest.next_event()? else { break };
        let missing = BadRecord { keyspace: "events", reason: "an event of a timeline is missing" };
        items.push(get(&snapshot, store, id)?.ok_or(missing)?);
    }
    Ok(Page::cut(items, query.size(), |last| query.token_after(last)))
}

/// Merges the ranges of a query's roles, newest first. There are at most two.
struct NewestFirst<'a> {
    client: &'a ClientId,
    ranges: Vec<(Iter, UserKey)>,
}

impl<'a> NewestFirst<'a> {
    fn new(store: &Store, snapshot: &Snapshot, query: &'a EventQuery) -> Result<Self, Failure> {
        let mut ranges = Vec::new();
        for role in query.filter().roles() {
            let Some(range) = key::timeline_range(query, *role) else { continue };
            let mut keys = snapshot.range(&store.timeline, range);
            if let Some(newest) = last_key(&mut keys)? {
                ranges.push((keys, newest));
            }
        }
        Ok(Self { client: query.client(), ranges })
    }

    fn next_event(&mut self) -> Result<Option<EventId>, Failure> {
        let client = self.client.as_str();
        let newest = (0..self.ranges.len()).max_by_key(|index| {
            self.ranges.get(*index).and_then(|(_, key)| key::timeline_order(key, client))
        });
        let Some(newest) = newest else { return Ok(None) };
        let Some((keys, key)) = self.ranges.get_mut(newest) else { return Ok(None) };
        let id = event_id(key, client)?;
        match last_key(keys)? {
            Some(older) => *key = older,
            None => drop(self.ranges.swap_remove(newest)),
        }
        Ok(Some(id))
    }
}

fn last_key(keys: &mut Iter) -> Result<Option<UserKey>, Failure> {
    Ok(keys.next_back().map(Guard::key).transpose()?)
}

fn event_id(key: &[u8], client: &str) -> Result<EventId, BadRecord> {
    let text = key::timeline_event(key, client).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let id = text.and_then(|text| EventId::new(text).ok());
    id.ok_or(BadRecord { keyspace: "timeline", reason: "its key holds no event id" })
}
