//! The parking lot on a cluster and behind Sentinels.

use std::time::Duration;

use mini_platform_core::domain::LotLimits;
use mini_platform_core::testkit::parking_lot as suite;
use mini_platform_redis::testkit::{RedisCluster, RedisSentinels};
use mini_platform_redis::{ConnectError, Redis, RedisConfig};

use crate::access::{DISPATCHER, user};
use crate::common::{fixture_at, lease_eventually, lot_of, numbers, park, park_again, parked};

/// A key of another primary than that of the lot.
const ELSEWHERE: &str = "c";

/// With this the servers will do, and do not wait for their disks.
const EVERY_SECOND: [&str; 4] = ["CONFIG", "SET", "appendfsync", "everysec"];

fn started_cluster() -> Option<RedisCluster> {
    let cluster = RedisCluster::start()?;
    cluster.ask_all(&EVERY_SECOND);
    Some(cluster)
}

fn started_sentinels() -> Option<RedisSentinels> {
    let sentinels = RedisSentinels::start()?;
    sentinels.ask_all(&EVERY_SECOND);
    Some(sentinels)
}

/// Runs every case in turn: a cluster takes longer to start than a case.
macro_rules! run_all {
    ([$url:expr] $suite:ident: $($case:ident),+ $(,)?) => {
        $(
            eprintln!("{}", stringify!($case));
            suite::$case(fixture_at($url).await).await;
        )+
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_clause_holds_on_a_cluster() {
    let Some(cluster) = started_cluster() else { return };
    mini_platform_core::parking_lot_cases! { [run_all], [cluster.url()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_primary_that_keeps_no_log_is_enough_to_refuse_a_cluster() {
    let Some(cluster) = started_cluster() else { return };
    let redis = Redis::connect(&RedisConfig::new(cluster.url())).await.unwrap();
    for (setting, bad, good) in [("appendonly", "no", "yes"), ("appendfsync", "no", "always")] {
        cluster.ask_primary_of(ELSEWHERE, &["CONFIG", "SET", setting, bad]);
        let error = redis.parking_lot(LotLimits::default()).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotDurable { .. }), "{setting}: {error:?}");
        cluster.ask_primary_of(ELSEWHERE, &["CONFIG", "SET", setting, good]);
        redis.parking_lot(LotLimits::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_and_parking_goes_on() {
    let Some(mut cluster) = started_cluster() else { return };
    let config = RedisConfig::new(cluster.url()).with_timeout(Duration::from_secs(2));
    let lot = lot_of(&config).await;
    park(&lot, "ann", [1, 2]).await.unwrap();
    let killed = cluster.kill_primary_of("{mp:parking}:state");
    // Again, as a replica need not have what was parked last.
    park_again(&lot, "ann", &[1, 2, 3]).await;
    cluster.restart(killed);
    assert_eq!(numbers(&lease_eventually(&lot).await), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_behind_sentinels_is_replaced_and_parking_goes_on() {
    let Some(mut sentinels) = started_sentinels() else { return };
    let config = RedisConfig::new(sentinels.url()).with_timeout(Duration::from_secs(2));
    let lot = lot_of(&config).await;
    park(&lot, "ann", [1, 2]).await.unwrap();
    sentinels.kill_master();
    park_again(&lot, "ann", &[1, 2, 3]).await;
    assert_eq!(parked(&lot).await, [1, 2, 3]);
    assert_eq!(numbers(&lease_eventually(&lot).await), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_on_a_cluster() {
    let Some(cluster) = started_cluster() else { return };
    cluster.ask_all(&user(&[DISPATCHER, &["+cluster|slots"]].concat()));
    let url = cluster.url().replace("://", "://dispatcher:secret@");
    park(&lot_of(&RedisConfig::new(url)).await, "ann", [1]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_behind_sentinels() {
    let Some(sentinels) = started_sentinels() else { return };
    sentinels.ask_all(&user(&[DISPATCHER, &["+role"]].concat()));
    let url = sentinels.url().replace("://", "://dispatcher:secret@");
    park(&lot_of(&RedisConfig::new(url)).await, "ann", [1]).await.unwrap();
}
