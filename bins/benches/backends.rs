//! One worker on MongoDB and Redis, next to a bare loop of the drivers' calls, and screening with the list in the
//! process next to a round trip.
//!
//! Both sides store the same documents and as many links in batches of the same size, as many at once, with the same
//! write concern. The worker also screens, keeps ids unique over both collections and keeps the latest time of a link.
//! Rounds alternate, because machines are noisy; medians are printed.
//!
//! `scripts/test-servers run cargo bench -p mini-platform-bins --features full --bench backends [-- EVENTS ROUNDS]`

#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use mini_platform_core::Worker;
use mini_platform_core::decorate::InProcessList;
use mini_platform_core::domain::{
    Amount, BranchId, ClientId, Edge, Event, EventBatch, EventDetails, EventId, MatchMode, OccurredAt,
    OperationType, Outcome, Timestamp,
};
use mini_platform_core::port::{FraudRegistry, SystemClock, WorkerNode};
use mini_platform_core::testkit::{fraud_list, server};
use mini_platform_mongodb::{MongoConfig, MongoEventStore};
use mini_platform_redis::testkit::{Cleanup, unique_prefix};
use mini_platform_redis::{Redis, RedisConfig};
use mongodb::bson::{RawDocumentBuf, rawdoc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Database};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const BATCH: usize = 512;
const CLIENTS: u32 = 50_000;
const NAMES: usize = 20_000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What is measured: the share of operations, and how many batches are under way at once.
const CASES: [(f64, usize); 4] = [(0.0, 1), (0.0, 4), (0.1, 4), (0.6, 4)];

fn events(count: usize, operations: f64) -> Vec<Event> {
    let mut rng = SmallRng::seed_from_u64(11);
    let client = |number: u32| ClientId::new(format!("Client Number {number:06}")).unwrap();
    let mut time = 1_760_000_000_000_000_i64;
    (0..count)
        .map(|_| {
            let id = EventId::new(Uuid::now_v7().to_string()).unwrap();
            let (one, step) = (rng.random_range(0..CLIENTS), rng.random_range(1..CLIENTS));
            let amount = Amount::from_minor_units(rng.random_range(1..1_000_000)).unwrap();
            time += 700;
            let at = OccurredAt::Given(Timestamp::from_micros(time).unwrap());
            let currency = "EUR".parse().unwrap();
            if rng.random_bool(operations) {
                let branch = BranchId::new(format!("Branch {}", one % 97)).unwrap();
                Event::operation(id, client(one), branch, OperationType::Withdraw, amount, currency, at)
            } else {
                Event::transaction(id, client(one), client((one + step) % CLIENTS), amount, currency, at)
                    .unwrap()
            }
        })
        .collect()
}

fn batches(events: &[Event]) -> Vec<EventBatch> {
    events.chunks(BATCH).map(|chunk| EventBatch::new(chunk.to_vec()).unwrap()).collect()
}

/// A corner of each server for one round.
struct Corner {
    store: MongoEventStore,
    redis: Redis,
    database: Database,
    connection: MultiplexedConnection,
    cleanup: Cleanup,
}

impl Corner {
    async fn new(mongodb: &str, redis: &str) -> Self {
        let cleanup = Cleanup { url: redis.to_owned(), prefix: unique_prefix() };
        let config = MongoConfig::new(mongodb, &cleanup.prefix).with_timeout(TIMEOUT);
        let settings = RedisConfig::new(redis).with_key_prefix(&cleanup.prefix).with_timeout(TIMEOUT);
        Self {
            store: MongoEventStore::connect(&config).await.unwrap(),
            redis: Redis::connect(&settings).await.unwrap(),
            database: Client::with_uri_str(mongodb).await.unwrap().database(&cleanup.prefix),
            connection: redis::Client::open(redis).unwrap().get_multiplexed_async_connection().await.unwrap(),
            cleanup,
        }
    }

    async fn registry(&self) -> Arc<dyn FraudRegistry> {
        let registry = self.redis.registry(MatchMode::Normalized, Arc::new(SystemClock));
        let names: Vec<String> = (0..NAMES).map(|number| format!("Listed Person {number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        registry.replace(fraud_list(1, &names)).await.unwrap();
        Arc::new(registry)
    }

    async fn clear(self) {
        self.database.drop().await.unwrap();
        self.store.close().await;
    }
}

/// The list of a registry in this process; the task ends with the token.
async fn copy(registry: Arc<dyn FraudRegistry>, stop: &CancellationToken) -> Arc<InProcessList> {
    let list = Arc::new(InProcessList::new(registry, MatchMode::Normalized, Duration::from_secs(5)));
    let (keeper, stopped) = (Arc::clone(&list), stop.clone());
    tokio::spawn(async move { keeper.run(stopped).await });
    while !list.is_fresh() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    list
}

async fn through_the_worker(corner: Corner, batches: &[EventBatch], at_once: usize) -> Duration {
    let stop = CancellationToken::new();
    let list = copy(corner.registry().await, &stop).await;
    let adjacency = Arc::new(corner.redis.adjacency());
    let worker = Arc::new(Worker::new(Arc::new(corner.store.clone()), adjacency, list));
    let ingest = async |batch: EventBatch| {
        let worker = Arc::clone(&worker);
        let outcomes = tokio::spawn(async move { worker.ingest(&batch).await }).await.unwrap().unwrap();
        assert!(outcomes.iter().all(|finished| finished.outcome == Outcome::Stored));
    };
    let start = Instant::now();
    stream::iter(batches.to_vec()).for_each_concurrent(at_once, ingest).await;
    let elapsed = start.elapsed();
    stop.cancel();
    corner.clear().await;
    elapsed
}

/// What the bare loop sends for a batch.
#[derive(Clone)]
struct Prepared {
    transactions: Vec<RawDocumentBuf>,
    reservations: Vec<RawDocumentBuf>,
    operations: Vec<RawDocumentBuf>,
    links: Pipeline,
}

fn prepare(batch: &EventBatch, prefix: &str, reserves: bool) -> Prepared {
    let (mut transactions, mut reservations, mut operations) = (Vec::new(), Vec::new(), Vec::new());
    let mut links = Pipeline::new();
    for event in batch.events() {
        let (id, amount) = (event.id().as_str(), event.amount().minor_units());
        let (currency, at) = (event.currency().code(), event.occurred_at().timestamp());
        match event.details() {
            EventDetails::Transaction { sender, receiver } => transactions.push(rawdoc! {
                "_id": id, "sender": sender.as_str(), "receiver": receiver.as_str(), "amount": amount,
                "currency": currency, "occurred_at": at.as_micros(), "time_given": true, "recorded_at": 0_i64,
            }),
            EventDetails::Operation { client, branch, operation } => {
                operations.push(rawdoc! {
                    "_id": id, "client": client.as_str(), "branch": branch.as_str(), "operation": operation.as_str(),
                    "amount": amount, "currency": currency, "occurred_at": at.as_micros(), "time_given": true,
                    "recorded_at": 0_i64,
                });
                if reserves {
                    reservations.push(rawdoc! { "_id": id, "reserved_for": "operation" });
                }
            }
        }
        for edge in Edge::implied_by(event, at) {
            let (client, neighbour) = match &edge {
                Edge::Interaction { client, counterparty, .. } => (client, counterparty.as_str()),
                Edge::Branch { client, branch, .. } => (client, branch.as_str()),
            };
            links.cmd("ZADD").arg(format!("{prefix}:n:{client}")).arg(0).arg(neighbour).ignore();
            links.cmd("HSET").arg(format!("{prefix}:t:{client}")).arg(neighbour).arg(at.as_micros()).ignore();
        }
    }
    Prepared { transactions, reservations, operations, links }
}

async fn insert(database: &Database, collection: &str, documents: Vec<RawDocumentBuf>) {
    if !documents.is_empty() {
        let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        let collection = database.collection::<RawDocumentBuf>(collection);
        collection.insert_many(documents).ordered(false).write_concern(concern).await.unwrap();
    }
}

async fn store(database: Database, mut connection: MultiplexedConnection, prepared: Prepared) {
    let Prepared { transactions, reservations, operations, links } = prepared;
    tokio::join!(insert(&database, "transactions", transactions), async {
        insert(&database, "transactions", reservations).await;
        insert(&database, "operations", operations).await;
    });
    let () = links.query_async(&mut connection).await.unwrap();
}

async fn bare(corner: Corner, batches: &[EventBatch], at_once: usize, reserves: bool) -> Duration {
    let prefix = &corner.cleanup.prefix;
    let prepared: Vec<_> = batches.iter().map(|batch| prepare(batch, prefix, reserves)).collect();
    let send = async |prepared| {
        let sent = tokio::spawn(store(corner.database.clone(), corner.connection.clone(), prepared));
        sent.await.unwrap();
    };
    let start = Instant::now();
    stream::iter(prepared).for_each_concurrent(at_once, send).await;
    let elapsed = start.elapsed();
    corner.clear().await;
    elapsed
}

/// Times screenings of a batch's worth of names: through the copy, and by a round trip.
async fn screenings(mongodb: &str, redis: &str) {
    let corner = Corner::new(mongodb, redis).await;
    let registry = corner.registry().await;
    let stop = CancellationToken::new();
    let list = copy(Arc::clone(&registry), &stop).await;
    let names: Vec<_> =
        (0..BATCH).map(|number| ClientId::new(format!("Client Number {number:06}")).unwrap()).collect();
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        for (registry, times) in [(&*list as &dyn FraudRegistry, &mut near), (&*registry, &mut far)] {
            let start = Instant::now();
            assert_eq!(registry.screen(&names).await.unwrap().verdicts.len(), BATCH);
            times.push(start.elapsed());
        }
    }
    let (near, far) = (median(&mut near), median(&mut far));
    println!("screening {BATCH} names against {NAMES}: in the process {near:?}, in Redis {far:?}");
    stop.cancel();
    corner.clear().await;
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn per_second(events: usize, times: &mut [Duration]) -> f64 {
    f64::from(u32::try_from(events).unwrap()) / median(times).as_secs_f64()
}

#[tokio::main]
async fn main() {
    let (Some(mongodb), Some(redis)) = (server::url("MONGODB"), server::url("REDIS")) else { return };
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (count, rounds) = (numbers.next().unwrap_or(20_480), numbers.next().unwrap_or(5));
    screenings(&mongodb, &redis).await;
    for (operations, at_once) in CASES {
        let batches = batches(&events(count, operations));
        let (mut ours, mut same, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(through_the_worker(Corner::new(&mongodb, &redis).await, &batches, at_once).await);
            same.push(bare(Corner::new(&mongodb, &redis).await, &batches, at_once, true).await);
            plain.push(bare(Corner::new(&mongodb, &redis).await, &batches, at_once, false).await);
        }
        let ours = per_second(count, &mut ours);
        let (same, plain) = (per_second(count, &mut same), per_second(count, &mut plain));
        println!(
            "{:.0} % operations, {at_once} batches at once: worker {ours:.0} events/s; the same calls {same:.0}, ratio {:.2}; \
             without reserving ids {plain:.0}, ratio {:.2}",
            operations * 100.0,
            ours / same,
            ours / plain
        );
    }
}
