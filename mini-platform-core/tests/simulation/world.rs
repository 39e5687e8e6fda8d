//! Everything that there is: backends that last, processes that come and go, and what was seen of them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mini_platform_core::domain::{Event, MatchMode, Timestamp};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry, MemoryLog};
use mini_platform_core::port::{Clock, FraudRegistry, ReplaceOutcome};
use mini_platform_core::testkit::{VirtualClock, fraud_list, list_version};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::chance::Chance;
use super::coverage::Coverage;
use super::disk::Disk;
use super::dispatcher::RunningDispatcher;
use super::history::History;
use super::ledger::Ledger;
use super::life::{Host, Life};
use super::lot::Lot;
use super::plan::Plan;
use super::weather::{Fate, Place, Weather};
use super::worker::RunningWorker;

/// What every clock shows at first, in seconds after 1970.
const START: i64 = 1_000_000_000;

/// How many workers may have one batch at once.
const MAX_UNDER_WAY: usize = 3;

/// A machine: what outlives the processes on it.
pub(crate) struct Machine<P> {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) running: Mutex<Option<P>>,
    /// Whether a process on it was told to stop and did not end yet.
    pub(crate) is_stopping: AtomicBool,
    runs: AtomicU64,
}

impl<P> Machine<P> {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::new(start()));
        Self { clock, running: Mutex::default(), is_stopping: false.into(), runs: AtomicU64::new(0) }
    }

    pub(crate) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::Relaxed) + 1
    }
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) history: History,
    /// Of what happens to calls.
    pub(crate) chance: Chance,
    pub(crate) events: Arc<MemoryEventStore>,
    pub(crate) adjacency: Arc<MemoryAdjacencyStore>,
    pub(crate) registry: Arc<MemoryFraudRegistry>,
    pub(crate) lot: Arc<Lot>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) disks: Vec<Arc<Disk>>,
    pub(crate) dispatchers: Vec<Machine<RunningDispatcher>>,
    pub(crate) workers: Vec<Machine<RunningWorker>>,
    /// Told whenever the registry has a verdict on somebody.
    pub(crate) screened: Notify,
    poison: Vec<String>,
    weather: Mutex<Weather>,
    ledger: Mutex<Ledger>,
    coverage: Mutex<Coverage>,
    lists: AtomicU64,
    is_healed: AtomicBool,
    /// How often each batch of each dispatcher is under way at workers.
    under_way: Mutex<BTreeMap<(String, String), usize>>,
}

fn start() -> Timestamp {
    mini_platform_core::testkit::at(START)
}

impl World {
    pub(crate) fn new(plan: Plan, chance: Chance) -> Arc<Self> {
        let registry_clock: Arc<dyn Clock> = Arc::new(VirtualClock::new(start()));
        let weather = Weather::choose(chance.fork());
        let poison = if plan.has_poison { vec!["c0-3".to_owned(), "c1-5".to_owned()] } else { Vec::new() };
        Arc::new(Self {
            history: History::start(),
            events: Arc::default(),
            adjacency: Arc::default(),
            registry: Arc::new(MemoryFraudRegistry::new(MatchMode::Normalized, registry_clock)),
            lot: Arc::new(Lot::new(plan.limits, start())),
            log: Arc::default(),
            disks: (0..plan.dispatchers).map(|_| Arc::new(Disk::new(plan.outbox_bytes))).collect(),
            dispatchers: (0..plan.dispatchers).map(|_| Machine::new()).collect(),
            workers: (0..plan.workers).map(|_| Machine::new()).collect(),
            screened: Notify::new(),
            poison,
            weather: Mutex::new(weather),
            ledger: Mutex::default(),
            coverage: Mutex::default(),
            lists: AtomicU64::new(0),
            is_healed: false.into(),
            under_way: Mutex::default(),
            plan,
            chance,
        })
    }

    pub(crate) fn note(&self, step: impl Display) -> usize {
        self.history.note(step)
    }

    pub(crate) fn meet(&self, what: impl Into<String>) {
        self.coverage.lock().unwrap().meet(what);
    }

    pub(crate) fn coverage(&self) -> Coverage {
        self.coverage.lock().unwrap().clone()
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub(crate) fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap()
    }

    pub(crate) fn fate(&self, place: Place) -> Fate {
        self.weather().fate(place)
    }

    /// Whether no worker ever finishes an event.
    pub(crate) fn is_poison(&self, event: &Event) -> bool {
        self.poison.iter().any(|poison| event.id().as_str() == poison)
    }

    /// Ends a process at once. It comes back after a while, unless somebody brings it back before.
    pub(crate) fn crash(self: &Arc<Self>, life: &Arc<Life>) {
        if life.is_over() {
            return;
        }
        self.note(format_args!("{life} crashes"));
        life.crash();
        let host = life.host;
        match host {
            Host::Dispatcher(number) => {
                self.meet("a dispatcher crashes");
                self.disks[number].crash(&self.chance);
                self.dispatchers[number].running.lock().unwrap().take_if(|one| Arc::ptr_eq(&one.life, life));
            }
            Host::Worker(number) => {
                self.meet("a worker crashes");
                let mut running = self.workers[number].running.lock().unwrap();
                let running = running.take_if(|one| Arc::ptr_eq(&one.life, life));
                let torn = running.is_some_and(|worker| worker.is_between_append_and_link(&self.ledger()));
                if torn {
                    self.meet("a worker crashes between append and link");
                }
            }
            Host::Client(_) => return,
        }
        let downtime = self.chance.millis(100..=6_000);
        self.come_back(host, downtime);
    }

    /// Starts a process after a while, unless it runs then.
    pub(crate) fn come_back(self: &Arc<Self>, host: Host, after: Duration) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(after).await;
            world.bring_back(host);
        });
    }

    /// Starts a process, unless it runs.
    pub(crate) fn bring_back(self: &Arc<Self>, host: Host) {
        match host {
            Host::Dispatcher(number) => super::dispatcher::start(self, number),
            Host::Worker(number) => super::worker::start(self, number),
            Host::Client(_) => {}
        }
    }

    /// Puts a new fraud list in force.
    pub(crate) async fn publish_list(&self, names: &[&str]) {
        let number = self.lists.fetch_add(1, Ordering::Relaxed) + 1;
        let published_at = i64::try_from(number).unwrap();
        let names_of = names.iter().map(|name| (*name).to_owned()).collect();
        self.ledger().lists.insert(list_version(published_at), names_of);
        let replaced = self.registry.replace(fraud_list(published_at, names)).await.unwrap();
        assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
        self.note(format_args!("list {number} is in force: {names:?}"));
    }

    /// Ends all faults: whatever is down comes back, and stays.
    pub(crate) fn heal(self: &Arc<Self>) {
        self.note("everything heals");
        self.is_healed.store(true, Ordering::Relaxed);
        self.weather().heal();
        (0..self.plan.workers).for_each(|number| self.bring_back(Host::Worker(number)));
        (0..self.plan.dispatchers).for_each(|number| self.bring_back(Host::Dispatcher(number)));
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.is_healed.load(Ordering::Relaxed)
    }

    /// Law 7: takes note that a batch is sent to a worker, of which there are only so many.
    pub(crate) fn begin_try(&self, life: &Life, batch: &str) {
        let (life, mut under_way) = (life.to_string(), self.under_way.lock().unwrap());
        let count = under_way.entry((life.clone(), batch.to_owned())).or_default();
        *count += 1;
        if *count > 1 {
            self.meet("a batch is at two workers at once");
        }
        let of_life: usize =
            under_way.iter().filter(|((of, _), _)| *of == life).map(|(_, count)| count).sum();
        if of_life > MAX_UNDER_WAY * self.plan.dispatching.max_in_flight {
            let says = format!("{life} has {of_life} calls under way");
            self.ledger().breaks("what is under way is bounded", says, [life]);
        }
    }

    pub(crate) fn end_try(&self, life: &Life, batch: &str) {
        let (key, mut under_way) = ((life.to_string(), batch.to_owned()), self.under_way.lock().unwrap());
        if let Some(count) = under_way.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&key);
            }
        }
    }
}
