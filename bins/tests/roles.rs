//! The programs of a cluster on the command line, as far as they need no server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::roles::{DISPATCHER, WORKER, run};
use support::{Running, complaint, http_answer, printed};

const TRANSACTION: &[u8] = br#"{"sender":"Ann","receiver":"Bob","amount":1}"#;

#[test]
fn a_dispatcher_without_workers_says_so_and_ends_well() {
    let dispatcher = Running::dispatcher(&["parking.backend=none"]);
    let log = dispatcher.log();
    assert!(log.lines().next().unwrap().contains("mini-platform-dispatcher "), "{log}");
    assert_ne!(dispatcher.base(), dispatcher.grpc());
    assert_eq!(dispatcher.get("/livez").0, 200);
    let (status, ready) = dispatcher.get("/readyz");
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!((status, &ready["checks"]["worker"]["ok"]), (503, &Value::Bool(false)), "{ready}");
    assert_eq!(dispatcher.get("/v1/workers"), (200, r#"{"items":[]}"#.to_owned()));
    let answer = http_answer("POST", dispatcher.base(), "/v1/transactions", TRANSACTION);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 503 ") && head.to_lowercase().contains("\r\nretry-after: 1"),
        "{head}"
    );
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["code"], "no_workers", "{body}");
    assert!(dispatcher.stop().success());
}

#[test]
fn a_dispatcher_without_workers_parks_what_comes() {
    let dispatcher = Running::dispatcher(&[]);
    let answer = http_answer("POST", dispatcher.base(), "/v1/transactions", TRANSACTION);
    assert!(answer.starts_with("HTTP/1.1 202 ") && answer.contains(r#""outcome":"parked""#), "{answer}");
    let (status, parked) = dispatcher.get("/v1/parked");
    assert!(status == 200 && parked.contains(r#""reason":"no_workers""#), "{parked}");
    assert!(dispatcher.stop().success());
}

#[test]
fn a_dispatcher_ends_within_its_grace_while_somebody_is_connected_over_grpc() {
    let dispatcher = Running::dispatcher(&["grpc.shutdown_grace=200ms"]);
    let address = dispatcher.grpc();
    let silent = std::net::TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    assert!(dispatcher.stop().success());
    drop(silent);
}

#[test]
fn every_mistake_in_the_configuration_is_named_at_once() {
    for program in [DISPATCHER, WORKER] {
        let wrong = ["dispatch.policy=random", "grpc.lisen=1"];
        let output = run(program, &wrong, &[]);
        let told = complaint(&output);
        assert_eq!(output.status.code(), Some(78), "{told}");
        for part in [
            r#"dispatch.policy: expected "p2c_ewma" or "round_robin" or "least_in_flight" or "rendezvous""#,
            "grpc.lisen is not a known key, the nearest is grpc.listen",
        ] {
            assert!(told.contains(part), "{part} must be in\n{told}");
        }
    }
}

#[test]
fn a_worker_of_stores_that_nobody_shares_is_refused_by_name() {
    let memory = ["store.backend=memory", "adjacency.backend=memory", "registry.backend=memory"];
    let output = run(WORKER, &[&memory[..], &["grpc.listen=0.0.0.0:0", "cluster.lease=10ms"]].concat(), &[]);
    let told = complaint(&output);
    assert_eq!(output.status.code(), Some(78), "{told}");
    for part in [
        "5 problems",
        r#"store.backend: expected "mongodb", because no other worker reads"#,
        r#"adjacency.backend: expected "redis", because no other worker reads"#,
        r#"registry.backend: expected "redis", because no other process reads"#,
        "cluster.advertise: expected an address that dispatchers can dial, because 0.0.0.0:0 (grpc.listen)",
        r#"cluster.lease: expected at least "1s""#,
    ] {
        assert!(told.contains(part), "{part} must be in\n{told}");
    }
    let output = run(WORKER, &["cluster.advertise=http://0.0.0.0:9082", "cluster.join="], &[]);
    let told = complaint(&output);
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("cluster.advertise: expected an address that dispatchers can dial"), "{told}");
    assert!(told.contains("cluster.join: expected a list of 1 to 16"), "{told}");
}

#[test]
fn each_program_shows_its_own_defaults_and_no_secret() {
    for (program, listen) in [(DISPATCHER, "127.0.0.1:9081"), (WORKER, "127.0.0.1:9082")] {
        let output = run(program, &["cluster.token=hunter2"], &["--print-config"]);
        let shown = printed(&output);
        assert!(output.status.success(), "{}", complaint(&output));
        let grpc = shown.split_once("[grpc]\n").unwrap().1.lines().next().unwrap();
        assert_eq!(grpc, format!("listen = \"{listen}\"  # default"));
        assert!(shown.contains("# token = (redacted)") && !shown.contains("hunter2"), "{shown}");
    }
    let output = run(DISPATCHER, &[], &["--check-config"]);
    assert_eq!((output.status.code(), printed(&output).as_str()), (Some(0), "the configuration is valid\n"));
}

#[test]
fn an_address_that_is_taken_is_named_with_its_key() {
    let first = Running::dispatcher(&[]);
    for (key, taken) in [("http.listen", first.base().to_owned()), ("grpc.listen", first.grpc())] {
        let taken = format!("{key}={}", taken.strip_prefix("http://").unwrap());
        let output = run(DISPATCHER, &["http.listen=127.0.0.1:0", "grpc.listen=127.0.0.1:0", &taken], &[]);
        assert_eq!(output.status.code(), Some(70), "{}", complaint(&output));
        assert!(complaint(&output).contains(&format!("({key})")), "{}", complaint(&output));
    }
}
