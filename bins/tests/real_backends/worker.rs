//! A dispatcher and workers of their own on MongoDB and Redis.

use serde_json::Value;

use crate::support::servers::Servers;
use crate::support::{Running, http, wait_until};
use crate::{borrowed, start_feeder};

pub(crate) fn start_worker(servers: &Servers, join: &str, more: &[&str]) -> Running {
    let (settings, join) = (servers.settings(), format!("cluster.join={join}"));
    Running::worker(&[&borrowed(&settings)[..], &[&join], more].concat())
}

/// Returns the members as a dispatcher shows them.
fn members(dispatcher: &Running) -> Vec<Value> {
    let page: Value = serde_json::from_str(&dispatcher.get("/v1/workers").1).unwrap();
    page["items"].as_array().unwrap().clone()
}

#[test]
fn a_worker_without_a_dispatcher_waits_for_one_and_joins_it() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nEve Evil\n");
    let _feeder = start_feeder(&servers);
    let first = Running::dispatcher(&[]);
    let (http_listen, grpc_listen) = (first.base().to_owned(), first.grpc());
    assert!(first.stop().success());
    let worker = start_worker(&servers, &grpc_listen, &["cluster.worker_id=w-1"]);
    let log = worker.log();
    assert!(log.lines().next().unwrap().contains("mini-platform-worker "), "{log}");
    assert_eq!(worker.get("/livez").0, 200);
    let (status, ready) = worker.get("/readyz");
    assert_eq!(status, 503, "{ready}");
    assert!(ready.contains("a member of 0 of 1 clusters"), "{ready}");
    let set = |key: &str, address: &str| format!("{key}={}", address.strip_prefix("http://").unwrap());
    let (http_listen, grpc_listen) = (set("http.listen", &http_listen), set("grpc.listen", &grpc_listen));
    let dispatcher = Running::dispatcher(&[&http_listen, &grpc_listen]);
    worker.wait_until_ready(true);
    dispatcher.wait_until_ready(true);
    let members = members(&dispatcher);
    assert_eq!(members.len(), 1, "{members:?}");
    assert_eq!((&members[0]["id"], &members[0]["address"]), (&"w-1".into(), &worker.grpc().into()));
    assert!(members[0]["epoch"].as_u64().is_some_and(|epoch| epoch > 0), "{members:?}");
    let event = br#"{"id":"e1","sender":"Ann","receiver":"Bob","amount":1}"#;
    assert_eq!(http("POST", dispatcher.base(), "/v1/transactions", event).0, 201);
    let event = br#"{"id":"e2","sender":"Ann","receiver":"eve  EVIL","amount":1}"#;
    assert_eq!(http("POST", dispatcher.base(), "/v1/transactions", event).0, 403);
    assert!(dispatcher.get("/v1/clients/Bob").1.contains("\"e1\""));
    assert_eq!(http("POST", worker.base(), "/readyz", b"").0, 405);
    assert_eq!(worker.get("/metrics").0, 200);
    assert!(worker.stop().success() && dispatcher.stop().success());
}

#[test]
fn a_worker_that_stops_leaves_first() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nEve Evil\n");
    let _feeder = start_feeder(&servers);
    // No lease ends within the test, so only leaving takes a member out.
    let dispatcher = Running::dispatcher(&["cluster.lease=10m", "cluster.token=sesame"]);
    let stranger = start_worker(&servers, &dispatcher.grpc(), &["cluster.token=wrong"]);
    let worker = start_worker(&servers, &dispatcher.grpc(), &["cluster.token=sesame"]);
    worker.wait_until_ready(true);
    assert_eq!(stranger.get("/readyz").0, 503, "the token is wrong");
    assert_eq!(members(&dispatcher).len(), 1);
    assert!(worker.stop().success());
    let left = || members(&dispatcher).is_empty();
    wait_until("the worker has left", || dispatcher.log(), left);
    assert_eq!(dispatcher.get("/readyz").0, 503);
    for log in [stranger.log(), dispatcher.log()] {
        assert!(!log.contains("sesame"), "{log}");
    }
    assert!(stranger.stop().success(), "one that is no member ends well, too");
}
