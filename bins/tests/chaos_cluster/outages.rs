//! One server is off for a while, at a steady load.
//!
//! `scripts/outages` does it at 2,000 events a second for as long as that is worth telling.

use std::time::Duration;

use super::cluster::{Cluster, Load, Setup, Victim};
use super::killer::Blow;
use super::scene::Scene;
use super::summary::Summary;
use super::{asked, wait_until};

/// Events a second, and how long a server is off, when nobody says: enough to see everything happen.
const RATE: u64 = 100;
const SECONDS: u64 = 8;

/// How long it goes well before and after.
const PEACE: u64 = 5;

/// How many milliseconds an answer may take where that is measured: `dispatch.timeout`, and half of that to park the
/// event and to bring the answer.
const LONGEST_MS: f64 = 1_500.0;

/// How many times as long as with Kafka on 99 of 100 answers may take while it is off, where that is measured: a
/// tolerance. On a quiet machine two runs with Kafka on differed by less than a fiftieth.
const NOISE: f64 = 1.25;

fn rate() -> u64 {
    asked("MP_OUTAGE_RATE", RATE)
}

fn seconds() -> u64 {
    asked("MP_OUTAGE_SECONDS", SECONDS)
}

/// Whether this runs to measure, on a machine of its own.
fn is_measured() -> bool {
    rate() != RATE
}

fn cluster(scene: &Scene) -> Option<Cluster> {
    let mut cluster = Cluster::start(scene, &Setup::usual(1))?;
    wait_until("the cluster is ready", &mut cluster, scene, Cluster::is_ready);
    Some(cluster)
}

#[test]
fn while_mongodb_is_off_every_event_is_answered_in_time_and_nothing_is_lost() {
    let scene = Scene::new();
    let Some(mut cluster) = cluster(&scene) else { return };
    // Both timeouts of a dispatcher, that of the work and that of parking, and a second for a busy machine.
    let how = "--connections 8000 --timeout 3s";
    let load = Load { name: "ledger", rate: rate(), seconds: seconds() + 2 * PEACE, how };
    let mut sending = cluster.load(&scene, &load);
    std::thread::sleep(Duration::from_secs(PEACE));
    cluster.strike(Victim::Mongodb, Blow::Kill);
    scene.note("MongoDB is off");
    std::thread::sleep(Duration::from_secs(seconds()));
    cluster.bring_back(Victim::Mongodb);
    scene.note("MongoDB is on");
    sending.wait();
    let summary = Summary::of(&sending);
    scene.note(&format!("the load is over:\n{}", summary.said()));
    cluster.assert_every_promise_is_kept(&scene, &["ledger"]);
    summary.assert_no_surprise();
    assert_eq!(summary.count("not sent") + summary.count("given up"), 0, "everything is acknowledged");
    assert!(summary.count("parked") > 0, "an outage happened");
    assert_eq!(cluster.dead_letters(), 0, "an outage is no fault of an event");
    if is_measured() {
        assert!(summary.longest_ms() <= LONGEST_MS, "nobody waits for longer");
    }
}

#[test]
fn while_kafka_is_off_nobody_notices_and_the_records_come_later() {
    let scene = Scene::new();
    let Some(mut cluster) = cluster(&scene) else { return };
    let load = |name| Load { name, rate: rate(), seconds: seconds(), how: "--in-order --clients 2000" };
    let before = cluster.bear(&scene, &load("before"));
    cluster.strike(Victim::Kafka, Blow::Kill);
    scene.note("Kafka is off");
    let off = cluster.bear(&scene, &load("off"));
    cluster.bring_back(Victim::Kafka);
    scene.note("Kafka is on");
    wait_until("Kafka has every record", &mut cluster, &scene, Cluster::are_outboxes_empty);
    let after = cluster.bear(&scene, &load("after"));
    scene.note(&format!(
        "p99 was {:.2} ms before Kafka was off, {:.2} ms meanwhile, and {:.2} ms after it",
        before.p99_ms(),
        off.p99_ms(),
        after.p99_ms(),
    ));
    cluster.assert_every_promise_is_kept(&scene, &["before", "off", "after"]);
    for summary in [&before, &off, &after] {
        summary.assert_no_surprise();
        assert_eq!(summary.count("acknowledged"), summary.count("events due"), "everything is acknowledged");
        // A busy machine may be late now and then.
        assert!(summary.count("parked") * 10 < summary.count("events due"), "and finished at once");
    }
    if is_measured() {
        let usual = before.p99_ms().max(after.p99_ms());
        assert!(off.p99_ms() <= NOISE * usual, "nobody notices");
    }
}
