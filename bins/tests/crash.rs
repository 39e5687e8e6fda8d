//! `kill -9` in the middle of imports: what was acknowledged is there once, and the links are what the events imply.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mini_platform_bins::client::{PlatformClient, path_segment};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::{PROGRAM, Running, all_items};

const EVENTS: usize = 30_000;
const CLIENTS: usize = 40;
const KILLS: usize = 4;
/// On the fraud list of this test.
const FRAUDSTER: &str = "Client 7 / Ω";

fn name(number: usize) -> String {
    format!("Client {number} / Ω")
}

fn events() -> Vec<Value> {
    let mut rng = SmallRng::seed_from_u64(3);
    (0..EVENTS)
        .map(|number| {
            let (one, step) = (rng.random_range(0..CLIENTS), rng.random_range(1..CLIENTS));
            let (id, amount) = (format!("crash-{number}"), rng.random_range(1..1_000_000));
            let at = format!("2026-01-{:02}T{:02}:00:00Z", rng.random_range(1..29), rng.random_range(0..24));
            if rng.random_bool(0.7) {
                let receiver = name((one + step) % CLIENTS);
                json!({"type": "transaction", "id": id, "sender": name(one), "receiver": receiver, "amount": amount,
                       "occurred_at": at})
            } else {
                let operation = if rng.random_bool(0.5) { "deposit" } else { "withdraw" };
                json!({"type": "operation", "id": id, "client": name(one), "branch": format!("B{step}"),
                       "operation": operation, "amount": amount, "occurred_at": at})
            }
        })
        .collect()
}

fn is_fraudulent(event: &Value) -> bool {
    event["receiver"] == FRAUDSTER || event["operation"] == "withdraw" && event["client"] == FRAUDSTER
}

fn import(platform: &Running, file: &Path, acknowledged: &Path) -> Child {
    Command::new(PROGRAM)
        .args(["import", "--format", "ndjson", "--url", platform.base()])
        .arg("--acknowledged")
        .args([acknowledged, file])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn acknowledged_ids(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete.lines().filter_map(|line| line.split_once('\t')).map(|(id, _)| id.to_owned()).collect()
}

/// Imports until that many events are acknowledged, then kills the platform.
fn import_and_kill(data: &Path, list: &str, file: &Path, acknowledged: &Path, enough: usize) {
    let platform = Running::start(data, &[list]);
    let mut importing = import(&platform, file, acknowledged);
    while acknowledged_ids(acknowledged).len() < enough && importing.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    platform.kill();
    let _ = importing.wait().unwrap();
}

/// What must be read back of a client: ids of its events, its interactions, its branches.
#[derive(Debug, Default, PartialEq)]
struct Known {
    events: Vec<String>,
    interactions: BTreeMap<String, (String, String)>,
    branches: BTreeMap<String, String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn implied(events: &[Value], client: &str) -> Known {
    let mut known = Known::default();
    for event in events.iter().filter(|event| !is_fraudulent(event)) {
        let at = text(&event["occurred_at"]);
        for (own, other, direction) in [("sender", "receiver", "sent"), ("receiver", "sender", "received")] {
            if event[own] == client {
                known.events.push(text(&event["id"]));
                let link = known
                    .interactions
                    .entry(text(&event[other]))
                    .or_insert((direction.to_owned(), at.clone()));
                if link.0 != direction {
                    link.0 = "both".to_owned();
                }
                link.1 = link.1.clone().max(at.clone());
            }
        }
        if event["client"] == client {
            known.events.push(text(&event["id"]));
            let last = known.branches.entry(text(&event["branch"])).or_default();
            *last = last.clone().max(at);
        }
    }
    known.events.sort();
    known
}

async fn read_back(platform: &PlatformClient, client: &str) -> Known {
    let base = format!("/v1/clients/{}", path_segment(client));
    let mut events = all_items(platform, &format!("{base}/transactions")).await;
    events.extend(all_items(platform, &format!("{base}/operations")).await);
    let mut ids: Vec<String> = events.iter().map(|event| text(&event["id"])).collect();
    ids.sort();
    let interactions = all_items(platform, &format!("{base}/interactions")).await;
    let branches = all_items(platform, &format!("{base}/branches")).await;
    let link = |link: &Value| (text(&link["client"]), (text(&link["direction"]), text(&link["last_at"])));
    Known {
        events: ids,
        interactions: interactions.iter().map(link).collect(),
        branches: branches.iter().map(|link| (text(&link["branch"]), text(&link["last_at"]))).collect(),
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_once() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("events.ndjson"));
    let (acknowledged, list) = (folder.path().join("acknowledged"), folder.path().join("list.txt"));
    let events = events();
    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    fs::write(&list, FRAUDSTER).unwrap();
    let list = format!("feeder.source=file:{}", list.display());

    for kill in 1..=KILLS {
        import_and_kill(&data, &list, &file, &acknowledged, kill * EVENTS / (KILLS + 2));
        let platform = Running::start(&data, &[&list]);
        let client = PlatformClient::new(platform.base().parse().unwrap());
        let mut there = BTreeSet::new();
        for number in 0..CLIENTS {
            there.extend(read_back(&client, &name(number)).await.events);
        }
        let fraudulent: BTreeSet<String> =
            events.iter().filter(|event| is_fraudulent(event)).map(|event| text(&event["id"])).collect();
        let acknowledged = acknowledged_ids(&acknowledged);
        let lost: Vec<&String> =
            acknowledged.difference(&there).filter(|id| !fraudulent.contains(*id)).collect();
        assert!(
            acknowledged.len() > kill * 500,
            "the kill came in the middle: {} were acknowledged",
            acknowledged.len()
        );
        assert!(lost.is_empty(), "acknowledged and lost after kill {kill}: {lost:?}");
    }

    let platform = Running::start(&data, &[&list]);
    let finished = import(&platform, &file, &acknowledged).wait().unwrap();
    assert!(finished.success(), "an import after the kills accounts for every event");
    let client = PlatformClient::new(platform.base().parse().unwrap());
    for number in 0..CLIENTS {
        let name = name(number);
        assert_eq!(read_back(&client, &name).await, implied(&events, &name), "what is known of {name}");
    }
    assert!(platform.stop().success(), "a platform that is told to stop ends well");
}
