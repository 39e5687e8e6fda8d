//! The registry behind Sentinels.

use std::time::Duration;

use mini_platform_core::testkit::fraud_registry as suite;
use mini_platform_redis::testkit::RedisSentinels;
use mini_platform_redis::{ConnectError, Redis, RedisConfig};

use crate::cluster::run_all;
use crate::common::{assert_in_force, feed, feed_again, hits_again, registry_of};
use crate::support::registry_at;

/// The timeout of a command, with what a busy machine adds.
const EACH: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_clause_holds_behind_sentinels() {
    let Some(sentinels) = RedisSentinels::start() else { return };
    mini_platform_core::fraud_registry_cases! { [run_all], [sentinels.url()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_replaced_and_followed() {
    let Some(mut sentinels) = RedisSentinels::start() else { return };
    let config = RedisConfig::new(sentinels.url()).with_timeout(Duration::from_secs(2));
    let registry = registry_of(&config).await;
    feed(&registry, 1, &["bad"]).await;
    let killed = sentinels.kill_master();
    assert_eq!(hits_again(&registry, &["bad", "good"], EACH).await, [true, false]);
    feed_again(&registry, 2, &["new"]).await;
    sentinels.restart(killed);
    // Who comes and goes may break connections once more.
    assert_eq!(hits_again(&registry, &["bad", "new"], EACH).await, [false, true]);
    assert_in_force(&registry, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_sentinels_do_not_know_is_told_so() {
    let Some(sentinels) = RedisSentinels::start() else { return };
    let url = sentinels.url().replace("/main", "/other");
    let error = Redis::connect(&RedisConfig::new(url)).await.unwrap_err();
    assert!(matches!(error, ConnectError::UnknownMaster { .. }), "{error:?}");
}
