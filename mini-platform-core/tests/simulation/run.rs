//! One run of the simulation: what a seed does.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::domain::{DeathCause, Outcome};
use mini_platform_core::testkit::deposit;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::chance::Chance;
use super::client::{self, Client};
use super::coverage::Coverage;
use super::dispatcher::Sent;
use super::laws;
use super::ledger::{Answer, Violation};
use super::life::{Host, Life};
use super::plan::Plan;
use super::trouble;
use super::wire::Wire;
use super::world::World;

/// How long a client may take to send everything once the faults are over.
const CLIENTS_END_WITHIN: Duration = Duration::from_secs(300);

/// How often it is looked whether everything is finished.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// When all workers are members again at the latest: who waits for the answer to a join does so for 10 s.
const EVERYBODY_IS_BACK_WITHIN: Duration = Duration::from_secs(15);

/// What became of a seed.
pub(crate) struct Ran {
    pub(crate) seed: u64,
    pub(crate) history: Vec<String>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) coverage: Coverage,
}

/// Runs a seed on its own clock.
pub(crate) fn run(seed: u64) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(simulate(seed))
}

async fn simulate(seed: u64) -> Ran {
    let chance = Chance::new(seed);
    let plan = Plan::choose(&chance.fork());
    let (clients, troubles, lists) = (chance.fork(), chance.fork(), chance.fork());
    let world = World::new(plan, chance.fork());
    if lists.hits(0.9) {
        trouble::change_list(&world, &lists).await;
    }
    (0..world.plan.workers).for_each(|number| world.bring_back(Host::Worker(number)));
    (0..world.plan.dispatchers).for_each(|number| world.bring_back(Host::Dispatcher(number)));
    let tasks = TaskTracker::new();
    for number in 0..world.plan.clients {
        tasks.spawn(Client::new(&world, number, clients.fork()).run());
    }
    tokio::spawn(trouble::make(Arc::clone(&world), troubles));
    sleep(world.plan.length).await;
    trouble::change_list(&world, &lists).await;
    world.heal();
    tasks.close();
    if timeout(CLIENTS_END_WITHIN, tasks.wait()).await.is_err() {
        world.ledger().breaks("clients come to an end", "somebody still sends", []);
    }
    recover(&world).await;
    laws::check(&world).await;
    let violations = world.ledger().violations.clone();
    Ran { seed, history: world.history.lines(), violations, coverage: world.coverage() }
}

/// Lets time pass until everything is finished, with a few events now and then: while nothing else is finished, what
/// fails is taken for an outage.
async fn recover(world: &Arc<World>) {
    let life = Arc::new(Life::start(Host::Client(9), 1));
    let probes = Probes { wire: Wire { world: Arc::clone(world), life } };
    let mut sent = probes.until_quiet(0).await;
    if world.plan.is_redriven_by_hand {
        redrive_by_hand(world);
        sent = probes.until_quiet(sent).await;
    }
    sleep(EVERYBODY_IS_BACK_WITHIN).await;
    probes.send(sent, true).await;
    // For the records of the last ones.
    sleep(Duration::from_secs(1)).await;
}

struct Probes {
    wire: Wire,
}

impl Probes {
    async fn until_quiet(&self, mut sent: u64) -> u64 {
        let world = &self.wire.world;
        let end = Instant::now() + world.plan.recovery();
        while Instant::now() < end {
            self.send(sent, false).await;
            sent += 1;
            sleep(LOOK_EVERY).await;
            let parked = world.lot.status().parked;
            if parked == 0 && world.disks.iter().all(|disk| disk.waiting() == 0) {
                return sent;
            }
        }
        let waiting: Vec<usize> = world.disks.iter().map(|disk| disk.waiting()).collect();
        let says = format!(
            "after {:?} there are records in the outboxes {waiting:?}, or parcels",
            world.plan.recovery()
        );
        world.ledger().breaks("everything is finished in bounded time", says, []);
        sent
    }

    /// Sends an event to every dispatcher. At the end all is as it should be.
    async fn send(&self, number: u64, is_last: bool) {
        for whom in 0..self.wire.world.plan.dispatchers {
            let event = deposit(&format!("probe-{whom}-{number}"), &format!("probe {whom}"), "north", 7);
            let sent = [Sent { event, is_timed: true }];
            let answer = client::send(&self.wire, whom, &sent, true).await;
            let is_stored = matches!(&answer, Ok(answers) if matches!(&answers[..],
                [Answer::Finished(finished)] if finished.outcome == Outcome::Stored));
            if is_last && !is_stored {
                let says = format!("d{whom} answers {answer:?}");
                self.wire.world.ledger().breaks(
                    "what is healed works",
                    says,
                    [format!("probe-{whom}-{number}")],
                );
            }
        }
    }
}

/// Parks the dead letters again that can be read.
fn redrive_by_hand(world: &World) {
    let dead = world.lot.dead_letters();
    for letter in dead.iter().filter(|letter| letter.cause == DeathCause::AttemptsSpent) {
        let id = letter.parked.parcel.id;
        world.lot.redrive(world, id);
        world.meet("a dead letter is redriven");
        world.note(format_args!("somebody redrives {}", world.ledger().parcels[&id].name));
    }
}
