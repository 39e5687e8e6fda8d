//! How a worker stays a member, whatever becomes of the dispatcher.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::{Epoch, WorkerId};
use mini_platform_core::error::{Fault, FaultKind};
use mini_platform_core::port::{HeartbeatAnswer, JoinAnswer, JoinRequest, Membership, MembershipLease};
use mini_platform_core::testkit::membership::{MembershipStage, join_request};
use mini_platform_core::worker::Attendance;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::support::{LEASE, interval, join, stage, sweep, view, worker};

const A_MOMENT: Duration = Duration::from_millis(1);

/// A dispatcher that can be restarted, be down, hang, or answer late.
#[derive(Default)]
struct Line {
    to: Mutex<To>,
    late_by: Mutex<Duration>,
    joins: AtomicUsize,
    heartbeats: AtomicUsize,
    leaves: AtomicUsize,
}

#[derive(Clone, Default)]
enum To {
    #[default]
    Nobody,
    Hanging,
    Dispatcher(Arc<dyn Membership>),
}

impl Line {
    fn to(stage: &MembershipStage) -> Arc<Self> {
        let line = Arc::new(Self::default());
        line.connect(stage);
        line
    }

    fn connect(&self, stage: &MembershipStage) {
        self.lead(To::Dispatcher(Arc::new(stage.cluster.clone())));
    }

    fn lead(&self, to: To) {
        *self.to.lock().unwrap() = to;
    }

    async fn other_end(&self, calls: &AtomicUsize) -> Result<Arc<dyn Membership>, Fault> {
        calls.fetch_add(1, Ordering::SeqCst);
        let late_by = *self.late_by.lock().unwrap();
        let to = self.to.lock().unwrap().clone();
        sleep(late_by).await;
        match to {
            To::Nobody => Err(Fault::new("dispatcher", "be asked", FaultKind::Unavailable)),
            To::Hanging => std::future::pending().await,
            To::Dispatcher(dispatcher) => Ok(dispatcher),
        }
    }
}

#[async_trait]
impl Membership for Line {
    async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, Fault> {
        self.other_end(&self.joins).await?.join(request).await
    }

    async fn heartbeat(&self, id: &WorkerId, epoch: Epoch) -> Result<HeartbeatAnswer, Fault> {
        self.other_end(&self.heartbeats).await?.heartbeat(id, epoch).await
    }

    async fn leave(&self, id: &WorkerId, epoch: Epoch) -> Result<(), Fault> {
        self.other_end(&self.leaves).await?.leave(id, epoch).await
    }
}

/// A worker that attends in a task of its own.
struct Attending {
    is_member: watch::Receiver<bool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Attending {
    fn start(line: &Arc<Line>, request: &JoinRequest, seed: u64) -> Self {
        let attendance = Attendance::new(Arc::clone(line) as _, request.clone(), seed).with_name("d1");
        let (is_member, stop) = (attendance.is_member(), CancellationToken::new());
        let told = stop.clone();
        Self { is_member, stop, task: tokio::spawn(async move { attendance.run(told).await }) }
    }

    async fn has_joined(&mut self) {
        self.is_member.wait_for(|is_member| *is_member).await.unwrap();
    }

    async fn has_lost_its_membership(&mut self) {
        self.is_member.wait_for(|is_member| !*is_member).await.unwrap();
    }

    /// Tells it to stop, and returns how long it took to end.
    async fn stop(self) -> Duration {
        let start = Instant::now();
        self.stop.cancel();
        self.task.await.unwrap();
        assert!(!*self.is_member.borrow());
        start.elapsed()
    }
}

fn listen(stage: &MembershipStage, workers: &[JoinRequest]) {
    workers.iter().for_each(|worker| drop(stage.workers.listen(worker)));
}

#[tokio::test(start_paused = true)]
async fn a_worker_joins_at_once_and_heartbeats_at_the_interval_that_it_was_given() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    listen(&stage, &[worker(1)]);
    let line = Line::to(&stage);
    let mut attending = Attending::start(&line, &worker(1), 1);
    let start = Instant::now();
    attending.has_joined().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    let members = view(&stage);
    sleep(interval() * 30 + A_MOMENT * 31).await;
    assert_eq!(line.heartbeats.load(Ordering::SeqCst), 30);
    assert_eq!((view(&stage), line.joins.load(Ordering::SeqCst)), (members, 1), "one membership all along");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_leaves() {
    let stage = stage(8);
    listen(&stage, &[worker(1)]);
    let mut attending = Attending::start(&Line::to(&stage), &worker(1), 1);
    attending.has_joined().await;
    assert_eq!(attending.stop().await, Duration::ZERO);
    assert!(view(&stage).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_worker_stops_within_a_second_whatever_the_dispatcher_does() {
    for to in [To::Hanging, To::Nobody] {
        let stage = stage(8);
        listen(&stage, &[worker(1)]);
        let line = Line::to(&stage);
        let mut attending = Attending::start(&line, &worker(1), 1);
        attending.has_joined().await;
        line.lead(to.clone());
        let took = attending.stop().await;
        assert!(took <= Duration::from_secs(1), "as a member: {took:?}");
        let line = Arc::new(Line::default());
        line.lead(to);
        let attending = Attending::start(&line, &worker(1), 1);
        sleep(Duration::from_millis(300)).await;
        let took = attending.stop().await;
        assert!(took <= Duration::from_secs(1), "while it joins: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_while_it_joins_leaves_what_it_is_given() {
    let stage = stage(8);
    listen(&stage, &[worker(1)]);
    let line = Line::to(&stage);
    *line.late_by.lock().unwrap() = Duration::from_millis(300);
    let attending = Attending::start(&line, &worker(1), 1);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(attending.stop().await, Duration::from_millis(500), "200 ms to join, 300 ms to leave");
    assert_eq!(line.leaves.load(Ordering::SeqCst), 1);
    assert!(view(&stage).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_restarts_has_its_pool_back_within_two_heartbeats() {
    for down in [Duration::ZERO, Duration::from_millis(700), LEASE, LEASE * 20] {
        let first = stage(128);
        let workers: Vec<_> = (0..100).map(worker).collect();
        listen(&first, &workers);
        let line = Line::to(&first);
        let mut attending = Vec::new();
        for (seed, worker) in workers.iter().enumerate() {
            attending.push(Attending::start(&line, worker, seed as u64));
            sleep(interval() / 100).await;
        }
        assert_eq!(view(&first).len(), 100);
        line.lead(To::Nobody);
        sleep(down).await;
        let second = stage(128);
        listen(&second, &workers);
        line.connect(&second);
        sleep(interval() * 2).await;
        assert_eq!(view(&second).len(), 100, "after {down:?}");
        for attending in &mut attending {
            attending.has_joined().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_fail_for_less_than_a_lease_cost_nothing() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    listen(&stage, &[worker(1)]);
    for to in [To::Nobody, To::Hanging] {
        let line = Line::to(&stage);
        let mut attending = Attending::start(&line, &worker(1), 1);
        attending.has_joined().await;
        let members = view(&stage);
        sleep(interval() + A_MOMENT).await;
        line.lead(to);
        sleep(interval() + A_MOMENT).await;
        line.connect(&stage);
        sleep(interval()).await;
        let before = line.heartbeats.load(Ordering::SeqCst);
        sleep(LEASE * 2).await;
        let heartbeats = line.heartbeats.load(Ordering::SeqCst) - before;
        assert!((5..=6).contains(&heartbeats), "they come as seldom as before: {heartbeats}");
        assert_eq!(view(&stage), members, "the membership goes on");
        assert_eq!(line.joins.load(Ordering::SeqCst), 1);
        attending.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_heard_for_a_lease_joins_again() {
    for to in [To::Nobody, To::Hanging] {
        let stage = stage(8);
        listen(&stage, &[worker(1)]);
        let line = Line::to(&stage);
        let mut attending = Attending::start(&line, &worker(1), 1);
        attending.has_joined().await;
        let (start, first) = (Instant::now(), view(&stage));
        line.lead(to);
        attending.has_lost_its_membership().await;
        let lost_after = start.elapsed();
        assert!(lost_after >= LEASE && lost_after <= LEASE + interval() * 2, "{lost_after:?}");
        line.connect(&stage);
        attending.has_joined().await;
        assert!(view(&stage)[0].1 > first[0].1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_ends_lets_the_worker_in() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    join(&stage, &worker(1)).await;
    let moved = join_request("w001", worker(2).address.as_str(), 2);
    listen(&stage, std::slice::from_ref(&moved));
    let start = Instant::now();
    let mut attending = Attending::start(&Line::to(&stage), &moved, 1);
    attending.has_joined().await;
    let took = start.elapsed();
    assert!(took >= LEASE && took <= LEASE + Duration::from_secs(1), "the id is free after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_a_second_and_differ_from_worker_to_worker() {
    let mut attempts = Vec::new();
    for seed in 0..20 {
        let line = Arc::new(Line::default());
        let _attending = Attending::start(&line, &worker(1), seed);
        sleep(Duration::from_secs(60)).await;
        attempts.push(line.joins.load(Ordering::SeqCst));
    }
    assert!(attempts.iter().all(|attempts| (90..200).contains(attempts)), "{attempts:?}");
    attempts.sort_unstable();
    attempts.dedup();
    assert!(attempts.len() > 5, "they do not march in step");
}

#[tokio::test(start_paused = true)]
async fn a_worker_belongs_to_each_dispatcher_on_its_own() {
    let (one, two) = (stage(8), stage(8));
    let (_sweeping_one, _stop_one) = sweep(&one);
    let (_sweeping_two, _stop_two) = sweep(&two);
    listen(&one, &[worker(1)]);
    listen(&two, &[worker(1)]);
    let (line_one, line_two) = (Line::to(&one), Line::to(&two));
    let mut attending =
        [Attending::start(&line_one, &worker(1), 1), Attending::start(&line_two, &worker(1), 2)];
    for attending in &mut attending {
        attending.has_joined().await;
    }
    let members = view(&two);
    line_one.lead(To::Hanging);
    sleep(LEASE * 2).await;
    assert!(view(&one).is_empty());
    assert_eq!(view(&two), members);
    line_one.connect(&one);
    sleep(Duration::from_secs(11)).await;
    assert_eq!((view(&one).len(), view(&two)), (1, members));
    for attending in attending {
        attending.stop().await;
    }
    assert!(view(&one).is_empty() && view(&two).is_empty());
}

/// Offers a lease of absurd times.
struct Absurd(MembershipLease, AtomicUsize);

#[async_trait]
impl Membership for Absurd {
    async fn join(&self, _: &JoinRequest) -> Result<JoinAnswer, Fault> {
        Ok(JoinAnswer::Joined(self.0))
    }

    async fn heartbeat(&self, _: &WorkerId, _: Epoch) -> Result<HeartbeatAnswer, Fault> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(HeartbeatAnswer::Renewed)
    }

    async fn leave(&self, _: &WorkerId, _: Epoch) -> Result<(), Fault> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_times_a_dispatcher_offers_heartbeats_neither_storm_nor_cease() {
    for time in [Duration::ZERO, Duration::MAX] {
        let lease = MembershipLease { epoch: Epoch(1), ttl: time, heartbeat_interval: time };
        let dispatcher = Arc::new(Absurd(lease, AtomicUsize::new(0)));
        let attendance = Attendance::new(Arc::clone(&dispatcher) as _, worker(1), 1);
        let running = attendance.run(CancellationToken::new());
        assert!(timeout(Duration::from_secs(120), running).await.is_err());
        let heartbeats = dispatcher.1.load(Ordering::SeqCst);
        assert!((1..=24_000).contains(&heartbeats), "{heartbeats} in two minutes");
    }
}
