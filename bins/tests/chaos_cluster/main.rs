//! A whole cluster on servers of its own, under load, in which everything is killed and started again at random; then
//! every promise that was made is checked.
//!
//! Two minutes unless `MP_CHAOS_SECONDS` says otherwise; `scripts/chaos` does it for an hour. `MP_CHAOS_SEED` decides
//! who is killed, how and for how long; what that hits is up to the machine. When a promise is broken, the ledger, the
//! history and all logs stay in a folder that is printed.
//!
//! Skipped without servers: `scripts/test-servers run cargo nextest run -p mini-platform-bins --features full`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod killer;
mod program;
mod scene;
mod servers;

use std::time::{Duration, Instant};

use self::cluster::Cluster;
use self::killer::Killer;
use self::scene::Scene;

/// How long, when nobody says: time for some fifty blows, and for CI to wait.
const SECONDS: u64 = 120;

/// Which blows, when nobody says. Always the same, as far as chaos can be.
const SEED: u64 = 5;

/// How long the last blow may echo: brokers come back, parked events are redriven, records leave their outboxes.
const PATIENCE: Duration = Duration::from_secs(180);

#[expect(clippy::disallowed_methods, reason = "how a test is run is no configuration of the platform")]
fn asked(variable: &str, or_else: u64) -> u64 {
    let asked = std::env::var(variable).ok().filter(|asked| !asked.is_empty());
    asked.map_or(or_else, |asked| asked.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// Waits until something holds, and has the cluster tended meanwhile.
fn wait_until(what: &str, cluster: &mut Cluster, scene: &Scene, mut holds: impl FnMut(&mut Cluster) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(cluster) {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        cluster.tend(scene);
        std::thread::sleep(Duration::from_millis(50));
    }
    scene.note(what);
}

#[test]
fn every_promise_is_kept_while_everything_is_killed_at_random() {
    let (seconds, seed) = (asked("MP_CHAOS_SECONDS", SECONDS), asked("MP_CHAOS_SEED", SEED));
    let scene = Scene::new();
    let Some(mut cluster) = Cluster::start(&scene, 1 + (seed % 2) as usize) else { return };
    scene.note(&format!("{seconds} s with seed {seed}"));
    wait_until("the cluster is ready", &mut cluster, &scene, Cluster::is_ready);

    let mut load = cluster.load(&scene, seconds, seed);
    let mut killer = Killer::new(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        killer.act(&mut cluster, &scene);
        cluster.tend(&scene);
        std::thread::sleep(Duration::from_millis(20));
    }
    killer.make_up(&mut cluster, &scene);
    wait_until("the cluster is ready again", &mut cluster, &scene, Cluster::is_ready);
    wait_until("the load is over", &mut cluster, &scene, |_| !load.is_running());
    wait_until("nothing is parked any more", &mut cluster, &scene, Cluster::is_lot_empty);
    wait_until("every record has left its outbox", &mut cluster, &scene, Cluster::are_outboxes_empty);

    let report = cluster.check(&scene);
    let summary = load.said();
    eprintln!("{}\n{summary}\n{}", scene.history(), report.said);
    assert!(report.is_clean, "every promise is kept");
    for unwanted in ["failed", "conflict"] {
        let count = summary.lines().find_map(|line| line.trim().strip_prefix(unwanted));
        assert_eq!(
            count.and_then(|count| count.split_whitespace().next()),
            Some("0"),
            "no answer is {unwanted}"
        );
    }
    cluster.assert_nobody_panicked();
    assert!(killer.blows() > 0, "something was killed");
}
