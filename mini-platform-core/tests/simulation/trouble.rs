//! What befalls the platform as a whole: outages, crashes, clocks that jump, new lists, garbage.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::codec::ParkedEvent;
use mini_platform_core::domain::{Parcel, ParcelContent, ParcelId, ParkReason};
use mini_platform_core::port::FraudRegistry;
use mini_platform_core::testkit::{VirtualClock, at, client, transfer};
use tokio::time::{sleep, timeout};

use super::chance::Chance;
use super::client::SUSPECTS;
use super::dispatcher;
use super::life::{Host, Life};
use super::weather::{self, Outage, System};
use super::world::World;

/// Makes trouble until the time is up.
pub(crate) async fn make(world: Arc<World>, chance: Chance) {
    let (length, count) = (world.plan.length, world.plan.troubles);
    let millis = u64::try_from(length.as_millis()).unwrap();
    let mut times: Vec<u64> = (0..count).map(|_| chance.between(0..=millis)).collect();
    times.sort_unstable();
    let mut now = 0;
    for time in times {
        sleep(Duration::from_millis(time - now)).await;
        now = time;
        let (world, chance) = (Arc::clone(&world), chance.fork());
        tokio::spawn(async move { befall(world, chance).await });
    }
}

async fn befall(world: Arc<World>, chance: Chance) {
    match chance.below(13) {
        0..=2 => outage(&world, &chance).await,
        3 => crash(&world, &chance),
        4 => crash_all_workers(&world),
        5 => {
            let number = chance.below(world.plan.dispatchers);
            until_busy(&world, number).await;
            dispatcher::stop(&world, number).await;
            world.come_back(Host::Dispatcher(number), chance.millis(100..=4_000));
        }
        6 => {
            let machine = &world.workers[chance.below(world.plan.workers)];
            let running = machine.running.lock().unwrap().take();
            if let Some(worker) = running {
                world.note(format_args!("{} is told to stop", worker.life));
                world.meet("a worker is stopped");
                worker.stop.cancel();
                // It serves nothing new; what it holds ends by itself.
                world.come_back(worker.life.host, chance.millis(1_100..=4_000));
            }
        }
        7 => jump(&world, &chance),
        8 | 9 => {
            for _ in 0..3 {
                until_screened(&world).await;
                change_list(&world, &chance).await;
            }
        }
        10 => park_strange(&world, &chance).await,
        11 => world.lot.restart(&world, &chance),
        _ => roll_back(&world, &chance).await,
    }
}

/// Waits until a dispatcher works on a request, for two seconds at most: to end in the middle of it is what is hard.
async fn until_busy(world: &World, number: usize) {
    for _ in 0..200 {
        if world.ledger().is_busy(number) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until somebody is screened, for two seconds at most: a list that changes within a batch is what is hard.
async fn until_screened(world: &World) {
    // If nobody is screened meanwhile, any moment is as good.
    let _ = timeout(Duration::from_secs(2), world.screened.notified()).await;
}

async fn outage(world: &Arc<World>, chance: &Chance) {
    let (system, how) = (chance.pick(&System::ALL), chance.pick(&Outage::ALL));
    if world.is_healed() || world.weather().is_out_of_order(system) {
        return;
    }
    world.note(format_args!("{system:?} is out of order: {how:?}"));
    world.meet(weather::outage(system, how));
    world.weather().begin(system, how);
    sleep(chance.millis(500..=12_000)).await;
    world.weather().end(system);
    world.note(format_args!("{system:?} is in order"));
}

fn crash(world: &Arc<World>, chance: &Chance) {
    let dispatchers = world.plan.dispatchers;
    let number = chance.below(dispatchers + world.plan.workers);
    let life: Option<Arc<Life>> = match number.checked_sub(dispatchers) {
        None => world.dispatchers[number].running.lock().unwrap().as_ref().map(|one| Arc::clone(&one.life)),
        Some(number) => {
            world.workers[number].running.lock().unwrap().as_ref().map(|one| Arc::clone(&one.life))
        }
    };
    if let Some(life) = life {
        world.crash(&life);
    }
}

fn crash_all_workers(world: &Arc<World>) {
    world.meet("all workers crash");
    for machine in &world.workers {
        let life = machine.running.lock().unwrap().as_ref().map(|one| Arc::clone(&one.life));
        if let Some(life) = life {
            world.crash(&life);
        }
    }
}

fn jump(world: &Arc<World>, chance: &Chance) {
    let clocks: Vec<(String, &Arc<VirtualClock>)> = world
        .dispatchers
        .iter()
        .enumerate()
        .map(|(number, machine)| (format!("d{number}"), &machine.clock))
        .chain(
            world.workers.iter().enumerate().map(|(number, machine)| (format!("w{number}"), &machine.clock)),
        )
        .chain([("lot".to_owned(), &world.lot.clock)])
        .collect();
    let (whose, clock) = chance.pick(&clocks);
    let seconds = chance.pick(&[-3_600, -60, -5, -1, 1, 5, 60, 3_600]);
    world.note(format_args!("the clock of {whose} is off by {seconds} s"));
    world.meet(format!("a clock jumps {}", if seconds < 0 { "back" } else { "ahead" }));
    clock.jump(seconds * 1_000_000);
}

pub(crate) async fn change_list(world: &Arc<World>, chance: &Chance) {
    let names: Vec<&str> = SUSPECTS.into_iter().filter(|_| chance.hits(0.4)).chain(["nobody"]).collect();
    world.publish_list(&names).await;
    world.meet("a list is replaced");
}

async fn roll_back(world: &Arc<World>, chance: &Chance) {
    let kept = world.registry.history().await.unwrap();
    if kept.is_empty() {
        return;
    }
    let version = chance.pick(&kept).version;
    world.registry.rollback(&version).await.unwrap();
    world.note(format_args!("list {version} is in force again"));
    world.meet("a list is rolled back");
}

/// Parks what no dispatcher of today parks: garbage, and an event in the form of before.
async fn park_strange(world: &Arc<World>, chance: &Chance) {
    let number = chance.between(1..=1_000_000);
    let name = client(&format!("bank {}-{}", chance.below(4), chance.below(3)));
    let old = transfer(&format!("old-{number}"), name.as_str(), "bob", 5);
    let old = ParkedEvent { event: old, received_at: at(5), trace: None }.encode().unwrap();
    let contents = [ParcelContent::new(chance.seed().to_be_bytes().to_vec()).unwrap(), old];
    for content in contents {
        let id = ParcelId::new(at(1), std::array::from_fn(|_| u8::try_from(chance.below(256)).unwrap()));
        let parcel = Parcel { id, client: name.clone(), content, reason: ParkReason::Timeout };
        // A lot that is full refuses them as any others.
        if timeout(Duration::from_secs(1), world.lot.park(world, &[parcel]))
            .await
            .is_ok_and(|one| one.is_ok())
        {
            world.meet("something strange is parked");
        }
    }
}
