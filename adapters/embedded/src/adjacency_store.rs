//! Links between clients and to branches.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use fjall::{Iter, Readable, Snapshot, UserKey};
use mini_platform_core::domain::{
    BranchId, BranchLink, ClientId, ClientQuery, Edge, Interaction, NeighbourQuery, Page, Side, Timestamp,
};
use mini_platform_core::error::StoreError;
use mini_platform_core::port::AdjacencyStore;

use crate::clients;
use crate::error::{BadRecord, Failure};
use crate::key::{self, LinkKind};
use crate::record;
use crate::shared::Shared;
use crate::store::Store;
use crate::writer::{Job, Reply};

/// The most edges that go to the writer at once: those of the largest batch.
const MAX_JOB_EDGES: usize = 2 * mini_platform_core::domain::MAX_BATCH;

/// An [`AdjacencyStore`] in the folder of an [`Embedded`](crate::Embedded). A clone costs a reference count.
#[derive(Clone)]
pub struct EmbeddedAdjacencyStore {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for EmbeddedAdjacencyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedAdjacencyStore").finish_non_exhaustive()
    }
}

/// Links by key, made on the caller's thread.
pub(crate) struct LinkJob {
    /// In key order, in which they are quicker to look up.
    links: Vec<(UserKey, Timestamp)>,
    pub(crate) reply: Reply<()>,
}

impl LinkJob {
    pub(crate) fn new(edges: &[Edge], reply: Reply<()>) -> Self {
        let mut key = Vec::new();
        let link = |edge| {
            let at = write_edge(edge, &mut key);
            (UserKey::from(key.as_slice()), at)
        };
        let mut links: Vec<_> = edges.iter().map(link).collect();
        links.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self { links, reply }
    }

    pub(crate) fn weight(&self) -> usize {
        self.links.len()
    }

    /// Returns the links; a key may come more than once.
    pub(crate) fn links(&self) -> &[(UserKey, Timestamp)] {
        &self.links
    }
}

/// Writes the key of an edge and returns its time.
fn write_edge(edge: &Edge, key: &mut Vec<u8>) -> Timestamp {
    match edge {
        Edge::Interaction { client, counterparty, side, at } => {
            let kind = match side {
                Side::Sent => LinkKind::Sent,
                Side::Received => LinkKind::Received,
            };
            key::write_link(key, client.as_str(), kind, counterparty.as_str());
            *at
        }
        Edge::Branch { client, branch, at } => {
            key::write_link(key, client.as_str(), LinkKind::Branch, branch.as_str());
            *at
        }
    }
}

#[async_trait]
impl AdjacencyStore for EmbeddedAdjacencyStore {
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        for edges in edges.chunks(MAX_JOB_EDGES) {
            self.shared.write("link clients", |reply| Job::Link(LinkJob::new(edges, reply))).await?;
        }
        Ok(())
    }

    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
        for edges in edges.chunks(MAX_JOB_EDGES) {
            self.shared.write("unlink clients", |reply| Job::Unlink(LinkJob::new(edges, reply))).await?;
        }
        Ok(())
    }

    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
        let asked = query.clone();
        let items = self.shared.read("query interactions", move |store| interactions(store, &asked)).await?;
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.counterparty.as_str())))
    }

    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
        let asked = query.clone();
        let items = self.shared.read("query branches", move |store| branches(store, &asked)).await?;
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.branch.as_str())))
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        let asked = query.clone();
        let items = self.shared.read("list clients", move |store| linked(store, &asked)).await?;
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.as_str())))
    }
}

/// The links of one kind, behind a query's position, in ascending order of their neighbours.
struct Links {
    found: Iter,
    client_bytes: usize,
    next: Option<(String, Timestamp)>,
}

impl Links {
    fn new(
        store: &Store,
        snapshot: &Snapshot,
        query: &NeighbourQuery,
        kind: LinkKind,
    ) -> Result<Self, Failure> {
        let found = snapshot.range(&store.links, key::link_range(query, kind));
        let mut links = Self { found, client_bytes: query.client().as_str().len(), next: None };
        links.advance()?;
        Ok(links)
    }

    fn advance(&mut self) -> Result<(), Failure> {
        let Some(link) = self.found.next() else {
            self.next = None;
            return Ok(());
        };
        let (key, value) = link.into_inner()?;
        let name = key::link_neighbour(&key, self.client_bytes).map(<[u8]>::to_vec);
        let name = name.and_then(|name| String::from_utf8(name).ok()).ok_or(INVALID)?;
        self.next = Some((name, record::read_link(&value)?));
        Ok(())
    }

    fn name(&self) -> Option<&str> {
        self.next.as_ref().map(|(name, _)| name.as_str())
    }

    /// Takes the next link when it leads to a neighbour.
    fn take(&mut self, name: &str) -> Result<Option<Timestamp>, Failure> {
        if self.name() != Some(name) {
            return Ok(None);
        }
        let at = self.next.take().map(|(_, at)| at);
        self.advance()?;
        Ok(at)
    }
}

const INVALID: BadRecord = BadRecord { keyspace: "links", reason: "it is no valid link" };

/// Reads one interaction more than fits on the page, to see whether there is another page.
fn interactions(store: &Store, query: &NeighbourQuery) -> Result<Vec<Interaction>, Failure> {
    let snapshot = store.snapshot();
    let mut sent = Links::new(store, &snapshot, query, LinkKind::Sent)?;
    let mut received = Links::new(store, &snapshot, query, LinkKind::Received)?;
    let mut items = Vec::new();
    while items.len() <= query.size().get() {
        let first = sent.name().into_iter().chain(received.name()).min().map(str::to_owned);
        let Some(name) = first else { break };
        let (sent_at, received_at) = (sent.take(&name)?, received.take(&name)?);
        let counterparty = ClientId::new(name).map_err(|_| INVALID)?;
        items.push(Interaction::new(counterparty, sent_at, received_at).ok_or(INVALID)?);
    }
    Ok(items)
}

/// Reads one client more than fits on the page, in the order of the keys.
fn linked(store: &Store, query: &ClientQuery) -> Result<Vec<ClientId>, Failure> {
    let snapshot = store.snapshot();
    let found = clients::by_key(&snapshot, &store.links, query.after());
    found.take(query.size().get() + 1).collect()
}

/// Reads one branch more than fits on the page.
fn branches(store: &Store, query: &NeighbourQuery) -> Result<Vec<BranchLink>, Failure> {
    let mut links = Links::new(store, &store.snapshot(), query, LinkKind::Branch)?;
    let mut items = Vec::new();
    while items.len() <= query.size().get() {
        let Some((name, last_at)) = links.next.take() else { break };
        items.push(BranchLink { branch: BranchId::new(name).map_err(|_| INVALID)?, last_at });
        links.advance()?;
    }
    Ok(items)
}
