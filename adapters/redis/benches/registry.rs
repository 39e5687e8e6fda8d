//! The registry beside a bare loop of the same driver calls, on a server of its own.
//!
//! ```sh
//! cargo bench -p mini-platform-redis --bench registry [-- NAMES]
//! ```
//!
//! Prints what screening a batch costs through the registry against the same lookups without it, and how long a
//! list of a million names takes to come into force and how much this process grows meanwhile.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use mini_platform_core::domain::{ClientId, ListEntry, MatchMode};
use mini_platform_core::port::{FraudList, FraudRegistry, SystemClock};
use mini_platform_core::testkit::{client, list_version};
use mini_platform_redis::testkit::RedisServer;
use mini_platform_redis::{Redis, RedisConfig};

/// As many subjects as a usual batch of events has.
const BATCH: usize = 512;
const ROUNDS: u32 = 2_000;
/// Alternating, so that whatever else the machine does hits both alike.
const TURNS: u32 = 10;
/// As a file that is read in pieces gives them.
const CHUNK: usize = 1_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let names = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let Some(server) = RedisServer::start() else { return };
    let config = RedisConfig::new(server.url()).with_timeout(Duration::from_secs(10));
    let redis = Redis::connect(&config).await.unwrap();
    let registry = redis.registry(MatchMode::default(), Arc::new(SystemClock));
    feed(&registry, names).await;
    screen(&registry, &server, names).await;
}

async fn feed(registry: &dyn FraudRegistry, names: usize) {
    let entry = |number| ListEntry::new(format!("SURNAME{number}, Given Name {}", number % 977)).unwrap();
    let chunk = move |first: usize| Ok((first..names.min(first + CHUNK)).map(entry).collect());
    let chunks = stream::iter((0..names).step_by(CHUNK)).map(chunk).boxed();
    let list = FraudList { version: list_version(1), source: "benchmark".to_owned(), chunks };
    let (before, started) = (resident_kib("VmRSS"), Instant::now());
    registry.replace(list).await.unwrap();
    let elapsed = started.elapsed();
    let grown = resident_kib("VmHWM").saturating_sub(before);
    println!("feed: {names} names in {elapsed:.2?}; the process grew by at most {grown} KiB");
}

async fn screen(registry: &dyn FraudRegistry, server: &RedisServer, names: usize) {
    let name = |number: usize| match number % 100 {
        0 => format!("surname{}, given name {}", number % names, number % names % 977),
        _ => format!("somebody else {number}"),
    };
    let keys: Vec<String> = (0..BATCH).map(name).collect();
    let subjects: Vec<ClientId> = keys.iter().map(|key| client(key)).collect();
    let names_key = server.ask::<Vec<String>>(&["KEYS", "*:names:*"]).pop().unwrap();
    let open = redis::Client::open(server.url()).unwrap();
    let mut bare = open.get_multiplexed_async_connection().await.unwrap();
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..TURNS {
        let started = Instant::now();
        for _ in 0..ROUNDS / TURNS {
            registry.screen(&subjects).await.unwrap();
        }
        ours += started.elapsed();
        let started = Instant::now();
        for _ in 0..ROUNDS / TURNS {
            let mut lookup = redis::pipe();
            lookup.cmd("HMGET").arg(&names_key).arg(&keys);
            let found: Vec<Vec<Option<Vec<u8>>>> = lookup.query_async(&mut bare).await.unwrap();
            assert_eq!(found.concat().len(), BATCH);
        }
        theirs += started.elapsed();
    }
    println!(
        "screen {BATCH} names: {:.0?} through the registry, {:.0?} bare; ratio {:.2}",
        ours / ROUNDS,
        theirs / ROUNDS,
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
}

/// A figure of this process in KiB; 0 where the system does not tell.
fn resident_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
