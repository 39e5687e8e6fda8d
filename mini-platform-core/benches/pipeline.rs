//! Events per second of the pipeline on memory stores, one core, against a bare log with a set of ids.
//!
//! `cargo bench -p mini-platform-core --bench pipeline`. Rounds alternate, medians are printed, seeds are fixed.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use futures_util::{StreamExt, stream};
use mini_platform_core::Worker;
use mini_platform_core::domain::{
    Amount, BranchId, ClientId, Currency, Etag, Event, EventBatch, EventId, ListEntry, ListVersion,
    OccurredAt, OperationType, StoredEvent, Timestamp,
};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{FraudList, FraudRegistry, WorkerNode};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const EVENTS: usize = 512 * 400;
const BATCH: usize = 512;
const CLIENTS: u32 = 5_000;
const ROUNDS: usize = 7;

fn events() -> Vec<Event> {
    let mut rng = SmallRng::seed_from_u64(7);
    let currency: Currency = "CZK".parse().unwrap();
    let mut time = 1_700_000_000_000_000_i64;
    (0..EVENTS)
        .map(|number| {
            let id = EventId::new(format!("bench-{number}")).unwrap();
            let one = rng.random_range(0..CLIENTS);
            let other = (one + rng.random_range(1..10)) % CLIENTS;
            let client = |number: u32| ClientId::new(format!("A{number}")).unwrap();
            let amount = Amount::from_minor_units(rng.random_range(1..1_000_000)).unwrap();
            time += 1_000;
            let at = OccurredAt::Given(Timestamp::from_micros(time).unwrap());
            if rng.random_bool(0.7) {
                Event::transaction(id, client(one), client(other), amount, currency, at).unwrap()
            } else {
                let branch = BranchId::new(format!("branch {}", one % 77)).unwrap();
                Event::operation(id, client(one), branch, OperationType::Withdraw, amount, currency, at)
            }
        })
        .collect()
}

async fn worker() -> Worker {
    let names: Vec<ListEntry> =
        (0..10_000).map(|number| ListEntry::new(format!("Listed Person {number}")).unwrap()).collect();
    let registry = MemoryFraudRegistry::default();
    let version = ListVersion::new(Timestamp::UNIX_EPOCH, Etag::new("bench").unwrap());
    let list = FraudList { version, source: "bench".to_owned(), chunks: stream::iter([Ok(names)]).boxed() };
    registry.replace(list).await.unwrap();
    let (events, adjacency) = (MemoryEventStore::default(), MemoryAdjacencyStore::default());
    Worker::new(Arc::new(events), Arc::new(adjacency), Arc::new(registry))
}

async fn pipeline(batches: &[EventBatch]) -> f64 {
    let worker = worker().await;
    let start = Instant::now();
    for batch in batches {
        std::hint::black_box(worker.ingest(batch).await.unwrap());
    }
    rate(start)
}

/// The least that any store in memory does to keep each event once: a log, and a set of ids.
fn bare(batches: &[EventBatch]) -> f64 {
    let mut ids: HashSet<EventId, RandomState> = HashSet::default();
    let mut log: Vec<StoredEvent> = Vec::new();
    let start = Instant::now();
    for event in batches.iter().flat_map(EventBatch::events) {
        if ids.insert(event.id().clone()) {
            log.push(StoredEvent { event: event.clone(), recorded_at: Timestamp::UNIX_EPOCH });
        }
    }
    let rate = rate(start);
    std::hint::black_box((ids, log));
    rate
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn rate(start: Instant) -> f64 {
    EVENTS as f64 / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let events = events();
    let batches: Vec<EventBatch> =
        events.chunks(BATCH).map(|chunk| EventBatch::new(chunk.to_vec()).unwrap()).collect();
    let (mut pipelines, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bares.push(bare(&batches));
        pipelines.push(runtime.block_on(pipeline(&batches)));
    }
    let (pipeline, bare) = (median(pipelines), median(bares));
    println!("pipeline on memory stores, batches of {BATCH}, one core");
    println!("  log and id set {:>8.2} M events/s  (ceiling)", bare / 1e6);
    println!("  whole pipeline {:>8.2} M events/s", pipeline / 1e6);
    println!("  ratio          {:>8.2}", pipeline / bare);
}
