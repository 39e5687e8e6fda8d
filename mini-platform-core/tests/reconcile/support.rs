//! Stores with events and links, ways to damage them, and ways to look at them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use mini_platform_core::Worker;
use mini_platform_core::domain::{
    BranchLink, ClientId, ClientQuery, Edge, Event, EventBatch, Interaction, NeighbourQuery, Page, PageSize,
    Side, Timestamp,
};
use mini_platform_core::error::StoreError;
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{AdjacencyStore, EventStore, FraudRegistry, WorkerNode};
use mini_platform_core::reconcile::{
    Difference, DifferenceKind, Mode, Neighbour, ReconcileReport, Reconciler,
};
use mini_platform_core::testkit::{ManualClock, at, batch, branch, client, fraud_list};
use tokio_util::sync::CancellationToken;

/// When the events of these tests were recorded, unless a test says otherwise: long before [`NOW`].
pub(crate) const RECORDED: i64 = 1_000;
pub(crate) const NOW: i64 = 1_000_000;

/// A moment in a call of the adjacency store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeUnlink,
    AfterUnlink,
    BeforeReadingLinks,
    AfterReadingLinks,
}

type Hook = BoxFuture<'static, ()>;

/// An adjacency store that lets others act at a moment, once, and that others run beside at every call.
#[derive(Default)]
pub(crate) struct Hooked {
    pub(crate) inner: MemoryAdjacencyStore,
    hook: Mutex<Option<(Moment, Hook)>>,
    pub(crate) linked: Mutex<Vec<usize>>,
    pub(crate) unlinked: Mutex<Vec<Edge>>,
}

impl Hooked {
    pub(crate) fn at(&self, moment: Moment, hook: impl Future<Output = ()> + Send + 'static) {
        *self.hook.lock().unwrap() = Some((moment, Box::pin(hook)));
    }

    async fn reach(&self, moment: Moment) {
        tokio::task::yield_now().await;
        let hook = self.hook.lock().unwrap().take_if(|(planned, _)| *planned == moment);
        if let Some((_, hook)) = hook {
            hook.await;
        }
    }
}

#[async_trait]
impl AdjacencyStore for Hooked {
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        self.linked.lock().unwrap().push(edges.len());
        self.inner.link(edges).await
    }

    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
        self.reach(Moment::BeforeUnlink).await;
        self.unlinked.lock().unwrap().extend(edges.iter().cloned());
        self.inner.unlink(edges).await?;
        self.reach(Moment::AfterUnlink).await;
        Ok(())
    }

    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
        self.reach(Moment::BeforeReadingLinks).await;
        let page = self.inner.interactions(query).await;
        self.reach(Moment::AfterReadingLinks).await;
        page
    }

    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
        tokio::task::yield_now().await;
        self.inner.branches(query).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.inner.clients(query).await
    }
}

/// The stores of a platform in which a worker took events in.
pub(crate) struct Platform {
    pub(crate) events: Arc<MemoryEventStore>,
    pub(crate) adjacency: Arc<Hooked>,
    pub(crate) worker: Arc<Worker>,
}

impl Platform {
    pub(crate) async fn new() -> Self {
        Self::recording_at(RECORDED).await
    }

    pub(crate) async fn recording_at(seconds: i64) -> Self {
        let (events, adjacency) = (Arc::new(MemoryEventStore::default()), Arc::new(Hooked::default()));
        let registry = Arc::new(MemoryFraudRegistry::default());
        registry.replace(fraud_list(1, &["nobody"])).await.unwrap();
        let worker = Worker::new(Arc::clone(&events) as _, Arc::clone(&adjacency) as _, registry)
            .with_clock(Arc::new(ManualClock::new(at(seconds))));
        Self { events, adjacency, worker: Arc::new(worker) }
    }

    /// Makes a platform in which a worker has taken events in.
    pub(crate) async fn with(events: impl IntoIterator<Item = Event>) -> Self {
        let platform = Self::new().await;
        platform.ingest(events).await;
        platform
    }

    pub(crate) async fn ingest(&self, events: impl IntoIterator<Item = Event>) {
        self.worker.ingest(&batch(events)).await.unwrap();
    }

    /// Returns what ingests an event when it is run.
    pub(crate) fn ingesting(&self, event: Event) -> impl Future<Output = ()> + Send + use<> {
        let worker = Arc::clone(&self.worker);
        async move {
            worker.ingest(&EventBatch::single(event)).await.unwrap();
        }
    }

    /// Stores events as a worker that is killed before it links them.
    pub(crate) async fn append_only(&self, events: impl IntoIterator<Item = Event>, recorded_at: i64) {
        self.events.append(&batch(events), at(recorded_at)).await.unwrap();
    }

    /// Adds links behind the back of the events.
    pub(crate) async fn damage(&self, edges: &[Edge]) {
        self.adjacency.inner.link(edges).await.unwrap();
    }

    /// Removes links behind the back of the events.
    pub(crate) async fn lose(&self, edges: &[Edge]) {
        self.adjacency.inner.unlink(edges).await.unwrap();
    }

    pub(crate) fn reconciler(&self) -> Reconciler {
        Reconciler::new(Arc::clone(&self.events) as _, Arc::clone(&self.adjacency) as _)
            .with_clock(Arc::new(ManualClock::new(at(NOW))))
    }

    /// Runs and returns what was found, in order of client and neighbour.
    pub(crate) async fn run(&self, mode: Mode) -> (ReconcileReport, Vec<Difference>) {
        let mut found = Vec::new();
        let report = self
            .reconciler()
            .run(mode, &CancellationToken::new(), |difference| found.push(difference.clone()))
            .await
            .unwrap();
        found.sort_by_cached_key(|difference| (difference.client.clone(), describe(&difference.neighbour)));
        (report, found)
    }

    /// Repairs, and checks that nothing is left to repair and that the links are those of a rebuild.
    pub(crate) async fn assert_repairable(&self) {
        self.run(Mode::Repair).await;
        self.assert_in_order().await;
    }

    pub(crate) async fn assert_in_order(&self) {
        let (report, left) = self.run(Mode::Report).await;
        let left: Vec<_> = left.iter().map(shown).collect();
        assert!(left.is_empty() && report.is_complete, "differences are left: {left:?}");
        assert_eq!(links(&self.adjacency.inner).await, links(&*self.rebuilt().await).await);
    }

    /// Returns the links that a rebuild from nothing makes.
    pub(crate) async fn rebuilt(&self) -> Arc<MemoryAdjacencyStore> {
        let adjacency = Arc::new(MemoryAdjacencyStore::default());
        Reconciler::new(Arc::clone(&self.events) as _, Arc::clone(&adjacency) as _)
            .run(Mode::Repair, &CancellationToken::new(), |_| ())
            .await
            .unwrap();
        adjacency
    }
}

pub(crate) fn sent(owner: &str, counterparty: &str, seconds: i64) -> Edge {
    interaction(owner, counterparty, Side::Sent, at(seconds))
}

pub(crate) fn received(owner: &str, counterparty: &str, seconds: i64) -> Edge {
    interaction(owner, counterparty, Side::Received, at(seconds))
}

pub(crate) fn interaction(owner: &str, counterparty: &str, side: Side, time: Timestamp) -> Edge {
    Edge::Interaction { client: client(owner), counterparty: client(counterparty), side, at: time }
}

pub(crate) fn used(owner: &str, place: &str, seconds: i64) -> Edge {
    Edge::Branch { client: client(owner), branch: branch(place), at: at(seconds) }
}

fn describe(neighbour: &Neighbour) -> String {
    match neighbour {
        Neighbour::Client { counterparty, side: Side::Sent } => format!("to {counterparty}"),
        Neighbour::Client { counterparty, side: Side::Received } => format!("from {counterparty}"),
        Neighbour::Branch(branch) => format!("at {branch}"),
    }
}

/// Writes a difference as `ann to bob: older 1 < 5`.
pub(crate) fn shown(difference: &Difference) -> String {
    let second = |at: Timestamp| at.as_micros() / 1_000_000;
    let kind = match difference.kind {
        DifferenceKind::Missing { implied } => format!("missing {}", second(implied)),
        DifferenceKind::Older { kept, implied } => format!("older {} < {}", second(kept), second(implied)),
        DifferenceKind::Newer { kept, implied } => format!("newer {} > {}", second(kept), second(implied)),
        DifferenceKind::Surplus { kept } => format!("surplus {}", second(kept)),
    };
    format!("{} {}: {kind}", difference.client, describe(&difference.neighbour))
}

/// Returns all links of all clients as text.
pub(crate) async fn links(store: &dyn AdjacencyStore) -> BTreeMap<String, Vec<String>> {
    let size = PageSize::new(1000).unwrap();
    let mut all = BTreeMap::new();
    for client in store.clients(&ClientQuery::default().with_size(size)).await.unwrap().items {
        let query = NeighbourQuery::new(client.clone()).with_size(size);
        let interactions = store.interactions(&query).await.unwrap();
        let branches = store.branches(&query).await.unwrap();
        assert!(interactions.next.is_none() && branches.next.is_none(), "this looks at one page only");
        let sides = interactions.items.iter().map(|link| {
            let (sent, received) = (link.last_at_on(Side::Sent), link.last_at_on(Side::Received));
            format!("{} {sent:?} {received:?}", link.counterparty)
        });
        let places = branches.items.iter().map(|link| format!("{} {:?}", link.branch, link.last_at));
        all.insert(client.to_string(), sides.chain(places).collect());
    }
    all
}
