//! Senders that send each event until it is acknowledged, and the account of what became of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::stream;
use mini_platform_bins::client::{ClientError, EventResult, PlatformClient, ResultOutcome, path_segment};
use serde_json::{Value, json};

use super::{Running, all_items, wait_until};

const SENDERS: usize = 4;
const CLIENTS: usize = 50;
const BATCH: usize = 40;

/// The receiver whom no fraud list may leave out.
pub(crate) const LISTED: &str = "Mallory";

pub(crate) fn event(sender: usize, number: usize) -> Value {
    let id = format!("s{sender}-{number}");
    let (from, step) = ((number * 7 + sender) % CLIENTS, number % (CLIENTS - 1) + 1);
    let at = format!("2026-01-{:02}T{:02}:00:00Z", number % 28 + 1, number % 24);
    let client = |number: usize| format!("Client {}", number % CLIENTS);
    match number % 10 {
        0 => {
            json!({"type": "transaction", "id": id, "sender": client(from), "receiver": LISTED, "amount": 5,
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
pub(crate) struct Ledger {
    acknowledged: Mutex<BTreeMap<String, ResultOutcome>>,
    refused: AtomicUsize,
}

impl Ledger {
    /// Returns how many events are acknowledged.
    pub(crate) fn count(&self) -> usize {
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

fn client_of(platform: &Running) -> PlatformClient {
    PlatformClient::new(platform.base().parse().unwrap())
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

/// Sends events once; what is not answered may be sent again. A stream that breaks off counts as one refusal.
async fn deliver(client: &PlatformClient, events: &[Value], ledger: &Ledger) {
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let answered = async {
        let mut results = client.post_events(stream::iter([lines.into()])).await?;
        while let Some(batch) = results.next_batch().await? {
            batch.into_iter().for_each(|result| ledger.note(result));
        }
        Ok::<(), ClientError>(())
    };
    if answered.await.is_err() {
        ledger.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Senders under way, until they are finished.
pub(crate) struct Load {
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<usize>>,
}

impl Load {
    pub(crate) fn start(platform: &Running) -> Self {
        let (ledger, stop) = (Arc::<Ledger>::default(), Arc::<AtomicBool>::default());
        let senders = (0..SENDERS)
            .map(|sender| {
                tokio::spawn(send(client_of(platform), sender, Arc::clone(&ledger), Arc::clone(&stop)))
            })
            .collect();
        Self { ledger, stop, senders }
    }

    /// Waits until so many events more are acknowledged: the platform works.
    pub(crate) fn go_on(&self, platform: &Running, events: usize) {
        let enough = self.ledger.count() + events;
        wait_until("events are acknowledged again", || platform.log(), || self.ledger.count() >= enough);
    }

    /// Returns how many events were put off so far: refused, one for each time, or parked.
    pub(crate) fn put_off(&self) -> usize {
        let acknowledged = self.ledger.acknowledged.lock().unwrap();
        let parked = acknowledged.values().filter(|outcome| **outcome == ResultOutcome::Parked).count();
        self.ledger.refused.load(Ordering::Relaxed) + parked
    }

    /// Returns every event that was sent; all are acknowledged by then.
    pub(crate) async fn finish(self) -> (Vec<Value>, Arc<Ledger>) {
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

/// Waits until all that was parked is finished.
fn wait_until_nothing_is_parked(platform: &Running) {
    let state = || format!("{}\n{}", platform.get("/v1/parked").1, platform.log());
    wait_until("nothing is parked any more", state, || {
        platform.get("/v1/parked").1.contains(r#""parked":0,"dead_letters":0"#)
    });
}

/// Compares what is stored with what was acknowledged, client by client, once nothing is parked any more.
pub(crate) async fn assert_each_is_stored_once(platform: &Running, events: &[Value], ledger: &Ledger) {
    wait_until_nothing_is_parked(platform);
    let client = client_of(platform);
    let acknowledged = ledger.acknowledged.lock().unwrap().clone();
    let mut expected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events {
        let id = event["id"].as_str().unwrap();
        let outcome = *acknowledged.get(id).unwrap();
        if event["receiver"] == LISTED {
            let is_refused = matches!(outcome, ResultOutcome::Fraudulent | ResultOutcome::Parked);
            assert!(is_refused, "{id}: no screening was skipped: {outcome:?}");
            continue;
        }
        let is_promised =
            matches!(outcome, ResultOutcome::Stored | ResultOutcome::Duplicate | ResultOutcome::Parked);
        assert!(is_promised, "{id}: {outcome:?}");
        for party in ["sender", "receiver", "client"] {
            expected.entry(event[party].as_str().unwrap_or_default()).or_default().insert(id);
        }
    }
    expected.remove("");
    for (name, expected) in &expected {
        let stored = stored_ids(&client, name).await;
        let distinct: BTreeSet<&str> = stored.iter().map(String::as_str).collect();
        assert_eq!(stored.len(), distinct.len(), "{name}: no event is there twice");
        assert_eq!(distinct, *expected, "{name}: all that was acknowledged is there");
    }
    assert!(stored_ids(&client, LISTED).await.is_empty(), "nothing fraudulent is stored");
}
