//! Ten times more comes than can be done.
//!
//! What can be done is limited by a slow way to MongoDB, not by this machine, which has to make up the load, too.

use std::time::{Duration, Instant};

use mini_platform_core::testkit::server::{Fault, FaultProxy};
use tokio::runtime::Runtime;

use super::cluster::{Cluster, Load, Servers, Setup};
use super::scene::Scene;
use super::summary::Summary;
use super::{asked, wait_until};

/// How long, when nobody says.
const SECONDS: u64 = 20;

/// How long each request to MongoDB is held, and each answer.
const SLOW: Duration = Duration::from_millis(40);

/// How many events one call stores, when nobody says.
const BATCH: u64 = 1;

/// How long it may take until nobody notices that there was too much.
const NORMAL_WITHIN: Duration = Duration::from_secs(5);

/// How many events a second are acknowledged, of all that come in time.
fn goodput(summary: &Summary, seconds: u64) -> u64 {
    summary.count("acknowledged") / seconds
}

#[test]
#[ignore = "it measures, which needs a machine of its own: scripts/outages"]
fn ten_times_too_much_costs_no_goodput_and_no_memory_and_is_soon_forgotten() {
    let (seconds, batch) = (asked("MP_OVERLOAD_SECONDS", SECONDS), asked("MP_OVERLOAD_BATCH", BATCH));
    let scene = Scene::new();
    let Some(servers) = Servers::start() else { return };
    let network = Runtime::new().unwrap();
    let proxy = network.block_on(FaultProxy::start(servers.mongodb.addr()));
    let setup = Setup {
        dispatchers: 1,
        dispatching: vec![format!("dispatch.max_batch={batch}")],
        working: vec![format!("mongodb.uri=mongodb://{}/?directConnection=true", proxy.addr())],
    };
    let mut cluster = Cluster::on(servers, &scene, &setup);
    wait_until("the cluster is ready", &mut cluster, &scene, Cluster::is_ready);
    proxy.set(Fault::Delay(SLOW));

    let how = "--connections 4000 --give-up-after 0s";
    // Twice as much as there is room for, as far as that can be known, shows how much that is.
    let guess = 2 * batch * 8 * 1_000 / (2 * 2 * SLOW.as_millis() as u64);
    let full = cluster.bear(&scene, &Load { name: "full", rate: guess, seconds: 10, how });
    let capacity = goodput(&full, 10);
    let usual = Load { name: "usual", rate: capacity / 2, seconds: 10, how };
    let before = cluster.bear(&scene, &usual);

    let flood = Load { name: "flood", rate: capacity * 10, seconds, how };
    let (start, mut flooding, mut memory) = (Instant::now(), cluster.load(&scene, &flood), Vec::new());
    while flooding.is_running() {
        memory.push((start.elapsed(), cluster.dispatcher_bytes()));
        std::thread::sleep(Duration::from_millis(100));
    }
    let third = start.elapsed() / 3;
    let flooded = Summary::of(&flooding);
    scene.note(&format!("the flood is over:\n{}", flooded.said()));
    std::thread::sleep(NORMAL_WITHIN);
    let after = cluster.bear(&scene, &Load { name: "after", ..usual });
    proxy.set(Fault::Pass);

    let most = |from: u32, to: u32| {
        let bytes = memory.iter().filter(|(at, _)| (third * from..third * to).contains(at));
        bytes.map(|(_, bytes)| *bytes).max().unwrap()
    };
    let (early, late) = (most(0, 1), most(2, 3));
    scene.note(&format!(
        "capacity {capacity}/s, goodput at {} times as much {}/s; p99 {:.1} ms before and {:.1} ms after; memory of \
         the dispatcher up to {} and {} MiB in the first and the last third",
        flooded.count("events due") / seconds / capacity,
        goodput(&flooded, seconds),
        before.p99_ms(),
        after.p99_ms(),
        early >> 20,
        late >> 20,
    ));
    cluster.assert_every_promise_is_kept(&scene, &["full", "usual", "flood", "after"]);
    [&full, &before, &flooded, &after].into_iter().for_each(Summary::assert_no_surprise);
    assert!(full.count("unavailable") > 0, "twice as much is too much");
    assert_eq!(flooded.count("parked"), 0, "what is too much is refused");
    assert!(goodput(&flooded, seconds) * 10 >= capacity * 9, "what can be done is done");
    assert!(late * 10 <= early * 11, "memory does not grow with time");
    for summary in [before, after] {
        assert_eq!(
            summary.count("acknowledged"),
            summary.count("events due"),
            "the usual load is no trouble"
        );
        assert_eq!(summary.count("parked"), 0, "nor does it wait");
    }
}
