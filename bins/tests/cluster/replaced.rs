//! Members and dispatchers that are replaced on purpose.

use crate::support::Running;
use crate::support::http;
use crate::support::load::{Load, assert_each_is_stored_once};
use crate::{BETWEEN_BLOWS, Cluster, picks};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_workers_are_replaced_one_by_one_under_load_and_no_request_fails() {
    let Some(mut cluster) = Cluster::start(5, &[]) else { return };
    let load = Load::start(&cluster.dispatcher);
    for _ in 0..5 {
        load.go_on(&cluster.dispatcher, BETWEEN_BLOWS / 2);
        let old = cluster.workers.remove(0);
        assert!(old.program.stop().success(), "it leaves, finishes what it holds and ends well");
        cluster.start_again(&old.id, old.listen);
        cluster.wait_until_ready(5);
    }
    load.go_on(&cluster.dispatcher, BETWEEN_BLOWS / 2);
    assert_eq!(load.put_off(), 0, "{}", cluster.dispatcher.log());
    let (events, ledger) = load.finish().await;
    assert_each_is_stored_once(&cluster.dispatcher, &events, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_is_killed_and_started_again_has_its_workers_back() {
    let Some(mut cluster) = Cluster::start(3, &[]) else { return };
    let epochs = |cluster: &Cluster| -> Vec<u64> {
        cluster.members().iter().map(|member| member["epoch"].as_u64().unwrap()).collect()
    };
    let before = epochs(&cluster);
    let (http_listen, grpc_listen) = (cluster.dispatcher.base().to_owned(), cluster.dispatcher.grpc());
    let set = |key: &str, address: &str| format!("{key}={}", address.strip_prefix("http://").unwrap());
    let settings = [set("http.listen", &http_listen), set("grpc.listen", &grpc_listen)];
    // Its own place is taken while it is away, so that a failure does not leave two of them.
    let killed = std::mem::replace(&mut cluster.dispatcher, Running::dispatcher(&[]));
    killed.kill();
    cluster.dispatcher = Running::dispatcher(&[&settings[0], &settings[1]]);
    cluster.wait_until_ready(3);
    let after = epochs(&cluster);
    assert!(after.iter().min() > before.iter().max(), "{after:?} come after {before:?}");
}

#[test]
fn events_alternate_and_every_worker_answers_every_fetch() {
    let Some(cluster) = Cluster::start(3, &["dispatch.policy=round_robin"]) else { return };
    let picked = |cluster: &Cluster| -> Vec<u64> { cluster.members().iter().map(picks).collect() };
    let before = picked(&cluster);
    for number in 0..9 {
        let event = format!(r#"{{"id":"e{number}","sender":"Ann","receiver":"Bob","amount":1}}"#);
        let (status, _) = http("POST", cluster.dispatcher.base(), "/v1/transactions", event.as_bytes());
        assert_eq!(status, 201);
    }
    let stored = picked(&cluster);
    let each: Vec<u64> = stored.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert_eq!(each, [3, 3, 3], "each worker has its turn");
    for path in [
        "/v1/clients/Ann",
        "/v1/clients/Ann/transactions?direction=sent&limit=2",
        "/v1/clients/Ann/operations",
        "/v1/clients/Bob/interactions",
        "/v1/clients/Ann/branches",
        "/v1/events/e4",
        "/v1/fraud-list",
        "/v1/fraud-list/check?name=mallory",
    ] {
        let answers: Vec<_> = (0..3).map(|_| cluster.dispatcher.get(path)).collect();
        assert_eq!(answers[0].0, 200, "{path}: {}", answers[0].1);
        // When a feeder last looked changes by itself.
        let told = |answer: &(u16, String)| answer.1.split("\"confirmed_at\"").next().map(str::to_owned);
        assert!(answers.iter().all(|answer| told(answer) == told(&answers[0])), "{path}: {answers:?}");
    }
    let each: Vec<u64> = picked(&cluster).iter().zip(&stored).map(|(after, before)| after - before).collect();
    assert_eq!(each, [8, 8, 8], "and each of them answered");
}
