//! Servers that are killed and come back under load: nothing acknowledged is lost or doubled, screening fails closed,
//! and the platform recovers without a restart of its own.
//!
//! Skipped without servers: `scripts/test-servers run cargo nextest run -p mini-platform-bins --features full`.

#![cfg(feature = "full")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use mini_platform_bins::client::{EventResult, PlatformClient, ResultOutcome, path_segment};
use mini_platform_mongodb::testkit::MongoSet;
use mini_platform_redis::testkit::RedisServer;
use serde_json::{Value, json};
use support::{PROGRAM, Running, all_items, complaint, printed, wait_until};
use tempfile::TempDir;

const SENDERS: usize = 4;
const CLIENTS: usize = 50;
const BATCH: usize = 40;
/// How many events are acknowledged between two blows.
const BETWEEN_BLOWS: usize = 2_000;

/// The platform on servers of its own.
struct Setup {
    mongodb: MongoSet,
    redis: RedisServer,
    platform: Running,
    settings: Vec<String>,
    _folder: TempDir,
}

async fn setup(nodes: usize, more: &[&str]) -> Option<Setup> {
    let (mongodb, redis) = (MongoSet::start(nodes).await?, RedisServer::start()?);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&mongodb, &redis, folder.path(), more);
    let sets: Vec<&str> = settings.iter().map(String::as_str).collect();
    let platform = Running::spawn(Command::new(PROGRAM), &sets, "ready");
    Some(Setup { mongodb, redis, platform, settings, _folder: folder })
}

fn settings(mongodb: &MongoSet, redis: &RedisServer, folder: &Path, more: &[&str]) -> Vec<String> {
    let list = folder.join("list.txt");
    fs::write(&list, "Mallory\n").unwrap();
    let own = [
        "http.listen=127.0.0.1:0".to_owned(),
        "store.backend=mongodb".to_owned(),
        "adjacency.backend=redis".to_owned(),
        "registry.backend=redis".to_owned(),
        format!("mongodb.uri={}", mongodb.uri()),
        format!("redis.url={}", redis.url()),
        format!("feeder.source=file:{}", list.display()),
        "dispatch.timeout=3s".to_owned(),
    ];
    own.into_iter().chain(more.iter().map(|more| (*more).to_owned())).collect()
}

impl Setup {
    fn client(&self) -> PlatformClient {
        PlatformClient::new(self.platform.base().parse().unwrap())
    }

    fn wait_until(&self, what: &str, holds: impl FnMut() -> bool) {
        wait_until(what, || self.platform.log(), holds);
    }
}

fn event(sender: usize, number: usize) -> Value {
    let id = format!("s{sender}-{number}");
    let (from, step) = ((number * 7 + sender) % CLIENTS, number % (CLIENTS - 1) + 1);
    let at = format!("2026-01-{:02}T{:02}:00:00Z", number % 28 + 1, number % 24);
    let client = |number: usize| format!("Client {}", number % CLIENTS);
    match number % 10 {
        0 => {
            json!({"type": "transaction", "id": id, "sender": client(from), "receiver": "Mallory", "amount": 5,
                    "occurred_at": at})
        }
        1..=3 => {
            json!({"type": "operation", "id": id, "client": client(from), "branch": format!("B{}", step % 5),
                        "operation": "deposit", "amount": 5, "occurred_at": at})
        }
        _ => json!({"type": "transaction", "id": id, "sender": client(from), "receiver": client(from + step),
                    "amount": 5, "occurred_at": at}),
    }
}

/// What the platform said of each event, and how often it promised nothing.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<BTreeMap<String, ResultOutcome>>,
    refused: AtomicUsize,
}

impl Ledger {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    fn note(&self, result: EventResult) {
        assert!(
            result.outcome.is_acknowledged() || result.outcome == ResultOutcome::Unavailable,
            "an event is taken or put off, never {:?}",
            result.outcome
        );
        if result.outcome.is_acknowledged() {
            self.acknowledged.lock().unwrap().insert(result.id.unwrap(), result.outcome);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends batch after batch, each again until all of it is acknowledged.
async fn send(client: PlatformClient, sender: usize, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) -> usize {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut open: Vec<Value> = (sent..sent + BATCH).map(|number| event(sender, number)).collect();
        sent += BATCH;
        while !open.is_empty() {
            deliver(&client, &open, &ledger).await;
            let acknowledged = ledger.acknowledged.lock().unwrap();
            open.retain(|event| !acknowledged.contains_key(event["id"].as_str().unwrap()));
        }
    }
    sent
}

/// Sends events once; what is not answered may be sent again.
async fn deliver(client: &PlatformClient, events: &[Value], ledger: &Ledger) {
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let Ok(mut results) = client.post_events(stream::iter([lines.into()])).await else { return };
    while let Ok(Some(batch)) = results.next_batch().await {
        batch.into_iter().for_each(|result| ledger.note(result));
    }
}

/// Senders under way, until they are finished.
struct Load {
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<usize>>,
}

impl Load {
    fn start(setup: &Setup) -> Self {
        let (ledger, stop) = (Arc::<Ledger>::default(), Arc::<AtomicBool>::default());
        let senders = (0..SENDERS)
            .map(|sender| tokio::spawn(send(setup.client(), sender, Arc::clone(&ledger), Arc::clone(&stop))))
            .collect();
        Self { ledger, stop, senders }
    }

    /// Waits until so many events more are acknowledged: the platform works.
    fn go_on(&self, setup: &Setup, events: usize) {
        let enough = self.ledger.count() + events;
        setup.wait_until("events are acknowledged again", || self.ledger.count() >= enough);
    }

    /// Returns every event that was sent; all are acknowledged by then.
    async fn finish(self) -> (Vec<Value>, Arc<Ledger>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut events = Vec::new();
        for (sender, sending) in self.senders.into_iter().enumerate() {
            let sent = sending.await.unwrap();
            events.extend((0..sent).map(|number| event(sender, number)));
        }
        (events, self.ledger)
    }
}

/// Returns the ids of a client's events, with repetitions if there are any.
async fn stored_ids(client: &PlatformClient, name: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for kind in ["transactions", "operations"] {
        let items = all_items(client, &format!("/v1/clients/{}/{kind}", path_segment(name))).await;
        ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
    }
    ids
}

/// Compares what is stored with what was acknowledged, client by client.
async fn assert_each_is_stored_once(setup: &Setup, events: &[Value], ledger: &Ledger) {
    let acknowledged = ledger.acknowledged.lock().unwrap().clone();
    let mut expected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events {
        let id = event["id"].as_str().unwrap();
        let outcome = acknowledged[id];
        if event["receiver"] == "Mallory" {
            assert_eq!(outcome, ResultOutcome::Fraudulent, "{id}: no screening was skipped");
            continue;
        }
        let is_stored = matches!(outcome, ResultOutcome::Stored | ResultOutcome::Duplicate);
        assert!(is_stored, "{id}: {outcome:?}");
        for party in ["sender", "receiver", "client"] {
            expected.entry(event[party].as_str().unwrap_or_default()).or_default().insert(id);
        }
    }
    expected.remove("");
    for (name, expected) in &expected {
        let stored = stored_ids(&setup.client(), name).await;
        let distinct: BTreeSet<&str> = stored.iter().map(String::as_str).collect();
        assert_eq!(stored.len(), distinct.len(), "{name}: no event is there twice");
        assert_eq!(distinct, *expected, "{name}: all that was acknowledged is there");
    }
    assert!(stored_ids(&setup.client(), "Mallory").await.is_empty(), "nothing fraudulent is stored");
}

fn assert_links_are_as_implied(setup: &Setup) {
    let sets = setup.settings.iter().flat_map(|setting| ["--set", setting]);
    let verified = Command::new(PROGRAM).arg("verify").args(sets).output().unwrap();
    assert!(verified.status.success(), "{}{}", printed(&verified), complaint(&verified));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_servers_are_killed_under_load() {
    let Some(mut setup) = setup(3, &[]).await else { return };
    let load = Load::start(&setup);
    load.go_on(&setup, BETWEEN_BLOWS);
    for _ in 0..2 {
        let primary = setup.mongodb.kill_primary().await;
        load.go_on(&setup, BETWEEN_BLOWS);
        setup.mongodb.restart(primary);
        setup.mongodb.wait_until_steady().await;
        setup.redis.kill();
        // Down for a while: some batches are stored and cannot be linked.
        tokio::time::sleep(Duration::from_secs(1)).await;
        setup.redis.restart();
        load.go_on(&setup, BETWEEN_BLOWS);
    }
    let (events, ledger) = load.finish().await;
    assert_each_is_stored_once(&setup, &events, &ledger).await;
    assert_links_are_as_implied(&setup);
    eprintln!("{} acknowledged, {} put off", ledger.count(), ledger.refused.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_mongodb_that_is_gone_for_a_while_costs_nothing_but_time() {
    let Some(mut setup) = setup(1, &[]).await else { return };
    let load = Load::start(&setup);
    load.go_on(&setup, BETWEEN_BLOWS);
    setup.mongodb.kill(0);
    setup.wait_until("events are put off", || load.ledger.refused.load(Ordering::Relaxed) > 0);
    setup.mongodb.restart(0);
    load.go_on(&setup, BETWEEN_BLOWS);
    let (events, ledger) = load.finish().await;
    assert_each_is_stored_once(&setup, &events, &ledger).await;
    assert_links_are_as_implied(&setup);
}

/// Asks whether a name is on the list.
fn check(setup: &Setup, name: &str) -> (u16, String) {
    setup.platform.get(&format!("/v1/fraud-list/check?name={name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn screening_goes_on_with_the_copy_and_fails_closed_when_that_is_too_old() {
    let Some(mut setup) = setup(1, &["registry.max_staleness=5s"]).await else { return };
    setup.wait_until("there is a copy of the list", || {
        setup.platform.log().contains("screening uses the copy")
    });
    setup.redis.kill();
    let (status, answer) = check(&setup, "Mallory");
    assert_eq!((status, answer.contains("\"hit\"")), (200, true), "the copy answers: {answer}");
    setup.wait_until("the copy is too old", || check(&setup, "Mallory").0 == 503);
    let refused = setup.client().post_event(&event(0, 5)).await;
    let told = refused.map_or_else(|error| error.to_string(), |result| result["outcome"].to_string());
    assert!(!told.contains("stored"), "nothing is stored unscreened: {told}");
    let stored = setup.client().get("/v1/events/s0-5").await;
    assert!(stored.is_err(), "nothing is stored unscreened: {stored:?}");
    setup.redis.restart();
    setup.wait_until("screening is back", || check(&setup, "Mallory").0 == 200);
    assert!(!setup.platform.log().contains("panicked"));
}
