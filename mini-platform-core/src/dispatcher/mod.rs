//! The dispatcher: takes requests, balances them over workers, answers what became of them.
//!
//! It knows workers only as [`WorkerNode`]s and holds no store. Each question has its own file: who exists
//! (`cluster`), how workers come and go (`membership`), how loaded one is (`member`), who is suspect (`outlier`),
//! whom to pick (`balancer`), what if it fails (`forward`), what if nobody can finish it (`parking`, `outage`), and how it
//! is tried again (`redrive`). Single events are gathered into batches by the `coalescer`; what becomes of a batch is
//! decided in `intake`.

mod balancer;
mod cluster;
mod coalescer;
mod ewma;
mod forward;
mod fresh_id;
mod intake;
mod member;
mod membership;
mod outage;
mod outlier;
mod parking;
mod redrive;
mod request;
mod retry_budget;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub use balancer::{Candidates, LeastInFlight, LoadBalancer, P2cEwma, PickRequest, Rendezvous, RoundRobin};
pub use cluster::{ClusterView, MemberIndex};
pub use fresh_id::fresh_id;
pub use member::{Load, Member, WorkerState};
pub use membership::{ClusterConfig, ClusterMembership, WorkerInfo};
pub use outlier::OutlierPolicy;
pub use parking::ParkingConfig;
pub use redrive::Redriver;

use crate::deadline;
use crate::domain::{ClientId, Epoch, Event, EventBatch, IngestOutcome, MAX_BATCH, WorkerId};
use crate::error::DispatchError;
use crate::port::{
    Clock, FetchAnswer, FetchQuery, LongTermLog, ParkingLot, SystemClock, WorkerDialer, WorkerNode,
};
use cluster::Cluster;
use coalescer::Coalescer;
use forward::Forwarder;
use intake::Intake;
use outage::Outage;
use parking::Parking;
use request::{Origin, Requests};

/// How a dispatcher behaves; start from the default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DispatcherConfig {
    /// How long a request may take from its arrival on, all tries together. Default 1 s.
    pub timeout: Duration,
    /// The most single events that are gathered into one batch, 1 to [`MAX_BATCH`]. Default 512: where the
    /// measured gain of larger batches ends.
    pub max_batch: usize,
    /// How many batches of single events are under way at once for each member. Default 4: one is stored while
    /// others are gathered, screened and answered. For each, so that a member that hangs holds up its own part
    /// at most.
    pub concurrent_batches: usize,
    /// How many single events may wait; more are answered `Overloaded` at once, and so is one that would wait for longer
    /// than a quarter of the timeout. Default 8192: about a tenth of a second's work of one core.
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
    intake: Arc<Intake>,
    coalescer: Arc<Coalescer>,
    batches: TaskTracker,
    max_batch: usize,
}

/// What became of a request that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested<T> {
    /// A worker finished it.
    Finished(T),
    /// Nobody could finish it now. It is kept durably, and will be tried again.
    Parked,
}

impl<T> Ingested<T> {
    /// Returns what a worker made of it, if one finished it.
    #[must_use]
    pub fn finished(self) -> Option<T> {
        match self {
            Self::Finished(outcome) => Some(outcome),
            Self::Parked => None,
        }
    }
}

/// Puts a dispatcher together. See [`Dispatcher::builder`].
pub struct DispatcherBuilder {
    config: DispatcherConfig,
    balancer: Arc<dyn LoadBalancer>,
    parking: Option<Parking>,
    log: Option<Arc<dyn LongTermLog>>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl std::fmt::Debug for DispatcherBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DispatcherBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl DispatcherBuilder {
    /// Parks what no worker can finish. Without it that is an error, and nothing is promised.
    #[must_use]
    pub fn with_parking(mut self, lot: Arc<dyn ParkingLot>, config: ParkingConfig) -> Self {
        self.parking = Some(Parking { lot, config });
        self
    }

    /// Puts a record of every finished request into a log, before the request is answered.
    #[must_use]
    pub fn with_log(mut self, log: Arc<dyn LongTermLog>) -> Self {
        self.log = Some(log);
        self
    }

    /// Takes the times of receipt and of finishing from another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes what has to be new, such as the ids of parcels, from a seed. Parcels of dispatchers with the same one
    /// get in each other's way: leave it to chance outside of tests.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes a dispatcher without members. Call it inside of a tokio runtime: it starts the task that gathers
    /// single events, which ends when the last clone is dropped or after [`Dispatcher::shut_down`].
    #[must_use]
    pub fn build(self) -> Dispatcher {
        let Self { config, balancer, parking, log, clock, seed } = self;
        let cluster = Arc::new(Cluster::new(config.outliers.clone(), Instant::now()));
        let forwarder = Arc::new(Forwarder::new(Arc::clone(&cluster), balancer, &config));
        let origin = Origin::new(clock, seed.unwrap_or_else(|| fastrand::u64(..)));
        let (outage, timeout) = (Outage::new(config.timeout), config.timeout);
        let intake = Arc::new(Intake { forwarder, log, parking, outage, origin, timeout });
        let coalescer = Arc::new(Coalescer::start(Arc::clone(&intake), &config));
        Dispatcher { cluster, intake, coalescer, batches: TaskTracker::new(), max_batch: config.max_batch }
    }
}

impl Dispatcher {
    /// Makes a dispatcher without members that neither parks nor logs; see [`DispatcherBuilder::build`].
    #[must_use]
    pub fn new(config: DispatcherConfig, balancer: Arc<dyn LoadBalancer>) -> Self {
        Self::builder(config, balancer).build()
    }

    /// Starts to put a dispatcher together.
    #[must_use]
    pub fn builder(config: DispatcherConfig, balancer: Arc<dyn LoadBalancer>) -> DispatcherBuilder {
        let clock = Arc::new(SystemClock);
        DispatcherBuilder { config, balancer, parking: None, log: None, clock, seed: None }
    }

    /// Returns what tries parked events again, if this dispatcher parks. Somebody has to run it.
    #[must_use]
    pub fn redriver(&self) -> Option<Redriver> {
        let parking = self.intake.parking.clone()?;
        Some(Redriver::new(Arc::clone(&self.intake), parking, self.max_batch))
    }

    /// Returns where events are parked, if they are.
    #[must_use]
    pub fn parking_lot(&self) -> Option<&Arc<dyn ParkingLot>> {
        self.intake.parking.as_ref().map(|parking| &parking.lot)
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
    /// Answers within the timeout, and those of logging and parking. Dropping the future does not take the event back.
    ///
    /// # Errors
    /// Nothing was promised; the same event may be sent again.
    pub async fn ingest_one(&self, event: Event) -> Result<Ingested<IngestOutcome>, DispatchError> {
        self.coalescer.submit(event).await
    }

    /// Takes in a batch. Answers one outcome an event, in order, or that all of them are parked, within the timeout and
    /// those of logging and parking.
    ///
    /// An event is stored once, however many members were tried; but one that a slow member stored while another
    /// was tried may be answered as a duplicate. Dropping the future does not take the batch back: what is stored is
    /// also logged.
    ///
    /// # Errors
    /// Nothing was promised; the whole batch may be sent again.
    pub async fn ingest(&self, batch: &EventBatch) -> Result<Ingested<Vec<IngestOutcome>>, DispatchError> {
        let requests = Requests::One(self.intake.origin.request());
        let (intake, batch) = (Arc::clone(&self.intake), batch.clone());
        let work = deadline::carry(async move { intake.take_in(&batch, &requests).await });
        // It fails when the work panicked, or the runtime ends.
        self.batches.spawn(work).await.map_err(|_| DispatchError::BrokeDown)?
    }

    /// Reads through any worker.
    ///
    /// # Errors
    /// No worker could answer within the timeout.
    pub async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, DispatchError> {
        self.intake.forwarder.fetch(query).await
    }

    /// Finishes what was accepted, then refuses single events with `ShuttingDown`.
    ///
    /// Returns when the last accepted event is answered; cancelling it leaves the rest to finish by itself.
    pub async fn shut_down(&self) {
        self.coalescer.shut_down().await;
        self.batches.close();
        self.batches.wait().await;
    }
}

/// Returns the client by whom a batch can be kept on one worker: the first party of the first event. A batch of
/// several clients goes where the first one goes: it is not split, because all its verdicts come from one version
/// of the fraud list.
fn affinity(batch: &EventBatch) -> Option<&ClientId> {
    batch.events().first().map(Event::client)
}
