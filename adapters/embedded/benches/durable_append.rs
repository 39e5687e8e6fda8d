//! Events a second that the whole pipeline makes durable, next to what the storage engine does by itself.
//!
//! Both sides write the same keys and values, with the same settings and the same number of events per fsync; the
//! pipeline also screens, checks ids, merges links and answers. Rounds alternate, because the machine is noisy.
//!
//! `cargo bench -p mini-platform-embedded [-- EVENTS ROUNDS]`
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise and prints"
)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, UserKey, UserValue};
use futures_util::{StreamExt, stream};
use mini_platform_core::Worker;
use mini_platform_core::domain::{
    Amount, BranchId, ClientId, Event, EventBatch, EventId, MatchMode, OccurredAt, OperationType, Outcome,
    Timestamp,
};
use mini_platform_core::port::{FraudRegistry, WorkerNode};
use mini_platform_core::testkit::fraud_list;
use mini_platform_embedded::{DEFAULT_CACHE_BYTES, Embedded, EmbeddedConfig};
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 512;
const IN_FLIGHT: usize = 8;
const CLIENTS: u64 = 50_000;
const LISTED: u64 = 20_000;

/// SplitMix64: spreads numbers over all bits, the same on every run.
fn spread(number: u64) -> u64 {
    let mut x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn client(number: u64) -> ClientId {
    ClientId::new(format!("Client Number {:06}", number % CLIENTS)).unwrap()
}

/// Nine transactions to one operation, with ids like UUIDv7: close in time, close in order.
fn event(number: u64) -> Event {
    let random = spread(number);
    let id = EventId::new(
        &format!("019a2b3c-{:04x}-7{:03x}-8000-{random:012x}", number >> 12, number & 0xfff)[..36],
    );
    let amount = Amount::from_minor_units(i64::try_from(random % 1_000_000).unwrap() + 1).unwrap();
    let at = Timestamp::from_micros(1_760_000_000_000_000 + i64::try_from(number).unwrap() * 700).unwrap();
    let (id, at, currency) = (id.unwrap(), OccurredAt::Given(at), "EUR".parse().unwrap());
    if random.is_multiple_of(10) {
        let branch = BranchId::new(format!("Branch {}", random % 97)).unwrap();
        return Event::operation(
            id,
            client(random >> 8),
            branch,
            OperationType::Deposit,
            amount,
            currency,
            at,
        );
    }
    let (sender, receiver) =
        (client(random >> 8), client((random >> 8) + 1 + (random >> 40) % (CLIENTS - 1)));
    Event::transaction(id, sender, receiver, amount, currency, at).unwrap()
}

fn batches(events: usize) -> Vec<EventBatch> {
    let events: Vec<Event> = (0..u64::try_from(events).unwrap()).map(event).collect();
    events.chunks(BATCH).map(|chunk| EventBatch::new(chunk.to_vec()).unwrap()).collect()
}

/// Takes the batches through the pipeline, several at once, and returns the time until all are durable.
async fn pipeline(dir: &Path, batches: &[EventBatch]) -> Duration {
    let embedded = Embedded::open(&EmbeddedConfig::new(dir)).unwrap();
    let registry = embedded.registry(MatchMode::default()).unwrap();
    let names: Vec<String> = (0..LISTED).map(|n| format!("Somebody Else {n}")).collect();
    registry.replace(fraud_list(1, &names.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    let worker = Arc::new(Worker::new(
        Arc::new(embedded.event_store()),
        Arc::new(embedded.adjacency()),
        Arc::new(registry),
    ));
    let start = Instant::now();
    stream::iter(batches.to_vec())
        .for_each_concurrent(IN_FLIGHT, |batch| ingest(Arc::clone(&worker), batch))
        .await;
    let elapsed = start.elapsed();
    embedded.close().await;
    elapsed
}

async fn ingest(worker: Arc<Worker>, batch: EventBatch) {
    let outcomes = tokio::spawn(async move { worker.ingest(&batch).await }).await.unwrap().unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.outcome == Outcome::Stored));
}

/// What one commit of the raw side writes.
type RawBatch = Vec<(usize, UserKey, UserValue)>;

const KEYSPACES: [&str; 3] = ["events", "timeline", "links"];

fn raw_store(dir: &Path) -> (Database, [Keyspace; 3]) {
    let builder = Database::builder(dir.join("store")).cache_size(DEFAULT_CACHE_BYTES).worker_threads(1);
    let db = builder.max_journaling_size(64 << 20).open().unwrap();
    let keyspaces = KEYSPACES.map(|name| db.keyspace(name, KeyspaceCreateOptions::default).unwrap());
    (db, keyspaces)
}

/// Reads back what the pipeline wrote and cuts it into as many commits as the pipeline made.
fn recorded(dir: &Path, events: &[EventBatch]) -> Vec<RawBatch> {
    let (db, [store, timeline, links]) = raw_store(dir);
    let commits = usize::try_from(db.seqno()).unwrap();
    let mut timelines: HashMap<Vec<u8>, Vec<UserKey>> = HashMap::new();
    for entry in timeline.iter() {
        let key = entry.key().unwrap();
        timelines.entry(key[key.len() - 36..].to_vec()).or_default().push(key);
    }
    let mut links = links.iter().map(|entry| entry.into_inner().unwrap());
    let mut items = Vec::new();
    for event in events.iter().flat_map(EventBatch::events) {
        let id = event.id().as_str();
        let mut writes = vec![(0, UserKey::from(id), store.get(id).unwrap().unwrap())];
        let keys = timelines.remove(id.as_bytes()).unwrap();
        writes.extend(links.by_ref().take(keys.len()).map(|(key, value)| (2, key, value)));
        writes.extend(keys.into_iter().map(|key| (1, key, UserValue::from([]))));
        items.push(writes);
    }
    let size = items.len().div_ceil(commits);
    items.chunks(size).map(|chunk| chunk.concat()).collect()
}

/// Writes what was recorded, straight into the engine.
fn raw(dir: &Path, batches: &[RawBatch]) -> Duration {
    // Makes the keyspaces with the adapter's own settings.
    drop(Embedded::open(&EmbeddedConfig::new(dir)).unwrap());
    let (db, keyspaces) = raw_store(dir);
    let start = Instant::now();
    for writes in batches {
        let mut batch = db.batch().durability(Some(PersistMode::SyncData));
        for (keyspace, key, value) in writes {
            batch.insert(&keyspaces[*keyspace], key.clone(), value.clone());
        }
        batch.commit().unwrap();
    }
    start.elapsed()
}

fn per_second(events: usize, mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    f64::from(u32::try_from(events).unwrap()) / times[times.len() / 2].as_secs_f64()
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (events, rounds) = (numbers.next().unwrap_or(200_000), numbers.next().unwrap_or(5));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let batches = batches(events);
    let (mut piped, mut bare) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        piped.push(runtime.block_on(pipeline(one.path(), &batches)));
        let writes = recorded(one.path(), &batches);
        bare.push(raw(other.path(), &writes));
        let (piped, bare) = (piped[piped.len() - 1].as_secs_f64(), bare[bare.len() - 1].as_secs_f64());
        let group = events / writes.len();
        println!(
            "round {round}: pipeline {piped:.2} s, raw {bare:.2} s, ratio {:.2}, {group} events per fsync",
            bare / piped
        );
    }
    let (piped, bare) = (per_second(events, piped), per_second(events, bare));
    println!("median: pipeline {piped:.0} events/s, raw {bare:.0} events/s, ratio {:.2}", piped / bare);
}
