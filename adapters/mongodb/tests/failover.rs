//! The primary of a set goes away under load.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use mini_platform_core::domain::{AppendOutcome, EventBatch};
use mini_platform_core::error::Retry;
use mini_platform_core::port::EventStore;
use mini_platform_core::testkit::{at, batch, deposit, id, transfer};
use mini_platform_mongodb::testkit::MongoSet;
use mini_platform_mongodb::{MongoConfig, MongoEventStore};
use mongodb::Client;
use mongodb::bson::{Document, doc};

const WRITERS: usize = 4;
const BATCH: i64 = 20;

/// How long the load may go on without an acknowledgement before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

fn events(writer: usize, round: usize) -> EventBatch {
    batch((0..BATCH).map(|n| {
        let name = format!("w{writer}-{round}-{n}");
        if n % 3 == 0 { deposit(&name, "ann", "north", n) } else { transfer(&name, "ann", "bob", n) }
    }))
}

/// Sends a batch until it is acknowledged.
async fn send(store: &MongoEventStore, sent: &EventBatch) -> Vec<AppendOutcome> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.append(sent, at(1)).await {
            Ok(outcomes) => return outcomes,
            Err(error) => {
                assert_ne!(error.retry(), Retry::Never, "a failover passes: {error:?}");
                assert!(Instant::now() < deadline, "{error:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What writers and test tell each other.
#[derive(Default)]
struct Load {
    acknowledged: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Waits until so many more batches are acknowledged.
    async fn more(&self, batches: usize) {
        let (goal, deadline) =
            (self.acknowledged.load(Ordering::SeqCst) + batches, Instant::now() + PATIENCE);
        while self.acknowledged.load(Ordering::SeqCst) < goal {
            assert!(Instant::now() < deadline, "the load does not go on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn write(store: MongoEventStore, writer: usize, load: Arc<Load>) -> usize {
    for round in 0.. {
        if load.over.load(Ordering::SeqCst) {
            return round;
        }
        let outcomes = send(&store, &events(writer, round)).await;
        assert!(outcomes.iter().all(|outcome| *outcome != AppendOutcome::Conflict), "{outcomes:?}");
        load.acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_event_is_lost_or_doubled_when_the_primary_goes_away() {
    let Some(mut set) = MongoSet::start(3).await else { return };
    let config = MongoConfig::new(set.uri(), "bank").with_timeout(Duration::from_secs(10));
    let store = MongoEventStore::connect(&config).await.unwrap();
    let load = Arc::new(Load::default());
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer, Arc::clone(&load)))).collect();
    load.more(10).await;
    let killed = set.kill_primary().await;
    load.more(20).await;
    set.restart(killed);
    set.wait_until_steady().await;
    load.more(10).await;
    set.step_down().await;
    load.more(20).await;
    load.over.store(true, Ordering::SeqCst);
    let mut rounds = Vec::new();
    for writer in writers {
        rounds.push(writer.await.unwrap());
    }
    set.wait_until_steady().await;
    check(&set, &store, &rounds).await;
}

/// Counts every acknowledged event and asks for it.
async fn check(set: &MongoSet, store: &MongoEventStore, rounds: &[usize]) {
    let database = Client::with_uri_str(set.uri()).await.unwrap().database("bank");
    let mut seen: HashMap<String, usize> = HashMap::new();
    for collection in ["transactions", "operations"] {
        let found = database.collection::<Document>(collection);
        let found = found.find(doc! { "amount": { "$exists": true } }).await.unwrap();
        for document in found.try_collect::<Vec<_>>().await.unwrap() {
            *seen.entry(document.get_str("_id").unwrap().to_owned()).or_default() += 1;
        }
    }
    for (writer, rounds) in rounds.iter().enumerate() {
        for round in 0..*rounds {
            for event in events(writer, round).events() {
                assert_eq!(seen.remove(event.id().as_str()), Some(1), "{:?} is there once", event.id());
            }
        }
    }
    assert!(seen.is_empty(), "nothing is there that was not acknowledged: {seen:?}");
    let last = store.get(&id("w0-0-0")).await.unwrap();
    assert!(last.is_some());
}
