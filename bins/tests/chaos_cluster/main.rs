//! A whole cluster on servers of its own, under load, while something goes wrong; then every promise that was made is
//! checked.
//!
//! - `at_random` kills everything and starts it again: two minutes unless `MP_CHAOS_SECONDS` says otherwise, an hour by
//!   `scripts/chaos`. `MP_CHAOS_SEED` decides who is killed, how and for how long; what that hits is up to the machine.
//! - `outages` and `overload` are short here, and as long as is worth telling by `scripts/outages`.
//!
//! When a promise is broken, the ledgers, the history and all logs stay in a folder that is printed.
//!
//! Skipped without servers: `scripts/test-servers run cargo nextest run -p mini-platform-bins --features full`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod at_random;
mod cluster;
mod killer;
mod outages;
mod overload;
mod program;
mod scene;
mod servers;
mod summary;

use std::time::{Duration, Instant};

use self::cluster::Cluster;
use self::scene::Scene;

/// How long trouble may echo: brokers come back, parked events are redriven, records leave their outboxes.
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
