//! Everything is killed and started again at random.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Load, Setup};
use super::killer::Killer;
use super::scene::Scene;
use super::summary::Summary;
use super::{asked, wait_until};

/// How long, when nobody says: time for some fifty blows, so that everything is struck, and for CI to wait.
const SECONDS: u64 = 120;

/// Which blows, when nobody says. Always the same, as far as chaos can be.
const SEED: u64 = 5;

/// Events a second: enough that every blow hits some, and slow enough for a small machine.
const RATE: u64 = 60;

#[test]
fn every_promise_is_kept_while_everything_is_killed_at_random() {
    let (seconds, seed) = (asked("MP_CHAOS_SECONDS", SECONDS), asked("MP_CHAOS_SEED", SEED));
    let (scene, setup) = (Scene::new(), Setup::usual(1 + (seed % 2) as usize));
    let Some(mut cluster) = Cluster::start(&scene, &setup) else { return };
    scene.note(&format!("{seconds} s with seed {seed}"));
    wait_until("the cluster is ready", &mut cluster, &scene, Cluster::is_ready);

    let how = format!("--clients 100 --seed {seed} --give-up-after 2m");
    let mut load = cluster.load(&scene, &Load { name: "ledger", rate: RATE, seconds, how: &how });
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
    let summary = Summary::of(&load);
    eprintln!("{}\n{}", scene.history(), summary.said());
    cluster.assert_every_promise_is_kept(&scene, &["ledger"]);
    for unwanted in ["failed", "conflict"] {
        assert_eq!(summary.count(unwanted), 0, "no answer is {unwanted}");
    }
    assert_eq!(summary.count("not sent") + summary.count("given up"), 0, "everything is acknowledged");
    assert_eq!(summary.count("acknowledged"), summary.count("events due"), "everything is acknowledged");
    for victim in cluster.victims() {
        assert!(killer.has_struck(victim) || seconds < SECONDS, "{victim:?} was struck");
    }
}
