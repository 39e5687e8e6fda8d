//! A member, and how loaded it is.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::Cluster;
use super::ewma::{PeakEwma, Tick};
use super::outlier::{Ejection, FailureRecord};
use crate::domain::{Epoch, NodeAddress, WorkerId};
use crate::port::WorkerNode;

/// How slow a failed request counts, at least: an error that comes fast must not look like a good answer.
const FAILURE_COUNTS_AS: Duration = Duration::from_secs(5);

/// What a member counts as that never answered and holds a request: worse than any other, so that it is tried
/// with one request at a time.
const UNKNOWN_COUNTS_AS: f32 = 3600.0;

/// From which ratio of latencies on a member is much slower than another.
const MUCH_SLOWER: f32 = 3.0;

/// How a member takes part in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkerState {
    /// It asked to join and is being dialled back; it gets no requests yet.
    Joining,
    /// It gets requests.
    Ready,
    /// It is passed over for now, because it stood out by failing or could not be reached.
    Ejected,
    /// It left: it finishes what it holds and gets no more.
    Draining,
}

impl WorkerState {
    /// Returns the state as users read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
        }
    }
}

/// A worker as the cluster sees it.
pub struct Member {
    standing: Standing,
    id: WorkerId,
    node: Arc<dyn WorkerNode>,
    /// None: a worker in this process, which needs no lease.
    remote: Option<Remote>,
    finished: AtomicU64,
    failed: AtomicU64,
    failures: FailureRecord,
}

/// What is known of a member elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) address: NodeAddress,
    pub(super) epoch: Epoch,
}

/// All that a pick looks at, in one cache line: among a thousand members, waiting for memory is most of its cost.
/// The load is raised and lowered by [`InFlight`].
#[derive(Debug)]
#[repr(align(64))]
struct Standing {
    joined_at: Instant,
    /// A number from the id, by which clients are spread over members.
    mark: u64,
    in_flight: AtomicUsize,
    latency: PeakEwma,
    ejection: Ejection,
    /// The tick of the last answer, or of the first request after it held none.
    heard_at: AtomicU32,
    draining: AtomicBool,
    /// Whether it could not be reached and was not heard of since.
    out_of_contact: AtomicBool,
}

const _: () = assert!(size_of::<Standing>() == 64, "more than one cache line");

impl Standing {
    fn new(id: &WorkerId, joined_at: Instant) -> Self {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(id.as_str().as_bytes());
        Self {
            joined_at,
            mark: hasher.finish(),
            in_flight: AtomicUsize::new(0),
            latency: PeakEwma::default(),
            ejection: Ejection::default(),
            heard_at: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            out_of_contact: AtomicBool::new(false),
        }
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Member {
    pub(super) fn new(id: WorkerId, node: Arc<dyn WorkerNode>, remote: Option<Remote>, now: Instant) -> Self {
        Self {
            standing: Standing::new(&id, now),
            id,
            node,
            remote,
            finished: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: FailureRecord::default(),
        }
    }

    /// Returns the member's id.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// Returns where the member is dialled; `None` for a worker in this process.
    #[must_use]
    pub fn address(&self) -> Option<&NodeAddress> {
        self.remote.as_ref().map(|remote| &remote.address)
    }

    /// Returns the number of the membership; `None` for a worker in this process.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.remote.as_ref().map(|remote| remote.epoch)
    }

    /// Returns how the member takes part.
    #[must_use]
    pub fn state(&self, now: Instant) -> WorkerState {
        if self.is_draining() {
            WorkerState::Draining
        } else if self.is_ejected(now) {
            WorkerState::Ejected
        } else {
            WorkerState::Ready
        }
    }

    /// Says whether the member left and only finishes what it holds.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.standing.draining.load(Ordering::Relaxed)
    }

    /// Returns how many requests the member holds.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.standing.in_flight.load(Ordering::Relaxed)
    }

    /// Returns how many requests the member answered.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Returns how many requests the member failed, or was given up on.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns what a request may expect of the member: its latency is the peak average, or how long the member
    /// has been silent while it holds requests, whichever is longer.
    #[must_use]
    pub fn load(&self, now: Instant) -> Load {
        let tick = Tick::at(self.age(now));
        let (in_flight, known) = (self.in_flight(), self.standing.latency.seconds(tick));
        let seconds = if in_flight == 0 {
            known
        } else if known == 0.0 {
            UNKNOWN_COUNTS_AS
        } else {
            known.max(tick.seconds_since(Tick::from_bits(self.standing.heard_at.load(Ordering::Relaxed))))
        };
        Load { seconds, in_flight }
    }

    /// Says whether the member is to be passed over for now, because it stood out by failing or was not heard of
    /// since it could not be reached.
    #[must_use]
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.standing.out_of_contact.load(Ordering::Relaxed) || self.stood_out(now)
    }

    /// Says whether the member is ejected because it stood out by failing.
    pub(super) fn stood_out(&self, now: Instant) -> bool {
        self.standing.ejection.lasts(|| self.age(now))
    }

    pub(super) fn drain(&self) {
        self.standing.draining.store(true, Ordering::Relaxed);
    }

    /// Passes the member over until it is heard of. Without a lease nothing is heard of a member, so it stays.
    pub(super) fn lose_contact(&self) {
        if self.remote.is_some() && !self.standing.out_of_contact.swap(true, Ordering::Relaxed) {
            tracing::warn!(worker.id = self.id.as_str(), "a worker cannot be reached and is passed over");
        }
    }

    /// Takes in that the member was heard of.
    pub(super) fn regain_contact(&self) {
        let out_of_contact = &self.standing.out_of_contact;
        // Read first: this is asked for at every answer, and writing takes the line away from other cores.
        if out_of_contact.load(Ordering::Relaxed) && out_of_contact.swap(false, Ordering::Relaxed) {
            tracing::info!(
                worker.id = self.id.as_str(),
                "a worker that could not be reached is heard of again"
            );
        }
    }

    pub(super) fn eject(&self, now: Instant, pause: Duration) {
        self.standing.ejection.start(self.age(now).saturating_add(pause));
    }

    /// Returns a number by which clients are spread over members: the same for the same id, always.
    pub(super) fn mark(&self) -> u64 {
        self.standing.mark
    }

    pub(super) fn failures(&self) -> &FailureRecord {
        &self.failures
    }

    /// Returns for how long it has been a member.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.standing.joined_at)
    }

    pub(super) fn node(&self) -> &dyn WorkerNode {
        &*self.node
    }

    fn start(&self, now: Instant) {
        if self.standing.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            self.hear(now);
        }
    }

    fn finish(&self, now: Instant, latency: Duration, ending: Ending) {
        let (latencies, tick) = (&self.standing.latency, Tick::at(self.age(now)));
        match ending {
            Ending::Succeeded => {
                self.finished.fetch_add(1, Ordering::Relaxed);
                latencies.observe(tick, latency);
                self.hear(now);
            }
            Ending::Failed => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                latencies.observe(tick, latency.max(FAILURE_COUNTS_AS));
                self.hear(now);
            }
            Ending::Abandoned => latencies.observe_at_least(tick, latency),
        }
        self.standing.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn hear(&self, now: Instant) {
        self.standing.heard_at.store(Tick::at(self.age(now)).as_bits(), Ordering::Relaxed);
    }
}

/// What a request may expect of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// The latency to be expected, in seconds; 0 of a member that never had a request.
    pub seconds: f32,
    /// How many requests it holds.
    pub in_flight: usize,
}

impl Load {
    /// Says whether a member with this load is the better choice.
    ///
    /// It is when latency × requests is less. But a member that is several times slower than the other is only
    /// tried, with one request at a time: a short queue does not make its answers come sooner.
    #[must_use]
    pub fn is_better_than(self, other: Self) -> bool {
        // Without branches: which one is better is chance, and a processor that guesses wrong waits.
        !self.is_tried_beside(other) & (other.is_tried_beside(self) | (self.cost() < other.cost()))
    }

    /// Says whether it is much slower than the other, and has the one request that it is tried with.
    fn is_tried_beside(self, other: Self) -> bool {
        (self.seconds > MUCH_SLOWER * other.seconds) & (self.in_flight > 0)
    }

    fn cost(self) -> f32 {
        self.seconds * (self.in_flight as f32 + 1.0)
    }
}

/// How a request at a member ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Succeeded,
    Failed,
    /// Nobody waited for the answer any more. It shows that the request took at least so long, and nothing else.
    Abandoned,
}

/// A request that a member holds. Whatever way it ends, dropping this counts it: as abandoned, unless it was said to
/// have succeeded or failed.
#[derive(Debug)]
pub(super) struct InFlight {
    member: Arc<Member>,
    cluster: Arc<Cluster>,
    started_at: Instant,
    ending: Ending,
}

impl InFlight {
    pub(super) fn start(member: Arc<Member>, cluster: Arc<Cluster>, now: Instant) -> Self {
        member.start(now);
        Self { member, cluster, started_at: now, ending: Ending::Abandoned }
    }

    pub(super) fn member(&self) -> &Member {
        &self.member
    }

    /// Returns for how long the member has held the request.
    pub(super) fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Says that the member answered.
    pub(super) fn succeed(mut self) {
        self.ending = Ending::Succeeded;
    }

    /// Says that the member failed, or took too long.
    pub(super) fn fail(mut self) {
        self.ending = Ending::Failed;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = Instant::now();
        self.member.finish(now, now.saturating_duration_since(self.started_at), self.ending);
        if self.ending != Ending::Abandoned {
            self.cluster.note(&self.member, self.ending == Ending::Succeeded, now);
        }
    }
}

#[cfg(all(test, feature = "mock"))]
mod tests {
    use super::*;
    use crate::dispatcher::outlier::OutlierPolicy;
    use crate::mock::MockWorkerNode;

    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn one_member() -> (Arc<Cluster>, Arc<Member>) {
        let cluster = Arc::new(Cluster::new(OutlierPolicy::default(), Instant::now()));
        cluster.add(WorkerId::new("a").unwrap(), Arc::new(MockWorkerNode::new()));
        let member = cluster.view().members().first().cloned();
        (cluster, member.unwrap())
    }

    fn start((cluster, member): &(Arc<Cluster>, Arc<Member>)) -> InFlight {
        InFlight::start(Arc::clone(member), Arc::clone(cluster), Instant::now())
    }

    fn load((_, member): &(Arc<Cluster>, Arc<Member>)) -> Load {
        member.load(Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_much_slower_member_is_tried_with_one_request_at_a_time() {
        let usual = Load { seconds: 0.1, in_flight: 50 };
        let slow = |in_flight| Load { seconds: 1.0, in_flight };
        assert!(slow(0).is_better_than(usual));
        assert!(!slow(1).is_better_than(usual) && usual.is_better_than(slow(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_way_a_request_ends_it_is_in_flight_no_more() {
        let one = one_member();
        let (kept, failed, dropped) = (start(&one), start(&one), start(&one));
        assert_eq!(one.1.in_flight(), 3);
        drop(dropped);
        assert_eq!((one.1.in_flight(), one.1.finished(), one.1.failed()), (2, 0, 0));
        failed.fail();
        kept.succeed();
        assert_eq!((one.1.in_flight(), one.1.finished(), one.1.failed()), (0, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_waits_for_shows_how_long_it_took_at_least() {
        let one = one_member();
        let after = async |millis| tokio::time::advance(Duration::from_millis(millis)).await;
        let seconds = || load(&one).seconds;
        drop(start(&one));
        assert!(seconds() == 0.0, "of a member that never answered it shows nothing");
        let answered = start(&one);
        after(100).await;
        answered.succeed();
        let quick = start(&one);
        after(10).await;
        drop(quick);
        assert!((seconds() - 0.1).abs() < 0.001, "leaving early is no quick answer: {}", seconds());
        let slow = start(&one);
        after(700).await;
        drop(slow);
        assert!((seconds() - 0.7).abs() < 0.001, "but leaving late shows a slow one: {}", seconds());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_leave_do_not_get_a_member_ejected() {
        let one = one_member();
        (0..100).for_each(|_| drop(start(&one)));
        assert!(!one.1.is_ejected(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn cost_is_latency_times_requests() {
        let one = one_member();
        assert!(load(&one).cost() == 0.0, "a new member is tried first");
        let first = start(&one);
        assert!(load(&one).cost() >= UNKNOWN_COUNTS_AS, "and with one request only");
        tokio::time::advance(Duration::from_millis(100)).await;
        first.succeed();
        let idle = load(&one).cost();
        let _busy = start(&one);
        assert!((load(&one).cost() / idle - 2.0).abs() < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_falls_silent_counts_as_slow_before_it_answers() {
        let one = one_member();
        start(&one).succeed();
        start(&one).succeed();
        let first = start(&one);
        tokio::time::advance(Duration::from_millis(10)).await;
        first.succeed();
        let _stuck = start(&one);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!((load(&one).seconds - 3.0).abs() < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_failure_counts_as_a_slow_answer() {
        let one = one_member();
        start(&one).fail();
        assert!(load(&one).seconds >= FAILURE_COUNTS_AS.as_secs_f32() * 0.99);
    }
}
