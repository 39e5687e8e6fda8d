//! The registry on a cluster.

use std::time::Duration;

use mini_platform_core::testkit::fraud_registry as suite;
use mini_platform_redis::testkit::{RedisCluster, RedisServer};
use mini_platform_redis::{ConnectError, Redis, RedisConfig};

use crate::common::{assert_in_force, feed, feed_again, hits_again, registry_of};
use crate::support::registry_at;

/// The timeout of a command, with what a busy machine adds.
const EACH: Duration = Duration::from_secs(5);

/// Runs every case in turn: a cluster takes longer to start than a case.
macro_rules! run_all {
    ([$url:expr] $suite:ident: $($case:ident),+ $(,)?) => {
        $(
            eprintln!("{}", stringify!($case));
            suite::$case(registry_at($url).await).await;
        )+
    };
}
pub(crate) use run_all;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_clause_holds_on_a_cluster() {
    let Some(cluster) = RedisCluster::start() else { return };
    mini_platform_core::fraud_registry_cases! { [run_all], [cluster.url()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_and_the_list_is_there() {
    let Some(mut cluster) = RedisCluster::start() else { return };
    let config = RedisConfig::new(cluster.url()).with_timeout(Duration::from_secs(2));
    let registry = registry_of(&config).await;
    feed(&registry, 1, &["bad"]).await;
    let killed = cluster.kill_primary_of("{mp:list:normalized}:state");
    assert_eq!(hits_again(&registry, &["bad", "good"], EACH).await, [true, false]);
    feed_again(&registry, 2, &["new"]).await;
    cluster.restart(killed);
    // Who comes and goes may break connections once more.
    assert_eq!(hits_again(&registry, &["bad", "new"], EACH).await, [false, true]);
    assert_in_force(&registry, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_of_the_wrong_kind_is_told_so() {
    let Some(cluster) = RedisCluster::start() else { return };
    let one = cluster.url().replace("redis+cluster", "redis");
    let one = one.split(',').next().unwrap().to_owned();
    let error = Redis::connect(&RedisConfig::new(one)).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongMode { .. }), "{error:?}");
    let Some(server) = RedisServer::start() else { return };
    let url = server.url().replace("redis:", "redis+cluster:");
    let error = Redis::connect(&RedisConfig::new(url)).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongMode { .. }), "{error:?}");
}
