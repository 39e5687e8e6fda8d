//! The adjacency store on a shared server, and on servers, clusters and networks that fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::domain::{
    BranchLink, ClientQuery, Direction, Edge, Interaction, NeighbourQuery, PageSize, Side, Timestamp,
};
use mini_platform_core::error::{FaultKind, Retry, StoreError};
use mini_platform_core::port::AdjacencyStore;
use mini_platform_core::testkit::server::{self, Fault, FaultProxy};
use mini_platform_core::testkit::{Fixture, adjacency_store as suite, at, branch, client, model};
use mini_platform_redis::testkit::{Cleanup, RedisCluster, RedisSentinels, RedisServer, unique_prefix};
use mini_platform_redis::{Redis, RedisAdjacencyStore, RedisConfig};

/// Long beside a command, also on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a recovery may take, in tenths of a second.
const PATIENCE: usize = 600;

async fn store_at(url: &str, prefix: &str) -> RedisAdjacencyStore {
    let config = RedisConfig::new(url).with_timeout(TIMEOUT).with_key_prefix(prefix);
    Redis::connect(&config).await.expect("the server can be used").adjacency()
}

/// A fresh store at a URL.
async fn fixture_at(url: String) -> Fixture<dyn AdjacencyStore> {
    let prefix = unique_prefix();
    let store = store_at(&url, &prefix).await;
    Fixture::with_guard(Arc::new(store), Cleanup { url, prefix })
}

/// A fresh store on the server that all tests share.
async fn shared() -> Option<Fixture<dyn AdjacencyStore>> {
    Some(fixture_at(server::url("REDIS")?).await)
}

mini_platform_core::adjacency_store_conformance!(shared());

#[test]
fn operations_agree_with_memory() {
    model::adjacency_store_agrees_with_memory(shared);
}

/// Runs every case on one server, cluster or group of Sentinels.
macro_rules! run_all {
    ([$url:expr] adjacency_store: $($case:ident),+ $(,)?) => {
        $(
            let prefix = unique_prefix();
            eprintln!("{}", stringify!($case));
            suite::$case(Fixture::new(Arc::new(store_at(&$url, &prefix).await))).await;
        )+
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_clause_holds_on_a_cluster() {
    let Some(cluster) = RedisCluster::start() else { return };
    mini_platform_core::adjacency_store_cases! { [run_all], [cluster.url()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_clause_holds_behind_sentinels() {
    let Some(sentinels) = RedisSentinels::start() else { return };
    mini_platform_core::adjacency_store_cases! { [run_all], [sentinels.url()] }
}

fn paid(name: &str, other: &str, time: Timestamp) -> Edge {
    Edge::Interaction { client: client(name), counterparty: client(other), side: Side::Sent, at: time }
}

fn visited(name: &str, place: &str, time: Timestamp) -> Edge {
    Edge::Branch { client: client(name), branch: branch(place), at: time }
}

async fn interactions(store: &dyn AdjacencyStore, name: &str) -> Vec<Interaction> {
    store.interactions(&NeighbourQuery::new(client(name))).await.unwrap().items
}

async fn branches(store: &dyn AdjacencyStore, name: &str) -> Vec<BranchLink> {
    store.branches(&NeighbourQuery::new(client(name))).await.unwrap().items
}

async fn all_clients(store: &dyn AdjacencyStore, size: u16) -> Vec<String> {
    let mut found = Vec::new();
    let mut query = ClientQuery::default().with_size(PageSize::new(size).unwrap());
    loop {
        let page = store.clients(&query).await.unwrap();
        assert!(page.items.len() <= usize::from(size), "no page holds more than was asked for");
        found.extend(page.items.iter().map(|client| client.as_str().to_owned()));
        let Some(token) = page.next else { return found };
        query = query.with_token(&token).unwrap();
    }
}

async fn all_distinct_clients(store: &dyn AdjacencyStore, size: u16) -> BTreeSet<String> {
    all_clients(store, size).await.into_iter().collect()
}

fn fault_kind<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> FaultKind {
    let StoreError::Fault(fault) = answer.unwrap_err() else { unreachable!("a store fails with faults") };
    fault.kind()
}

/// A server of one's own with a store on it.
async fn own(more: &[&str]) -> Option<(RedisServer, RedisAdjacencyStore)> {
    let server = RedisServer::start_with(more)?;
    let store = store_at(&server.url(), "mp").await;
    Some((server, store))
}

/// Links until it succeeds, as the retrying decorator does.
async fn link_again(store: &dyn AdjacencyStore, edges: &[Edge]) {
    for _ in 0..PATIENCE {
        match store.link(edges).await {
            Ok(()) => return,
            Err(error) => assert_ne!(error.retry(), Retry::Never, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    store.link(edges).await.unwrap();
}

const STRANGE: [&str; 11] =
    ["{", "}", "{}", "{a}b", "a}b{c", "*", "a b", "ann:links/ann", "links/ann", "名前", "\\[x-y]?"];

async fn strange_names_are_kept_apart(store: &dyn AdjacencyStore) {
    let edges: Vec<Edge> = (0..)
        .zip(STRANGE)
        .flat_map(|(time, name)| [paid(name, name, at(time)), visited(name, name, at(time))])
        .collect();
    store.link(&edges).await.unwrap();
    for (time, name) in (0..).zip(STRANGE) {
        let found = interactions(store, name).await;
        assert_eq!((found.len(), found[0].counterparty.as_str()), (1, name));
        assert_eq!(found[0].last_at(), at(time), "{name}");
        let places = branches(store, name).await;
        assert_eq!((places.len(), places[0].branch.as_str(), places[0].last_at), (1, name, at(time)));
    }
    let expected: BTreeSet<String> = STRANGE.map(str::to_owned).into();
    for size in [1, 3, 1_000] {
        assert_eq!(all_distinct_clients(store, size).await, expected);
    }
    store.unlink(&edges).await.unwrap();
    assert_eq!(all_clients(store, 10).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_names_are_kept_apart_on_a_server() {
    let Some(fixture) = shared().await else { return };
    strange_names_are_kept_apart(&*fixture.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_names_are_kept_apart_on_a_cluster() {
    let Some(cluster) = RedisCluster::start() else { return };
    strange_names_are_kept_apart(&store_at(&cluster.url(), "mp").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_exact_to_the_microsecond_in_all_years() {
    let Some(fixture) = shared().await else { return };
    let store = &*fixture.port;
    let mut times: Vec<Timestamp> = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z"]
        .iter()
        .chain(&["1970-01-01T00:00:00Z", "2255-06-05T23:47:34.740993Z", "9999-12-30T22:00:00Z"])
        .map(|text| text.parse().unwrap())
        .collect();
    let just_before = Timestamp::from_micros(times[4].as_micros() - 1).unwrap();
    times.insert(4, just_before);
    for time in &times {
        store.link(&[visited("ann", "x", *time)]).await.unwrap();
        assert_eq!(branches(store, "ann").await[0].last_at, *time);
    }
    for time in &times[..5] {
        store.link(&[visited("ann", "x", *time)]).await.unwrap();
        store.unlink(&[visited("ann", "x", *time)]).await.unwrap();
        assert_eq!(branches(store, "ann").await[0].last_at, times[5]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linkers_at_the_same_time_agree_on_the_latest_time() {
    let Some(fixture) = shared().await else { return };
    let names: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    let linkers: Vec<_> = (0..8)
        .map(|linker| {
            let (store, names) = (Arc::clone(&fixture.port), names.clone());
            tokio::spawn(async move {
                for round in 0..5 {
                    let time = |number: i64| at((number * 7 + linker * 5 + round) % 40);
                    let edges = (0..).zip(&names).map(|(number, name)| paid("hub", name, time(number)));
                    store.link(&edges.collect::<Vec<_>>()).await.unwrap();
                }
            })
        })
        .collect();
    for linker in linkers {
        linker.await.unwrap();
    }
    let query = NeighbourQuery::new(client("hub")).with_size(PageSize::new(1_000).unwrap());
    let found = fixture.port.interactions(&query).await.unwrap().items;
    assert_eq!(found.len(), names.len());
    for link in found {
        let number: i64 = link.counterparty.as_str()[1..].parse().unwrap();
        let tries = (0..8).flat_map(|linker| (0..5).map(move |round| (number * 7 + linker * 5 + round) % 40));
        assert_eq!(link.last_at(), at(tries.max().unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_the_script_is_told_it_again() {
    let Some((server, store)) = own(&[]).await else { return };
    for time in 1..=3 {
        server.ask::<()>(&["SCRIPT", "FLUSH"]);
        let edges: Vec<Edge> = (0..500).map(|number| visited(&format!("c{number}"), "x", at(time))).collect();
        store.link(&edges).await.unwrap();
        assert_eq!(branches(&store, "c499").await[0].last_at, at(time));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_forgot_the_script_is_told_it_again() {
    let Some(cluster) = RedisCluster::start() else { return };
    let store = store_at(&cluster.url(), "mp").await;
    for time in 1..=2 {
        cluster.ask_all(&["SCRIPT", "FLUSH"]);
        let edges: Vec<Edge> = (0..500).map(|number| visited(&format!("c{number}"), "x", at(time))).collect();
        store.link(&edges).await.unwrap();
        assert_eq!(branches(&store, "c499").await[0].last_at, at(time));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_there_after_a_kill_and_a_restart() {
    let Some((mut server, store)) = own(&["--appendfsync", "always"]).await else { return };
    store.link(&[paid("ann", "bob", at(1))]).await.unwrap();
    server.kill();
    assert_eq!(fault_kind(store.link(&[paid("ann", "cid", at(2))]).await), FaultKind::Unavailable);
    server.restart();
    link_again(&store, &[paid("ann", "dan", at(3))]).await;
    let names: Vec<String> =
        interactions(&store, "ann").await.iter().map(|link| link.counterparty.to_string()).collect();
    assert_eq!(names, ["bob", "dan"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_over_clients_survives_a_restart() {
    let Some((mut server, store)) = own(&[]).await else { return };
    let names: BTreeSet<String> = (0..400).map(|number| format!("c{number}")).collect();
    store.link(&names.iter().map(|name| visited(name, "x", at(1))).collect::<Vec<_>>()).await.unwrap();
    let query = ClientQuery::default().with_size(PageSize::new(150).unwrap());
    let first = store.clients(&query).await.unwrap();
    let mut found: BTreeSet<String> = first.items.iter().map(|client| client.to_string()).collect();
    assert!(found.len() < names.len());
    server.restart();
    link_again(&store, &[visited("c0", "x", at(1))]).await;
    let mut token = first.next;
    while let Some(behind) = token {
        let page = store.clients(&query.clone().with_token(&behind).unwrap()).await.unwrap();
        found.extend(page.items.iter().map(|client| client.to_string()));
        token = page.next;
    }
    assert_eq!(found, names, "the cursor of the old process means nothing to the new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_after_a_failover() {
    let Some(mut cluster) = RedisCluster::start() else { return };
    let store = store_at(&cluster.url(), "mp").await;
    let names: BTreeSet<String> = (0..300).map(|number| format!("c{number}")).collect();
    let edges: Vec<Edge> = names.iter().map(|name| visited(name, "x", at(1))).collect();
    store.link(&edges).await.unwrap();
    let query = ClientQuery::default().with_size(PageSize::new(20).unwrap());
    let first = store.clients(&query).await.unwrap();
    cluster.kill_primary_of("mp:links/c7");
    // The replica may have missed the last links; linking again is what a resend does.
    link_again(&store, &edges).await;
    let mut found: BTreeSet<String> = first.items.iter().map(|client| client.to_string()).collect();
    let mut token = first.next;
    while let Some(behind) = token {
        let page = store.clients(&query.clone().with_token(&behind).unwrap()).await.unwrap();
        found.extend(page.items.iter().map(|client| client.to_string()));
        token = page.next;
    }
    assert_eq!(found, names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_memory_is_throttled_and_no_link_is_lost() {
    let Some((server, store)) = own(&[]).await else { return };
    store.link(&[visited("ann", "x", at(1))]).await.unwrap();
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1mb"]);
    assert_eq!(fault_kind(store.link(&[visited("ann", "x", at(2))]).await), FaultKind::Throttled);
    assert_eq!(branches(&store, "ann").await[0].last_at, at(1));
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    store.link(&[visited("ann", "x", at(2))]).await.unwrap();
    assert_eq!(branches(&store, "ann").await[0].last_at, at(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_sort_is_corrupt() {
    let Some((server, store)) = own(&[]).await else { return };
    server.ask::<()>(&["SET", "mp:links/ann", "x"]);
    assert_eq!(fault_kind(store.link(&[visited("ann", "x", at(1))]).await), FaultKind::Corrupt);
    let query = NeighbourQuery::new(client("ann"));
    assert_eq!(fault_kind(store.branches(&query).await), FaultKind::Corrupt);
    server.ask::<()>(&["DEL", "mp:links/ann"]);
    server.ask::<()>(&["ZADD", "mp:links/ann", "0", "bx"]);
    assert_eq!(fault_kind(store.branches(&query).await), FaultKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_is_mended_by_linking_again() {
    let Some((server, store)) = own(&[]).await else { return };
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", server.port())).await;
    let edges: Vec<Edge> = (0..50).map(|number| paid(&format!("c{number}"), "bob", at(number))).collect();
    let cases = [
        (Fault::ResetBeforeForward, false),
        (Fault::ResetAfterForward, true),
        (Fault::HalfReply(3), true),
        (Fault::Stall, false),
    ];
    for (fault, took_effect) in cases {
        server.ask::<()>(&["FLUSHALL"]);
        let config =
            RedisConfig::new(format!("redis://{}", proxy.addr())).with_timeout(Duration::from_millis(500));
        let behind_proxy = Redis::connect(&config).await.unwrap().adjacency();
        proxy.set_once(fault.when("EVAL"));
        let failed = behind_proxy.link(&edges).await.unwrap_err();
        assert_ne!(failed.retry(), Retry::Never, "{fault:?}: {failed:?}");
        assert_eq!(!interactions(&store, "c49").await.is_empty(), took_effect, "{fault:?}");
        behind_proxy.link(&edges).await.unwrap();
        for (time, edge) in (0..).zip(&edges) {
            let Edge::Interaction { client, .. } = edge else { continue };
            let found = interactions(&store, client.as_str()).await;
            assert_eq!(found.len(), 1, "{fault:?}");
            assert_eq!((found[0].direction(), found[0].last_at()), (Direction::Sent, at(time)));
        }
    }
}

/// How often a server ran a command.
fn calls(server: &RedisServer, command: &str) -> usize {
    let stats: String = server.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linking_again_writes_nothing() {
    let Some((server, store)) = own(&[]).await else { return };
    let edges: Vec<Edge> = (0..200).map(|number| paid(&format!("c{number}"), "bob", at(5))).collect();
    store.link(&edges).await.unwrap();
    let written = calls(&server, "zadd");
    let earlier: Vec<Edge> = (0..200).map(|number| paid(&format!("c{number}"), "bob", at(4))).collect();
    store.link(&edges).await.unwrap();
    store.link(&earlier).await.unwrap();
    assert_eq!((written, calls(&server, "zadd")), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_many_neighbours_is_read_by_the_page() {
    const NEIGHBOURS: usize = 100_000;
    let Some((server, store)) = own(&[]).await else { return };
    let names: Vec<String> = (0..NEIGHBOURS).map(|number| format!("n{number:06}")).collect();
    for names in names.chunks(10_000) {
        let edges: Vec<Edge> = names.iter().map(|name| paid("hub", name, at(1))).collect();
        store.link(&edges).await.unwrap();
    }
    let sent = |server: &RedisServer| -> usize {
        let stats: String = server.ask(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        line.unwrap().trim().parse().unwrap()
    };
    let query = NeighbourQuery::new(client("hub")).with_size(PageSize::new(1_000).unwrap());
    let mut token = None;
    let mut found = Vec::new();
    loop {
        let (commands, bytes) = (calls(&server, "zrangebylex"), sent(&server));
        let asked = token.as_ref().map_or(query.clone(), |token| query.clone().with_token(token).unwrap());
        let page = store.interactions(&asked).await.unwrap();
        assert_eq!(calls(&server, "zrangebylex") - commands, 1, "a page is one command");
        // A member has 18 bytes and its frame 7; the rest is what these questions answer.
        assert!(sent(&server) - bytes < 2 * 1_001 * 32 + 32_768, "a page is read, and not the whole set");
        found.extend(page.items.iter().map(|link| link.counterparty.to_string()));
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert!(found == names, "every neighbour is answered once and in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_linked_in_one_round_trip() {
    let Some((server, store)) = own(&[]).await else { return };
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", server.port())).await;
    let behind_proxy = store_at(&format!("redis://{}", proxy.addr()), "mp").await;
    // Every request that is answered before the next is sent takes this long each way.
    const PAUSE: Duration = Duration::from_millis(400);
    proxy.set(Fault::Delay(PAUSE));
    let edges: Vec<Edge> = (0..1_024).map(|number| visited(&format!("c{number}"), "x", at(1))).collect();
    let start = tokio::time::Instant::now();
    behind_proxy.link(&edges).await.unwrap();
    let chunks = u32::try_from(proxy.hits()).unwrap();
    assert!(start.elapsed() < PAUSE * (chunks + 2), "{chunks} chunks in {:?}", start.elapsed());
    assert_eq!(branches(&store, "c1023").await.len(), 1);
}
