//! Events a second that the store makes durable, next to a bare loop of the driver's inserts.
//!
//! Both sides write the same documents in batches of the same size to the same indexes, with the same write concern,
//! as many batches at once. The store also keeps ids unique over both collections, and answers. Rounds alternate,
//! because the machine is noisy.
//!
//! `cargo bench -p mini-platform-mongodb [-- EVENTS ROUNDS]`, on the server of `MP_TEST_MONGODB_URL`, else on one
//! that it starts with the program in `MP_TEST_MONGOD`.
#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise and prints")]

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future, stream};
use mini_platform_core::domain::{
    Amount, AppendOutcome, BranchId, ClientId, Event, EventBatch, EventDetails, EventId, OccurredAt,
    OperationType, Timestamp,
};
use mini_platform_core::port::EventStore;
use mini_platform_core::testkit::server;
use mini_platform_mongodb::testkit::MongoSet;
use mini_platform_mongodb::{MongoConfig, MongoEventStore};
use mongodb::bson::{RawDocumentBuf, oid::ObjectId, rawdoc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Collection, Database};

const BATCH: usize = 512;
const CLIENTS: u64 = 50_000;

/// What is measured: one event of so many is an operation, and so many batches are under way at once.
const CASES: [(u64, usize); 4] = [(10, 1), (10, 4), (1, 4), (u64::MAX, 4)];

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

/// Ids are like UUIDv7: close in time, close in order.
fn event(number: u64, one_operation_in: u64) -> Event {
    let random = spread(number);
    let id = format!("019a2b3c-{:04x}-7{:03x}-8000-{random:016x}", number >> 12, number & 0xfff);
    let id = EventId::new(id.get(..36).unwrap()).unwrap();
    let amount = Amount::from_minor_units(i64::try_from(random % 1_000_000).unwrap() + 1).unwrap();
    let at = Timestamp::from_micros(1_760_000_000_000_000 + i64::try_from(number).unwrap() * 700).unwrap();
    let (at, currency) = (OccurredAt::Given(at), "EUR".parse().unwrap());
    let first = client(random >> 8);
    if number.is_multiple_of(one_operation_in) {
        let branch = BranchId::new(format!("Branch {}", random % 97)).unwrap();
        return Event::operation(id, first, branch, OperationType::Deposit, amount, currency, at);
    }
    let second = client((random >> 8) + 1 + (random >> 40) % (CLIENTS - 1));
    Event::transaction(id, first, second, amount, currency, at).unwrap()
}

fn document(event: &Event) -> RawDocumentBuf {
    let (id, amount) = (event.id().as_str(), event.amount().minor_units());
    let (currency, at) = (event.currency().code(), event.occurred_at().timestamp().as_micros());
    match event.details() {
        EventDetails::Transaction { sender, receiver } => rawdoc! {
            "_id": id, "sender": sender.as_str(), "receiver": receiver.as_str(),
            "amount": amount, "currency": currency, "occurred_at": at, "time_given": true, "recorded_at": 0_i64,
        },
        EventDetails::Operation { client, branch, operation } => rawdoc! {
            "_id": id, "client": client.as_str(), "branch": branch.as_str(), "operation": operation.as_str(),
            "amount": amount, "currency": currency, "occurred_at": at, "time_given": true, "recorded_at": 0_i64,
        },
    }
}

/// A database of one's own, with the indexes of the store.
async fn fresh(uri: &str) -> (MongoEventStore, Database) {
    let name = format!("mp_bench_{}", ObjectId::new().to_hex());
    let config = MongoConfig::new(uri, &name).with_timeout(Duration::from_secs(60));
    let store = MongoEventStore::connect(&config).await.unwrap();
    (store, Client::with_uri_str(uri).await.unwrap().database(&name))
}

async fn appended(uri: &str, batches: &[EventBatch], in_flight: usize) -> Duration {
    let (store, database) = fresh(uri).await;
    let start = Instant::now();
    let append = async |batch: EventBatch| {
        let store = store.clone();
        let outcomes = tokio::spawn(async move { store.append(&batch, Timestamp::UNIX_EPOCH).await }).await;
        assert!(outcomes.unwrap().unwrap().iter().all(|outcome| *outcome == AppendOutcome::Stored));
    };
    stream::iter(batches.to_vec()).for_each_concurrent(in_flight, append).await;
    let elapsed = start.elapsed();
    database.drop().await.unwrap();
    store.close().await;
    elapsed
}

async fn insert(collection: Collection<RawDocumentBuf>, documents: Vec<RawDocumentBuf>) {
    if !documents.is_empty() {
        let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        collection.insert_many(documents).ordered(false).write_concern(concern).await.unwrap();
    }
}

async fn bare(uri: &str, batches: &[EventBatch], in_flight: usize) -> Duration {
    let (store, database) = fresh(uri).await;
    let documents: Vec<(Vec<_>, Vec<_>)> = batches
        .iter()
        .map(|batch| {
            let is_transaction = |event: &&Event| matches!(event.details(), EventDetails::Transaction { .. });
            let (transactions, operations): (Vec<_>, Vec<_>) =
                batch.events().iter().partition(is_transaction);
            (transactions.into_iter().map(document).collect(), operations.into_iter().map(document).collect())
        })
        .collect();
    let start = Instant::now();
    let append = async |(transactions, operations)| {
        let both = future::join(
            insert(database.collection("transactions"), transactions),
            insert(database.collection("operations"), operations),
        );
        tokio::spawn(both).await.unwrap();
    };
    stream::iter(documents).for_each_concurrent(in_flight, append).await;
    let elapsed = start.elapsed();
    database.drop().await.unwrap();
    store.close().await;
    elapsed
}

fn per_second(events: usize, times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    f64::from(u32::try_from(events).unwrap()) / median.as_secs_f64()
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (events, rounds) = (numbers.next().unwrap_or(20_480), numbers.next().unwrap_or(5));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let set = if let Some(uri) = server::url("MONGODB") { Err(uri) } else { Ok(MongoSet::start(1).await) };
        let uri = match &set {
            Err(uri) => uri.clone(),
            Ok(Some(set)) => set.uri(),
            Ok(None) => return,
        };
        for (one_operation_in, in_flight) in CASES {
            let events_of = (1..=u64::try_from(events).unwrap()).map(|n| event(n, one_operation_in));
            let events_of: Vec<Event> = events_of.collect();
            let batches: Vec<EventBatch> =
                events_of.chunks(BATCH).map(|chunk| EventBatch::new(chunk.to_vec()).unwrap()).collect();
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                ours.push(appended(&uri, &batches, in_flight).await);
                theirs.push(bare(&uri, &batches, in_flight).await);
            }
            let (ours, theirs) = (per_second(events, &mut ours), per_second(events, &mut theirs));
            let mix = match one_operation_in {
                1 => "only operations",
                u64::MAX => "only transactions",
                _ => "one operation in ten",
            };
            println!(
                "{mix}, {in_flight} batches at once: append {ours:.0} events/s, bare insert_many {theirs:.0} events/s, ratio {:.2}",
                ours / theirs
            );
        }
    });
}
