//! What every [`Membership`] must do, and workers to be members of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::Fixture;
use crate::dispatcher::{
    ClusterConfig, ClusterMembership, Dispatcher, DispatcherConfig, RoundRobin, WorkerState,
};
use crate::domain::{
    Epoch, EventBatch, Incarnation, IngestOutcome, JoinToken, NodeAddress, ProtocolVersion, WorkerId,
};
use crate::error::{Fault, FaultKind, FetchError, IngestError};
use crate::port::{
    Dialled, FetchAnswer, FetchQuery, HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, Membership,
    MembershipLease, WorkerDialer, WorkerNode,
};

/// The token of a [`MembershipStage`]'s cluster.
pub const TOKEN: &str = "open sesame";

/// The lease of a [`MembershipStage`]'s cluster: cases wait for its end in real time.
pub const LEASE: Duration = Duration::from_secs(1);

/// How long a case waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A dispatcher, the way to become a member of its cluster, and workers that it can dial.
#[derive(Debug)]
pub struct MembershipStage {
    /// The dispatcher whose cluster it is.
    pub dispatcher: Dispatcher,
    /// The dispatcher's own side, to serve it, run it or shut it down.
    pub cluster: ClusterMembership,
    /// Who answers when the dispatcher dials.
    pub workers: Arc<DialledWorkers>,
    membership: Option<Reached>,
}

struct Reached(Arc<dyn Membership>);

impl std::fmt::Debug for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reached")
    }
}

impl Default for MembershipStage {
    fn default() -> Self {
        Self::new(ClusterConfig::default().with_lease(LEASE).with_token(JoinToken::new(TOKEN)))
    }
}

impl MembershipStage {
    /// Makes a cluster without members. Call it inside of a tokio runtime.
    #[must_use]
    pub fn new(config: ClusterConfig) -> Self {
        let workers = Arc::new(DialledWorkers::default());
        let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(RoundRobin::default()));
        let cluster = dispatcher.membership(config, Arc::clone(&workers) as _, Epoch(100));
        Self { dispatcher, cluster, workers, membership: None }
    }

    /// Reaches the cluster another way than directly: through the membership under test.
    #[must_use]
    pub fn reached_through(mut self, membership: Arc<dyn Membership>) -> Self {
        self.membership = Some(Reached(membership));
        self
    }

    /// The membership under test.
    #[must_use]
    pub fn membership(&self) -> &dyn Membership {
        match &self.membership {
            Some(Reached(membership)) => &**membership,
            None => &self.cluster,
        }
    }

    /// Starts a run of a worker, and asks to join as it.
    pub async fn join(&self, id: &str, address: &str, incarnation: u64) -> JoinAnswer {
        let request = join_request(id, address, incarnation);
        self.workers.listen(&request);
        self.ask(&request).await
    }

    /// Asks to join, whoever answers at the address.
    pub async fn ask(&self, request: &JoinRequest) -> JoinAnswer {
        self.membership().join(request).await.unwrap()
    }

    /// Starts a run of a worker, and has it join.
    pub async fn joined(&self, id: &str, address: &str, incarnation: u64) -> MembershipLease {
        match self.join(id, address, incarnation).await {
            JoinAnswer::Joined(lease) => lease,
            JoinAnswer::Rejected(rejection) => panic!("{id} may not join: {rejection}"),
        }
    }

    /// Sends a heartbeat.
    pub async fn heartbeat(&self, id: &str, epoch: Epoch) -> HeartbeatAnswer {
        self.membership().heartbeat(&worker_id(id), epoch).await.unwrap()
    }

    /// Leaves.
    pub async fn leave(&self, id: &str, epoch: Epoch) {
        self.membership().leave(&worker_id(id), epoch).await.unwrap();
    }

    /// Returns the members: id, epoch and state.
    #[must_use]
    pub fn members(&self) -> Vec<(String, Epoch, WorkerState)> {
        let workers = self.dispatcher.workers().into_iter();
        workers.filter_map(|worker| Some((worker.id.to_string(), worker.epoch?, worker.state))).collect()
    }

    fn ready(&self) -> Vec<(String, Epoch)> {
        let members = self.members().into_iter();
        members
            .filter(|(_, _, state)| *state == WorkerState::Ready)
            .map(|(id, epoch, _)| (id, epoch))
            .collect()
    }
}

/// Makes a valid request to join a [`MembershipStage`]'s cluster.
#[must_use]
pub fn join_request(id: &str, address: &str, incarnation: u64) -> JoinRequest {
    JoinRequest {
        id: worker_id(id),
        address: NodeAddress::new(address).unwrap(),
        incarnation: Incarnation(incarnation),
        protocol: ProtocolVersion::CURRENT,
        token: JoinToken::new(TOKEN),
    }
}

/// Makes a worker id.
#[must_use]
pub fn worker_id(id: &str) -> WorkerId {
    WorkerId::new(id).unwrap()
}

/// Workers by their address: dials them in memory.
#[derive(Debug, Default)]
pub struct DialledWorkers {
    listening: Mutex<BTreeMap<NodeAddress, Listening>>,
    dials: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    changed: Notify,
}

#[derive(Debug, Clone)]
enum Listening {
    Answers(WorkerId, Incarnation, Arc<CountingWorker>, Duration),
    Hangs,
}

impl DialledWorkers {
    /// Has a worker answer at its address, at once.
    pub fn listen(&self, worker: &JoinRequest) -> Arc<CountingWorker> {
        self.listen_after(worker, Duration::ZERO)
    }

    /// Has a worker answer at its address, after a pause.
    pub fn listen_after(&self, worker: &JoinRequest, pause: Duration) -> Arc<CountingWorker> {
        let node = Arc::new(CountingWorker::default());
        let answers = Listening::Answers(worker.id.clone(), worker.incarnation, Arc::clone(&node), pause);
        self.listening.lock().unwrap().insert(worker.address.clone(), answers);
        node
    }

    /// Has an address take connections and never answer.
    pub fn hang(&self, address: &NodeAddress) {
        self.listening.lock().unwrap().insert(address.clone(), Listening::Hangs);
    }

    /// Has nobody answer at an address.
    pub fn close(&self, address: &NodeAddress) {
        self.listening.lock().unwrap().remove(address);
    }

    /// Returns how many dials were begun.
    #[must_use]
    pub fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    /// Returns how many dials were under way at once, at most.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }

    /// Waits until so many dials were begun.
    pub async fn dialled(&self, dials: usize) {
        loop {
            let changed = self.changed.notified();
            if self.dials() >= dials {
                return;
            }
            changed.await;
        }
    }
}

#[async_trait]
impl WorkerDialer for DialledWorkers {
    async fn dial(&self, address: &NodeAddress) -> Result<Dialled, Fault> {
        let _under_way = UnderWay::start(self);
        let listening = self.listening.lock().unwrap().get(address).cloned();
        match listening {
            Some(Listening::Answers(id, incarnation, node, pause)) => {
                sleep(pause).await;
                Ok(Dialled { id, incarnation, node })
            }
            Some(Listening::Hangs) => std::future::pending().await,
            None => Err(Fault::new("worker", "be dialled", FaultKind::Unavailable)),
        }
    }
}

struct UnderWay<'a>(&'a DialledWorkers);

impl<'a> UnderWay<'a> {
    fn start(workers: &'a DialledWorkers) -> Self {
        workers.dials.fetch_add(1, Ordering::SeqCst);
        let at_once = workers.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        workers.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        workers.changed.notify_waiters();
        Self(workers)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A worker that counts fetches, and holds them while it is told to.
#[derive(Debug)]
pub struct CountingWorker {
    fetches: AtomicUsize,
    open: Semaphore,
}

impl Default for CountingWorker {
    fn default() -> Self {
        Self { fetches: AtomicUsize::new(0), open: Semaphore::new(1) }
    }
}

impl CountingWorker {
    /// Returns how many fetches came.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Holds the fetches that come from now on, until the answer is dropped.
    pub fn hold(&self) -> impl Drop + '_ {
        self.open.try_acquire().unwrap()
    }
}

#[async_trait]
impl WorkerNode for CountingWorker {
    async fn ingest(&self, _: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        Err(Fault::new("worker", "ingest", FaultKind::Internal).into())
    }

    async fn fetch(&self, _: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let _open = self.open.acquire().await.unwrap();
        Ok(FetchAnswer::ListInForce(None))
    }
}

type Subject = Fixture<MembershipStage>;

const ONE: &str = "http://10.0.0.1:9082";
const TWO: &str = "http://10.0.0.2:9082";

async fn eventually(law: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{law}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// MS-1: who answers as it says is a member.
pub async fn ms1_a_worker_that_answers_is_a_member(subject: Subject) {
    let stage = &subject.port;
    let lease = stage.joined("w1", ONE, 1).await;
    assert_eq!(stage.ready(), [("w1".to_owned(), lease.epoch)], "the worker is a member");
    assert_eq!(stage.dispatcher.workers()[0].address, Some(NodeAddress::new(ONE).unwrap()));
    assert_eq!(lease.ttl, LEASE, "the lease is the cluster's");
    assert!(lease.heartbeat_interval * 2 < lease.ttl, "a heartbeat may get lost");
}

/// MS-1: nobody there, another worker, or another run of it.
pub async fn ms1_a_worker_that_is_not_reached_is_none(subject: Subject) {
    let stage = &subject.port;
    let request = join_request("w1", ONE, 1);
    let others = [None, Some(join_request("w2", ONE, 1)), Some(join_request("w1", ONE, 2))];
    for other in others {
        if let Some(other) = &other {
            stage.workers.listen(other);
        }
        let answer = stage.ask(&request).await;
        let refused = matches!(answer, JoinAnswer::Rejected(JoinRejection::NotDialable { .. }));
        assert!(refused, "who answers is not who asks: {answer:?}");
        assert!(stage.dispatcher.workers().is_empty(), "nobody is a member, and no place is kept");
    }
}

/// MS-2: the same run keeps its epoch.
pub async fn ms2_joining_again_keeps_the_membership(subject: Subject) {
    let stage = &subject.port;
    let first = stage.joined("w1", ONE, 1).await;
    let second = stage.joined("w1", ONE, 1).await;
    assert_eq!(first.epoch, second.epoch, "the membership is renewed");
    assert_eq!(stage.heartbeat("w1", first.epoch).await, HeartbeatAnswer::Renewed);
}

/// MS-2: a new run takes the place of the old one at once.
pub async fn ms2_another_run_replaces_the_member(subject: Subject) {
    let stage = &subject.port;
    let first = stage.joined("w1", ONE, 1).await;
    let second = stage.joined("w1", ONE, 2).await;
    assert!(second.epoch > first.epoch, "epochs go upwards");
    assert_eq!(stage.ready(), [("w1".to_owned(), second.epoch)], "there is one member");
}

/// MS-2: an id belongs to one address.
pub async fn ms2_a_live_id_is_refused_at_another_address(subject: Subject) {
    let stage = &subject.port;
    let first = stage.joined("w1", ONE, 1).await;
    let answer = stage.join("w1", TWO, 2).await;
    assert_eq!(answer, JoinAnswer::Rejected(JoinRejection::IdTaken));
    assert_eq!(stage.ready(), [("w1".to_owned(), first.epoch)], "the member is undisturbed");
}

/// MS-3: without heartbeats the membership ends.
pub async fn ms3_a_lease_that_is_not_renewed_ends(subject: Subject) {
    let stage = &subject.port;
    let lease = stage.joined("w1", ONE, 1).await;
    eventually("the member goes with its lease", || stage.members().is_empty()).await;
    assert_eq!(stage.heartbeat("w1", lease.epoch).await, HeartbeatAnswer::Unknown);
}

/// MS-3: with heartbeats it lasts.
pub async fn ms3_heartbeats_keep_a_membership(subject: Subject) {
    let stage = &subject.port;
    let lease = stage.joined("w1", ONE, 1).await;
    let start = Instant::now();
    while start.elapsed() < LEASE * 2 {
        sleep(LEASE / 10).await;
        assert_eq!(stage.heartbeat("w1", lease.epoch).await, HeartbeatAnswer::Renewed);
    }
    assert_eq!(stage.ready(), [("w1".to_owned(), lease.epoch)]);
}

/// MS-4: what comes for an earlier epoch does nothing.
pub async fn ms4_an_earlier_epoch_neither_renews_nor_leaves(subject: Subject) {
    let stage = &subject.port;
    let first = stage.joined("w1", ONE, 1).await;
    let second = stage.joined("w1", ONE, 2).await;
    assert_eq!(stage.heartbeat("w1", first.epoch).await, HeartbeatAnswer::Unknown);
    stage.leave("w1", first.epoch).await;
    assert_eq!(stage.ready(), [("w1".to_owned(), second.epoch)], "the new run is undisturbed");
    assert_eq!(stage.heartbeat("w1", second.epoch).await, HeartbeatAnswer::Renewed);
}

/// MS-5: a member that left gets no more requests, and finishes what it holds.
pub async fn ms5_a_member_that_left_takes_no_requests(subject: Subject) {
    let stage = &subject.port;
    let request = join_request("w1", ONE, 1);
    let (leaving, lease) = (stage.workers.listen(&request), stage.ask(&request).await);
    let JoinAnswer::Joined(lease) = lease else { panic!("the worker may join: {lease:?}") };
    let held = leaving.hold();
    let dispatcher = stage.dispatcher.clone();
    let answer = tokio::spawn(async move { dispatcher.fetch(&FetchQuery::ListInForce).await });
    eventually("the only member gets the request", || leaving.fetches() == 1).await;
    stage.leave("w1", lease.epoch).await;
    assert_eq!(stage.members(), [("w1".to_owned(), lease.epoch, WorkerState::Draining)]);
    let another = timeout(LEASE / 4, stage.dispatcher.fetch(&FetchQuery::ListInForce)).await;
    assert!(!matches!(another, Ok(Ok(_))) && leaving.fetches() == 1, "it takes no new request");
    drop(held);
    assert!(answer.await.unwrap().is_ok(), "it finishes what it holds");
}

/// MS-5: leaving twice is no error.
pub async fn ms5_leaving_twice_is_no_error(subject: Subject) {
    let stage = &subject.port;
    let lease = stage.joined("w1", ONE, 1).await;
    stage.leave("w1", lease.epoch).await;
    stage.leave("w1", lease.epoch).await;
    assert!(stage.ready().is_empty());
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! membership_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args membership:
            ms1_a_worker_that_answers_is_a_member,
            ms1_a_worker_that_is_not_reached_is_none,
            ms2_joining_again_keeps_the_membership,
            ms2_another_run_replaces_the_member,
            ms2_a_live_id_is_refused_at_another_address,
            ms3_a_lease_that_is_not_renewed_ends,
            ms3_heartbeats_keep_a_membership,
            ms4_an_earlier_epoch_neither_renews_nor_leaves,
            ms5_a_member_that_left_takes_no_requests,
            ms5_leaving_twice_is_no_error,
        }
    };
}

/// Emits the [`Membership`] suite for the fixture that a future answers: a
/// [`MembershipStage`](crate::testkit::membership::MembershipStage).
#[macro_export]
macro_rules! membership_conformance {
    ($fixture:expr) => {
        $crate::membership_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
