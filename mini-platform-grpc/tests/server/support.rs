//! Servers on free ports, and workers that wait.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::{
    Amount, ClientId, Epoch, Event, EventBatch, EventId, Incarnation, IngestOutcome, NodeAddress, OccurredAt,
    Timestamp, WorkerId,
};
use mini_platform_core::error::{Fault, FetchError, IngestError};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{
    FetchAnswer, FetchQuery, FraudRegistry, HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest,
    Membership, WorkerNode,
};
use mini_platform_core::testkit::{ManualClock, at, fraud_list, transfer};
use mini_platform_core::{Worker, deadline, testkit};
use mini_platform_grpc::{
    ChannelSettings, GrpcServer, Identity, RemoteWorker, ServerActivity, ServerSettings, Services,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than anything takes that happens at once, and much shorter than any time limit it could wait for.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(2);

pub(crate) const FRAUDSTER: &str = "Mallory Mole";

/// A worker that works, always at the same time.
pub(crate) async fn worker() -> Arc<Worker> {
    let registry = Arc::new(MemoryFraudRegistry::default());
    registry.replace(fraud_list(1, &[FRAUDSTER])).await.unwrap();
    let events = Arc::new(MemoryEventStore::default());
    let worker = Worker::new(events, Arc::new(MemoryAdjacencyStore::default()), registry);
    Arc::new(worker.with_clock(Arc::new(ManualClock::new(at(9)))))
}

/// A worker that finishes a batch for each permit that it is given.
pub(crate) struct HeldWorker {
    inner: Arc<Worker>,
    pub(crate) release: Semaphore,
    pub(crate) entered: AtomicUsize,
    pub(crate) left: AtomicUsize,
    pub(crate) remaining: Mutex<Option<Duration>>,
}

impl HeldWorker {
    pub(crate) async fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: worker().await,
            release: Semaphore::new(0),
            entered: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            remaining: Mutex::new(None),
        })
    }

    pub(crate) fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }

    /// Counts the batches that were finished or dropped.
    pub(crate) fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl WorkerNode for HeldWorker {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        *self.remaining.lock().unwrap() = deadline::remaining();
        self.entered.fetch_add(1, Ordering::SeqCst);
        let _leaving = Leaving(&self.left);
        self.release.acquire().await.unwrap().forget();
        self.inner.ingest(batch).await
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.inner.fetch(query).await
    }
}

/// A cluster of which everybody is a member.
pub(crate) struct Welcoming;

#[async_trait]
impl Membership for Welcoming {
    async fn join(&self, _: &JoinRequest) -> Result<JoinAnswer, Fault> {
        Ok(JoinAnswer::Rejected(JoinRejection::ShuttingDown))
    }

    async fn heartbeat(&self, _: &WorkerId, _: Epoch) -> Result<HeartbeatAnswer, Fault> {
        Ok(HeartbeatAnswer::Renewed)
    }

    async fn leave(&self, _: &WorkerId, _: Epoch) -> Result<(), Fault> {
        Ok(())
    }
}

/// The `n`th event, in which everything is as long as it can be.
pub(crate) fn longest_event(n: usize) -> Event {
    let [sender, receiver] = ["a", "b"].map(|name| ClientId::new(name.repeat(256)).unwrap());
    Event::transaction(
        EventId::new(format!("{n:064}")).unwrap(),
        sender,
        receiver,
        Amount::from_minor_units(i64::MAX).unwrap(),
        "EUR".parse().unwrap(),
        OccurredAt::Given(Timestamp::from_micros(-1).unwrap()),
    )
    .unwrap()
}

/// A server that runs, until it is dropped.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) activity: ServerActivity,
    pub(crate) stop: CancellationToken,
    pub(crate) run: JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.run.abort();
    }
}

impl TestServer {
    pub(crate) async fn start(settings: ServerSettings, services: Services) -> Self {
        let server = GrpcServer::bind(settings, services).await.unwrap();
        let (addr, activity, stop) = (server.local_addr(), server.activity(), CancellationToken::new());
        let run = tokio::spawn(server.run(stop.clone()));
        Self { addr, activity, stop, run }
    }

    /// Serves a worker.
    pub(crate) async fn of(node: Arc<dyn WorkerNode>, settings: ServerSettings) -> Self {
        Self::start(settings, Services::new().with_worker(node, identity())).await
    }

    pub(crate) fn address(&self) -> NodeAddress {
        address(self.addr)
    }

    /// Makes a client with a connection of its own.
    pub(crate) fn client(&self) -> RemoteWorker {
        RemoteWorker::new(&self.address(), &ChannelSettings::default())
    }

    /// Waits until nothing goes on any more.
    pub(crate) async fn is_idle(&self) {
        eventually("no request is under way", || self.activity.in_flight() == 0).await;
    }

    /// Waits until nobody is connected any more.
    pub(crate) async fn is_deserted(&self) {
        eventually("nobody is connected", || self.activity.connections() == 0).await;
        self.is_idle().await;
    }

    /// Kills the server: nothing is finished, and nobody is told.
    pub(crate) async fn kill(mut self) {
        self.run.abort();
        let _ = (&mut self.run).await;
        self.is_deserted().await;
    }
}

pub(crate) fn identity() -> Identity {
    Identity { id: WorkerId::new("w-1").unwrap(), incarnation: Incarnation(7) }
}

pub(crate) fn settings() -> ServerSettings {
    ServerSettings::new("127.0.0.1:0".parse().unwrap())
}

pub(crate) fn address(addr: SocketAddr) -> NodeAddress {
    NodeAddress::new(format!("http://{addr}")).unwrap()
}

/// A batch of one event.
pub(crate) fn batch(id: &str) -> EventBatch {
    testkit::batch([transfer(id, "ann", "bob", 1)])
}

/// Polls until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for what must come in time.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}
