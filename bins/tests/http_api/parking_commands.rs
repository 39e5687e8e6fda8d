//! The sub-commands that look at the parking lot and decide on dead letters.

use std::net::SocketAddr;
use std::process::{Command, Output};

use mini_platform_core::port::ParkingLot;
use serde_json::{Value, json};

use crate::parking::ParkingApp;
use crate::support::{TestApp, transaction};

/// What a sub-command came to.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }

    fn ids(&self) -> Vec<String> {
        let page = self.json();
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Runs a sub-command against a server to its end.
async fn run(addr: SocketAddr, arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mini-platform"));
    command.args(arguments).args(["--url", &format!("http://{addr}")]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Output { status, stdout, stderr } = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code(), out: text(stdout), err: text(stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_shows_what_waits() {
    let parking = ParkingApp::start().await;
    for id in ["t1", "t2", "t3"] {
        assert_eq!(parking.app.post("/v1/transactions", &transaction(id).to_string()).await.status, 202);
    }
    let shown = run(parking.app.addr, &["parked"]).await;
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    assert_eq!(shown.json(), parking.app.get("/v1/parked").await.json());
    let first = run(parking.app.addr, &["parked", "--limit", "2"]).await.json();
    assert_eq!((&first["parked"], first["items"].as_array().unwrap().len()), (&json!(3), 2), "{first}");
    let token = first["next_page_token"].as_str().unwrap();
    let rest = run(parking.app.addr, &["parked", "--limit", "2", "--page-token", token]).await;
    assert_eq!(rest.ids(), shown.ids()[2..]);
    let all = run(parking.app.addr, &["parked", "--limit", "1", "--all"]).await;
    assert_eq!(all.json(), json!({"items": shown.json()["items"]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_shown() {
    let parking = ParkingApp::start().await;
    let (first, second) = (parking.dead_letter(1).await, parking.dead_letter(2).await);
    for arguments in [&["dead-letters"][..], &["dead-letters", "list"]] {
        let shown = run(parking.app.addr, arguments).await;
        assert_eq!((shown.code, shown.json()["dead_letters"].as_u64()), (Some(0), Some(2)));
        assert_eq!(shown.ids(), [&*first, &second]);
    }
    let all = run(parking.app.addr, &["dead-letters", "list", "--limit", "1", "--all"]).await;
    assert_eq!(all.ids(), [&*first, &second]);
    let shown = run(parking.app.addr, &["dead-letters", "show", &second]).await;
    assert_eq!((shown.code, &shown.json()["event"]["id"]), (Some(0), &json!("t2")));
    let missing = run(parking.app.addr, &["dead-letters", "show", "x/y"]).await;
    assert_eq!((missing.code, missing.out.as_str()), (Some(1), ""));
    assert!(missing.err.contains("not_found (404)"), "{}", missing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_redriven_and_discarded_by_their_ids() {
    let parking = ParkingApp::start().await;
    let (first, second) = (parking.dead_letter(1).await, parking.dead_letter(2).await);
    let redriven = run(parking.app.addr, &["dead-letters", "redrive", &first]).await;
    assert_eq!((redriven.code, redriven.err.as_str()), (Some(0), ""));
    assert_eq!(redriven.json(), json!({"items": [{"id": first, "redriven": true}]}));
    let discarded = run(parking.app.addr, &["dead-letters", "discard", &first, &second]).await;
    assert_eq!(discarded.code, Some(1), "there was no dead letter of the first id any more");
    assert_eq!(
        discarded.json(),
        json!({"items": [{"id": first, "discarded": false}, {"id": second, "discarded": true}]})
    );
    let status = parking.lot.status().await.unwrap();
    assert_eq!((status.parked, status.dead), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_dead_letters_are_redriven_or_discarded_over_several_pages() {
    for (command, name, parked) in [("redrive", "redriven", 120), ("discard", "discarded", 0)] {
        let parking = ParkingApp::start().await;
        let mut ids = Vec::new();
        for n in 0..120 {
            ids.push(parking.dead_letter(n).await);
        }
        let done = run(parking.app.addr, &["dead-letters", command, "--all"]).await;
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
        let expected: Vec<Value> = ids.iter().map(|id| json!({"id": id, name: true})).collect();
        assert_eq!(done.json()["items"], Value::from(expected));
        let status = parking.lot.status().await.unwrap();
        assert_eq!((status.parked, status.dead), (parked, 0), "{command}");
        let again = run(parking.app.addr, &["dead-letters", command, "--all"]).await;
        assert_eq!((again.code, again.json()), (Some(0), json!({"items": []})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn which_dead_letters_are_meant_must_be_said() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    for arguments in [
        &["dead-letters", "redrive"][..],
        &["dead-letters", "discard"],
        &["dead-letters", "discard", "--all", "x"],
        &["dead-letters", "show"],
        &["dead-letters", "show", ""],
        &["parked", "--limit", "0"],
        &["parked", "--all", "--page-token", "x"],
    ] {
        let refused = run(nowhere, arguments).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(64), ""), "{arguments:?}: {}", refused.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_parks_nothing_or_is_not_there_is_named() {
    let app = TestApp::start().await;
    for arguments in [&["parked"][..], &["dead-letters"], &["dead-letters", "redrive", "x"]] {
        let refused = run(app.addr, arguments).await;
        assert_eq!(refused.code, Some(1));
        assert!(refused.err.contains("no_parking_lot (404)"), "{arguments:?}: {}", refused.err);
        // Nobody listens there: the port belongs to no service, and the system gives it to none.
        let unreached = run(SocketAddr::from(([127, 0, 0, 1], 9)), arguments).await;
        assert_eq!(unreached.code, Some(1));
        assert!(unreached.err.contains("is the platform running?"), "{arguments:?}: {}", unreached.err);
    }
}
