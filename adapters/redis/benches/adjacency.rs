//! Linking against a bare pipeline of as many commands, and how long an edge takes.
//!
//! `MP_TEST_REDIS_URL=redis://127.0.0.1:6379 cargo bench -p mini-platform-redis --bench adjacency`

#![expect(clippy::expect_used, reason = "a bench fails by panicking")]

use std::time::{Duration, Instant};

use mini_platform_core::domain::{Edge, Side};
use mini_platform_core::port::AdjacencyStore;
use mini_platform_core::testkit::{at, client, server};
use mini_platform_redis::testkit::{Cleanup, unique_prefix};
use mini_platform_redis::{Redis, RedisConfig};
use redis::Pipeline;

/// The edges of the largest batch that the platform is tuned for.
const EDGES: usize = 1_024;
const BATCHES: usize = 200;
const CLIENTS: usize = 5_000;
const SEED: u64 = 7;

fn main() {
    let Some(url) = server::url("REDIS") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(&url));
}

async fn run(url: &str) {
    let batches = batches();
    let cleanup = Cleanup { url: url.to_owned(), prefix: unique_prefix() };
    let config = RedisConfig::new(url).with_key_prefix(&cleanup.prefix).with_timeout(Duration::from_secs(30));
    let store = Redis::connect(&config).await.expect("a Redis").adjacency();
    let client = redis::Client::open(url).expect("a URL");
    let mut bare = client.get_multiplexed_async_connection().await.expect("a connection");
    let (mut linked, mut piped) = (Duration::ZERO, Duration::ZERO);
    // In turns, so that both meet the same moments of the machine.
    for batch in &batches {
        let pipeline = bare_pipeline(&cleanup.prefix, batch);
        let start = Instant::now();
        let () = pipeline.query_async(&mut bare).await.expect("the pipeline");
        piped += start.elapsed();
        let start = Instant::now();
        store.link(batch).await.expect("the links");
        linked += start.elapsed();
    }
    let start = Instant::now();
    for batch in &batches {
        store.link(batch).await.expect("the links");
    }
    let again = start.elapsed();
    let edges = u32::try_from(EDGES * BATCHES).expect("few edges");
    println!("link, {EDGES} edges a batch:        {:?} an edge", linked / edges);
    println!("link again, nothing to write:   {:?} an edge", again / edges);
    println!("bare pipeline of HSET and ZADD: {:?} an edge", piped / edges);
    println!("bare / link:                    {:.2}", piped.as_secs_f64() / linked.as_secs_f64());
}

/// What keeps the same facts without looking: two commands an edge, and the last writer wins.
fn bare_pipeline(prefix: &str, batch: &[Edge]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(2 * batch.len());
    for edge in batch {
        let Edge::Interaction { client, counterparty, at, .. } = edge else { continue };
        let (names, times) = (format!("{prefix}:bare:n:{client}"), format!("{prefix}:bare:t:{client}"));
        pipeline.cmd("ZADD").arg(names).arg(0).arg(counterparty.as_str()).ignore();
        pipeline.cmd("HSET").arg(times).arg(counterparty.as_str()).arg(at.as_micros()).ignore();
    }
    pipeline
}

fn batches() -> Vec<Vec<Edge>> {
    let mut state = SEED;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % limit
    };
    let mut edge = |time: i64| Edge::Interaction {
        client: client(&format!("client {}", below(CLIENTS))),
        counterparty: client(&format!("client {}", below(CLIENTS))),
        side: Side::Sent,
        at: at(time),
    };
    (0..).take(BATCHES).map(|time| std::iter::repeat_with(|| edge(time)).take(EDGES).collect()).collect()
}
