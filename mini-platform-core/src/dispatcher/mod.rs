//! The dispatcher: takes requests, balances them over workers, answers what became of them.
//!
//! It knows workers only as [`WorkerNode`]s and holds no store. Each question has its own file: who exists
//! (`cluster`), how workers come and go (`membership`), how loaded one is (`member`), who is suspect (`outlier`),
//! whom to pick (`balancer`), what if it fails (`forward`). Single events are gathered into batches by the
//! `coalescer`.

mod balancer;
mod cluster;
mod coalescer;
mod ewma;
mod forward;
mod fresh_id;
mod member;
mod membership;
mod outlier;
mod retry_budget;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use balancer::{Candidates, LeastInFlight, LoadBalancer, P2cEwma, PickRequest, Rendezvous, RoundRobin};
pub use cluster::{ClusterView, MemberIndex};
pub use fresh_id::fresh_id;
pub use member::{Load, Member, WorkerState};
pub use membership::{ClusterConfig, ClusterMembership, WorkerInfo};
pub use outlier::OutlierPolicy;

use crate::domain::{ClientId, Epoch, Event, EventBatch, IngestOutcome, MAX_BATCH, WorkerId};
use crate::error::DispatchError;
use crate::port::{FetchAnswer, FetchQuery, WorkerDialer, WorkerNode};
use cluster::Cluster;
use coalescer::Coalescer;
use forward::Forwarder;

/// How a dispatcher behaves; start from the default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DispatcherConfig {
    /// How long a request may take, all tries together. Default 1 s.
    pub timeout: Duration,
    /// The most single events that are gathered into one batch, 1 to [`MAX_BATCH`]. Default 512: where the
    /// measured gain of larger batches ends.
    pub max_batch: usize,
    /// How many batches of single events are under way at once for each member. Default 4: one is stored while
    /// others are gathered, screened and answered. For each, so that a member that hangs holds up its own part
    /// at most.
    pub concurrent_batches: usize,
    /// How many single events may wait; more are answered `Overloaded` at once, and so is one that has waited
    /// for longer than the timeout. Default 8192: about a tenth of a second's work of one core.
    pub queue: usize,
    /// How many requests, batches and fetches, may be under way to workers; more are answered `Overloaded` at
    /// once. Default 1024: 1,000 requests a second even if each takes the whole timeout, and what one worker's
    /// server takes at most.
    pub max_in_flight: usize,
    /// When members are ejected that stand out by failing.
    pub outliers: OutlierPolicy,
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            max_batch: 512,
            concurrent_batches: 4,
            queue: 8192,
            max_in_flight: 1024,
            outliers: OutlierPolicy::default(),
        }
    }
}

impl DispatcherConfig {
    /// Sets how long a request may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the most single events in one batch; held to 1 to [`MAX_BATCH`].
    #[must_use]
    pub fn with_max_batch(mut self, events: usize) -> Self {
        self.max_batch = events.clamp(1, MAX_BATCH);
        self
    }

    /// Sets how many single events may wait, at least 1.
    #[must_use]
    pub fn with_queue(mut self, events: usize) -> Self {
        self.queue = events.max(1);
        self
    }

    /// Sets how many batches of single events are under way at once for each member, at least 1.
    #[must_use]
    pub fn with_concurrent_batches(mut self, batches: usize) -> Self {
        self.concurrent_batches = batches.max(1);
        self
    }

    /// Sets how many requests may be under way to workers, at least 1.
    #[must_use]
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests.max(1);
        self
    }
}

/// Balances requests over workers. A clone shares the same state.
///
/// ```
/// # use std::sync::Arc;
/// # use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
/// use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, RoundRobin};
/// use mini_platform_core::domain::WorkerId;
/// # use mini_platform_core::Worker;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let worker = Arc::new(Worker::new(
/// #     Arc::new(MemoryEventStore::default()),
/// #     Arc::new(MemoryAdjacencyStore::default()),
/// #     Arc::new(MemoryFraudRegistry::default()),
/// # ));
/// let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(RoundRobin::default()));
/// dispatcher.add_member(WorkerId::LOCAL, worker);
/// assert_eq!(dispatcher.view().members().len(), 1);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Dispatcher {
    cluster: Arc<Cluster>,
    forwarder: Arc<Forwarder>,
    coalescer: Arc<Coalescer>,
}

impl Dispatcher {
    /// Makes a dispatcher without members. Call it inside of a tokio runtime: it starts the task that gathers
    /// single events, which ends when the last clone is dropped or after [`Dispatcher::shut_down`].
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a configuration is used up by what it configures")]
    pub fn new(config: DispatcherConfig, balancer: Arc<dyn LoadBalancer>) -> Self {
        let cluster = Arc::new(Cluster::new(config.outliers.clone(), Instant::now()));
        let forwarder = Arc::new(Forwarder::new(Arc::clone(&cluster), balancer, &config));
        let coalescer = Arc::new(Coalescer::start(Arc::clone(&forwarder), &config));
        Self { cluster, forwarder, coalescer }
    }

    /// Adds a worker, or replaces the one of the same id.
    pub fn add_member(&self, id: WorkerId, node: Arc<dyn WorkerNode>) {
        self.cluster.add(id, node);
    }

    /// Removes a worker: it takes no new requests and finishes what it holds.
    pub fn remove_member(&self, id: &WorkerId) {
        self.cluster.remove(id);
    }

    /// Lets workers elsewhere join.
    ///
    /// Epochs start at `first_epoch`: give a higher one at every start, such as the time in microseconds.
    #[must_use]
    pub fn membership(
        &self,
        config: ClusterConfig,
        dialer: Arc<dyn WorkerDialer>,
        first_epoch: Epoch,
    ) -> ClusterMembership {
        ClusterMembership::new(Arc::clone(&self.cluster), config, dialer, first_epoch)
    }

    /// Returns the workers of this moment: the members and those that are joining, ordered by id.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.cluster.workers()
    }

    /// Returns the members of this moment.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        self.cluster.view()
    }

    /// Takes in one event, gathered into a batch with whatever else is waiting.
    ///
    /// Answers within twice the timeout: what waited for longer than the timeout is not sent, and what is sent
    /// takes no longer than that. Dropping the future does not take the event back.
    ///
    /// # Errors
    /// Nothing was promised; the same event may be sent again.
    pub async fn ingest_one(&self, event: Event) -> Result<IngestOutcome, DispatchError> {
        self.coalescer.submit(event).await
    }

    /// Takes in a batch. Answers one outcome an event, in order, within the timeout.
    ///
    /// An event is stored once, however many members were tried; but one that a slow member stored while another
    /// was tried may be answered as a duplicate.
    ///
    /// # Errors
    /// Nothing was promised; the whole batch may be sent again.
    pub async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, DispatchError> {
        self.forwarder.ingest(batch).await
    }

    /// Reads through any worker.
    ///
    /// # Errors
    /// No worker could answer within the timeout.
    pub async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, DispatchError> {
        self.forwarder.fetch(query).await
    }

    /// Finishes what was accepted, then refuses single events with `ShuttingDown`.
    ///
    /// Returns when the last accepted event is answered; cancelling it leaves the rest to finish by itself.
    pub async fn shut_down(&self) {
        self.coalescer.shut_down().await;
    }
}

/// Returns the client by whom a batch can be kept on one worker: the first party of the first event. A batch of
/// several clients goes where the first one goes: it is not split, because all its verdicts come from one version
/// of the fraud list.
fn affinity(batch: &EventBatch) -> Option<&ClientId> {
    batch.events().first().and_then(|event| event.parties().next()).map(|(_, client)| client)
}
