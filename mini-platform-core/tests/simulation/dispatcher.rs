//! Dispatchers as processes: the dispatcher, its redriver, its outbox and relay, its cluster.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mini_platform_core::dispatcher::{
    ClusterConfig, Dispatcher, Ingested, LeastInFlight, LoadBalancer, P2cEwma, Rendezvous, RoundRobin,
};
use mini_platform_core::domain::{Epoch, Event, EventBatch, IngestOutcome, OccurredAt, TraceContext};
use mini_platform_core::error::{Causes, DispatchError, Fault, FaultKind};
use mini_platform_core::outbox::{OutboxLog, OutboxRelay};
use mini_platform_core::port::{Clock, Membership};
use mini_platform_core::trace;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::disk::DiskLine;
use super::ledger::Answer;
use super::life::{Host, Life};
use super::log::LogLine;
use super::lot::LotLine;
use super::network::Dialer;
use super::plan::{MEMBERSHIP, RELAY_TIMEOUT};
use super::wire::Wire;
use super::world::World;

/// What timers may be late by: they count milliseconds, and a call or two of them may follow one another.
const LATENESS: Duration = Duration::from_millis(20);

#[derive(Clone)]
pub(crate) struct RunningDispatcher {
    pub(crate) life: Arc<Life>,
    dispatcher: Dispatcher,
    pub(crate) cluster: Arc<dyn Membership>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

fn balancer(policy: u64, seed: u64) -> Arc<dyn LoadBalancer> {
    match policy {
        0 => Arc::new(RoundRobin::default()),
        1 => Arc::new(LeastInFlight::default()),
        2 => Arc::new(Rendezvous::default()),
        _ => Arc::new(P2cEwma::new(seed)),
    }
}

/// Starts a dispatcher, unless it runs.
pub(crate) fn start(world: &Arc<World>, number: usize) {
    let machine = &world.dispatchers[number];
    let mut running = machine.running.lock().unwrap();
    if running.is_some() || machine.is_stopping.load(Ordering::Relaxed) {
        return;
    }
    let life = Arc::new(Life::start(Host::Dispatcher(number), machine.next_run()));
    world.note(format_args!("{life} starts"));
    let wire = Wire { world: Arc::clone(world), life: Arc::clone(&life) };
    let outbox = Arc::new(DiskLine { wire: wire.clone(), disk: Arc::clone(&world.disks[number]) });
    let policy = balancer(world.plan.balancer, world.chance.seed());
    let dispatcher = Dispatcher::builder(world.plan.dispatching.clone(), policy)
        .with_parking(Arc::new(LotLine(wire.clone())), world.plan.parking.clone())
        .with_log(Arc::new(OutboxLog::new(outbox.clone())))
        .with_clock(machine.clock.clone())
        .with_seed(world.chance.seed())
        .build();
    let config = ClusterConfig::default().with_lease(MEMBERSHIP).with_dial_timeout(MEMBERSHIP);
    let epoch = Epoch(u64::try_from(machine.clock.now().as_micros()).unwrap());
    let cluster = dispatcher.membership(config, Arc::new(Dialer(wire.clone())), epoch);
    let relay = OutboxRelay::new(outbox, Arc::new(LogLine::new(wire)), world.chance.seed())
        .with_timeout(RELAY_TIMEOUT)
        .with_clock(machine.clock.clone());
    let redriver = dispatcher.redriver().unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let sweeper = cluster.clone();
    let told = [stop.clone(), stop.clone(), stop.clone()];
    let [redriving, relaying, sweeping] = told;
    spawn(&tasks, &life, async move { redriver.run(redriving).await });
    spawn(&tasks, &life, async move { relay.run(relaying).await });
    spawn(&tasks, &life, async move { sweeper.run(sweeping).await });
    tasks.close();
    *running = Some(RunningDispatcher { life, dispatcher, cluster: Arc::new(cluster), stop, tasks });
}

fn spawn(tasks: &TaskTracker, life: &Arc<Life>, work: impl Future<Output = ()> + Send + 'static) {
    let life = Arc::clone(life);
    tasks.spawn(async move { life.run(work).await });
}

/// Stops a dispatcher as a deployment does: it takes nothing new, finishes what it holds, and is gone.
pub(crate) async fn stop(world: &Arc<World>, number: usize) {
    let machine = &world.dispatchers[number];
    let Some(running) = machine.running.lock().unwrap().take() else { return };
    // Only one process at a time uses a disk.
    machine.is_stopping.store(true, Ordering::Relaxed);
    let RunningDispatcher { life, dispatcher, stop, tasks, .. } = running;
    world.note(format_args!("{life} is told to stop"));
    world.meet("a dispatcher is stopped");
    let last = async {
        dispatcher.shut_down().await;
        stop.cancel();
        tasks.wait().await;
    };
    let in_time = timeout(2 * world.plan.single_limit() + Duration::from_secs(10), life.run(last)).await;
    if in_time.is_err() {
        let says = format!("{life} did not end");
        world.ledger().breaks("a dispatcher that is stopped ends", says, [format!("{life} ")]);
    }
    world.note(format_args!("{life} ends"));
    life.end();
    machine.is_stopping.store(false, Ordering::Relaxed);
}

/// An event as a client sends it: whoever does not say when it happened has it filled in where it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) event: Event,
    pub(crate) is_timed: bool,
}

/// Has a dispatcher take events in, if it runs: one by itself, or a batch.
pub(crate) async fn serve(
    world: Arc<World>,
    number: usize,
    sent: Vec<Sent>,
    is_single: bool,
) -> Result<Vec<Answer>, Fault> {
    let unavailable = || Fault::new("dispatcher", "be there", FaultKind::Unavailable);
    let machine = &world.dispatchers[number];
    let running = machine.running.lock().unwrap().clone();
    let Some(RunningDispatcher { life, dispatcher, .. }) = running else { return Err(unavailable()) };
    let now = machine.clock.now();
    let stamp = |sent: Sent| match sent.is_timed {
        true => sent.event,
        false => sent.event.happened(OccurredAt::Received(now)),
    };
    let events: Vec<Event> = sent.into_iter().map(stamp).collect();
    let request = world.ledger().receive(&life, events.clone(), is_single, world.history.now());
    let ids: Vec<&str> = events.iter().map(|event| event.id().as_str()).collect();
    world.note(format_args!("{life} receives r{request} [{}]", ids.join(" ")));
    let _waiting = Waiting(&world, request);
    let started = Instant::now();
    let trace = TraceContext::new(request.into(), 1).unwrap();
    let work = trace::within(trace, take_in(&dispatcher, events, is_single));
    let Some(answers) = life.run(work).await else { return Err(unavailable()) };
    let words: Vec<&str> = answers.iter().map(Answer::as_str).collect();
    let at = world.note(format_args!("{life} answers r{request} {}", words.join(", ")));
    answers.iter().for_each(|answer| world.meet(format!("answered: {}", answer.kind())));
    let limit = if is_single { world.plan.single_limit() } else { world.plan.batch_limit() };
    world.ledger().answer(request, answers.clone(), at, started.elapsed(), limit + LATENESS);
    Ok(answers)
}

/// Takes note when nobody waits for an answer any more, which means nothing behind the answer.
struct Waiting<'a>(&'a World, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.ledger().abandon(self.1) {
            self.0.meet("a call is answered to nobody");
        }
    }
}

async fn take_in(dispatcher: &Dispatcher, events: Vec<Event>, is_single: bool) -> Vec<Answer> {
    let count = events.len();
    if is_single && let Some(event) = events.first() {
        let one = dispatcher.ingest_one(event.clone()).await;
        return answers(
            one.map(|one| match one {
                Ingested::Finished(outcome) => Ingested::Finished(vec![outcome]),
                Ingested::Parked => Ingested::Parked,
            }),
            count,
        );
    }
    let batch = EventBatch::new(events).unwrap();
    answers(dispatcher.ingest(&batch).await, count)
}

fn answers(answer: Result<Ingested<Vec<IngestOutcome>>, DispatchError>, count: usize) -> Vec<Answer> {
    match answer {
        Ok(Ingested::Finished(outcomes)) => outcomes.into_iter().map(Answer::Finished).collect(),
        Ok(Ingested::Parked) => vec![Answer::Parked; count],
        Err(error) => vec![Answer::Refused(refusal(&error), Causes(&error).to_string()); count],
    }
}

fn refusal(error: &DispatchError) -> &'static str {
    match error {
        DispatchError::Batch(error) => refusal(error),
        DispatchError::Overloaded => "refused: overloaded",
        DispatchError::Park(_) => "refused: lot",
        _ => "refused",
    }
}
