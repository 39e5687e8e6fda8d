//! Events in two collections, by id and by client.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use mini_platform_core::domain::{
    AppendOutcome, ClientId, ClientQuery, EventBatch, EventId, EventPosition, EventQuery, Page, StoredEvent,
    Timestamp,
};
use mini_platform_core::error::StoreError;
use mini_platform_core::port::EventStore;
use mongodb::bson::RawDocumentBuf;
use mongodb::{Client, Collection};

use crate::append;
use crate::config::MongoConfig;
use crate::connect::{self, bounded};
use crate::document::{OPERATIONS, Record, TRANSACTIONS};
use crate::error::{ConnectError, Failure};
use crate::{index, timeline};

/// An [`EventStore`] on MongoDB. A clone costs a reference count.
///
/// # Cancellation
/// As the port says; a call that is dropped costs the driver the connection that it was on.
#[derive(Clone)]
pub struct MongoEventStore {
    client: Client,
    collections: Arc<Collections>,
}

/// What the calls work on.
pub(crate) struct Collections {
    pub(crate) transactions: Collection<RawDocumentBuf>,
    pub(crate) operations: Collection<RawDocumentBuf>,
    pub(crate) timeout: Duration,
    pub(crate) ordered_groups: bool,
}

impl Collections {
    pub(crate) fn of(&self, collection: &str) -> &Collection<RawDocumentBuf> {
        if collection == TRANSACTIONS { &self.transactions } else { &self.operations }
    }
}

impl fmt::Debug for MongoEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoEventStore").finish_non_exhaustive()
    }
}

impl MongoEventStore {
    /// Connects, checks server and rights, and makes the indexes that are missing.
    ///
    /// Takes at most the configured timeout a step; indexes of a large store that has none take as long as they
    /// take to build, at most ten minutes.
    ///
    /// # Errors
    /// Says what is wrong with the connection string, the server, the rights or the indexes.
    pub async fn connect(config: &MongoConfig) -> Result<Self, ConnectError> {
        let connection = Box::pin(connect::open(config)).await?;
        let collections = Collections {
            transactions: connection.database.collection(TRANSACTIONS),
            operations: connection.database.collection(OPERATIONS),
            timeout: config.timeout(),
            ordered_groups: connection.ordered_groups,
        };
        Ok(Self { client: connection.client, collections: Arc::new(collections) })
    }

    /// Closes the connections, within the configured timeout. Every later call, of clones too, fails as unavailable.
    ///
    /// Close the store before the runtime ends: otherwise the driver ends its sessions by itself when the last handle is
    /// dropped, and panics when the runtime goes away meanwhile.
    pub async fn close(&self) {
        let shutdown = self.client.clone().shutdown().immediate(true);
        // What is left when the time is over ends with the process.
        let _ = tokio::time::timeout(self.collections.timeout, shutdown.into_future()).await;
    }

    async fn bounded<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, StoreError> {
        let answer = bounded(self.collections.timeout, call).await;
        answer.map_err(|failure| failure.during(operation).into())
    }
}

#[async_trait]
impl EventStore for MongoEventStore {
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let call = Box::pin(append::append(&self.collections, batch, recorded_at));
        self.bounded("append events", call).await
    }

    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.bounded("get an event", get(&self.collections, id)).await
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        self.bounded("query events", page(&self.collections, query)).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.bounded("list clients", clients(&self.collections, query)).await
    }
}

async fn get(collections: &Collections, id: &EventId) -> Result<Option<StoredEvent>, Failure> {
    let by_id =
        |name: &'static str| timeline::get(collections.of(name), name, id.as_str(), collections.timeout);
    let record = match by_id(TRANSACTIONS).await? {
        // The transactions know every id: one that they do not know is no operation either.
        Some(Record::Reserved(_)) => by_id(OPERATIONS).await?,
        other => other,
    };
    Ok(record.and_then(Record::into_event))
}

async fn page(collections: &Collections, query: &EventQuery) -> Result<Page<StoredEvent>, Failure> {
    // One more than fits says that there is another page.
    let wanted = query.size().get() + 1;
    let roles = query.filter().roles();
    let timelines = roles.iter().map(|role| timeline::page(collections, query, *role, wanted));
    let mut events = try_join_all(timelines).await?.concat();
    if roles.len() > 1 {
        events.sort_by_cached_key(|stored| std::cmp::Reverse(EventPosition::of(stored)));
    }
    Ok(Page::cut(events, query.size(), |last| query.token_after(last)))
}

async fn clients(collections: &Collections, query: &ClientQuery) -> Result<Page<ClientId>, Failure> {
    let (after, wanted) = (query.after().unwrap_or_default(), query.size().get() + 1);
    let parties = index::ALL.iter().map(|index| timeline::clients(collections, index, after, wanted));
    let distinct: BTreeSet<ClientId> = try_join_all(parties).await?.into_iter().flatten().collect();
    let items = distinct.into_iter().take(wanted).collect();
    Ok(Page::cut(items, query.size(), |last| query.token_after(last.as_str())))
}
