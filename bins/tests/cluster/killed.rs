//! Members that end without a word, or fall silent.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::load::{Load, assert_each_is_stored_once};
use crate::support::wait_until;
use crate::{BETWEEN_BLOWS, Cluster, picks};

/// A third of the default `cluster.lease`, and a little.
const HEARTBEAT: Duration = Duration::from_millis(1_700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_under_load_costs_no_event_and_no_request() {
    let Some(mut cluster) = Cluster::start(3, &[]) else { return };
    let load = Load::start(&cluster.dispatcher);
    load.go_on(&cluster.dispatcher, BETWEEN_BLOWS);
    let killed = cluster.workers.remove(0);
    let before = cluster.member(&killed.id).unwrap();
    assert!(picks(&before) > 0, "the load reaches every worker: {before}");
    killed.program.kill();
    let is_noticed = || cluster.member(&killed.id).is_none_or(|member| member["state"] == "ejected");
    wait_until("the loss is noticed", || cluster.dispatcher.log(), is_noticed);
    let noticed = cluster.member(&killed.id);
    let until = Instant::now() + HEARTBEAT;
    while Instant::now() < until {
        load.go_on(&cluster.dispatcher, 1);
        if let (Some(noticed), Some(now)) = (&noticed, cluster.member(&killed.id)) {
            assert_eq!(picks(&now), picks(noticed), "who is known to be gone gets no request");
        }
    }
    load.go_on(&cluster.dispatcher, BETWEEN_BLOWS);
    assert_eq!(load.put_off(), 0, "the others serve what it held:\n{}", cluster.dispatcher.log());
    let gone = || cluster.members().len() == 2;
    wait_until("its lease has ended", || cluster.dispatcher.log(), gone);
    cluster.start_again(&killed.id, killed.listen);
    cluster.wait_until_ready(3);
    load.go_on(&cluster.dispatcher, BETWEEN_BLOWS);
    assert_eq!(load.put_off(), 0);
    let (events, ledger) = load.finish().await;
    assert_each_is_stored_once(&cluster.dispatcher, &events, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_frozen_is_overtaken_and_comes_back() {
    let Some(cluster) = Cluster::start(3, &["dispatch.timeout=4s"]) else { return };
    let load = Load::start(&cluster.dispatcher);
    load.go_on(&cluster.dispatcher, BETWEEN_BLOWS);
    signal(&cluster, 0, "STOP");
    load.go_on(&cluster.dispatcher, BETWEEN_BLOWS);
    let gone = || cluster.member("w0").is_none();
    wait_until("its lease has ended", || cluster.dispatcher.log(), gone);
    signal(&cluster, 0, "CONT");
    cluster.wait_until_ready(3);
    load.go_on(&cluster.dispatcher, BETWEEN_BLOWS);
    assert_eq!(load.put_off(), 0, "{}", cluster.dispatcher.log());
    let (events, ledger) = load.finish().await;
    assert_each_is_stored_once(&cluster.dispatcher, &events, &ledger).await;
}

fn signal(cluster: &Cluster, worker: usize, name: &str) {
    let pid = cluster.workers[worker].program.pid().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
}
