//! Redis may be lost, and loses no fact.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use mini_platform_core::testkit::server::{Process, program};

use crate::support::servers::{Servers, redis_command};
use crate::support::{Running, complaint, printed, wait_until};
use crate::{operate, start_feeder, start_platform};

const CLIENTS: usize = 7;

fn events() -> String {
    let mut lines = String::new();
    for number in 0..200 {
        let (from, to) = (number % CLIENTS, (number / 3 + number + 1) % CLIENTS);
        let at = format!("2026-01-{:02}T10:{:02}:00Z", number % 28 + 1, number % 60);
        if from == to {
            writeln!(
                lines,
                r#"{{"type":"operation","id":"e{number}","client":"Client {from}","branch":"Branch {}","operation":"deposit","amount":5,"occurred_at":"{at}"}}"#,
                number % 2
            )
        } else {
            writeln!(
                lines,
                r#"{{"type":"transaction","id":"e{number}","sender":"Client {from}","receiver":"Client {to}","amount":5,"occurred_at":"{at}"}}"#
            )
        }
        .unwrap();
    }
    lines
}

/// Returns what is known of every client, without what differs from one import to the next.
fn answers(platform: &Running) -> Vec<String> {
    (0..CLIENTS).map(|number| platform.get(&format!("/v1/clients/Client%20{number}")).1).collect()
}

#[test]
fn a_redis_that_lost_everything_is_rebuilt_while_the_platform_runs() {
    let Some(redis_server) = program("REDIS_SERVER") else { return };
    let Some(servers) = Servers::find() else { return };
    let redis = Process::builder(redis_server)
        .args(|port, dir| {
            let (port, dir) = (port.to_string(), dir.display().to_string());
            ["--bind", "127.0.0.1", "--save", "", "--port", &port, "--dir", &dir].map(str::to_owned).to_vec()
        })
        .start();
    let servers = servers.on_redis(format!("redis://127.0.0.1:{}", redis.port()));
    servers.upload("name\nMallory\n");
    let feeder = start_feeder(&servers);
    // This Redis keeps nothing on disk, so nothing may be parked there.
    let platform = start_platform(&servers, &["parking.backend=embedded"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    fs::write(&file, events()).unwrap();
    let imported = platform.client(&["import", file.to_str().unwrap()]);
    assert!(imported.status.success(), "{}", complaint(&imported));
    let before = answers(&platform);
    let verified = operate(&servers, &["verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}{}", printed(&verified), complaint(&verified));

    redis_command(redis.port(), "FLUSHALL");
    let verified = operate(&servers, &["verify"]);
    let told = printed(&verified);
    assert_eq!(verified.status.code(), Some(1), "{told}{}", complaint(&verified));
    let missing: BTreeSet<&str> = told.lines().filter(|line| line.starts_with("missing ")).collect();
    assert!(told.contains(&format!("{} missing, 0 older, 0 newer, 0 surplus", missing.len())), "{told}");
    assert!(missing.iter().any(|line| line.contains("Client 5 -> Branch")), "branches are named: {told}");

    let rebuilt = operate(&servers, &["rebuild"]);
    assert_eq!(rebuilt.status.code(), Some(0), "{}{}", printed(&rebuilt), complaint(&rebuilt));
    assert!(
        printed(&rebuilt).contains(&format!("{} links repaired", missing.len())),
        "{}",
        printed(&rebuilt)
    );
    assert_eq!(operate(&servers, &["verify"]).status.code(), Some(0), "nothing differs any more");
    assert_eq!(answers(&platform), before, "no fact is lost");
    // The feeder brings the list back by itself, and the same platform takes events again.
    let log = || feeder.log() + &platform.log();
    let send = ["send", "transaction", "--id", "late", "--from", "A", "--to", "Mallory", "--amount", "1"];
    wait_until("the list is back", log, || platform.client(&send).status.code() == Some(3));
}
