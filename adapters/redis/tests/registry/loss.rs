//! Servers that die, forget, fill up, or are demoted.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::domain::MatchMode;
use mini_platform_core::error::{FaultKind, RegistryError};
use mini_platform_core::port::{FraudRegistry, SystemClock};
use mini_platform_core::testkit::{fraud_list, list_version};
use mini_platform_redis::testkit::wait_until;
use mini_platform_redis::{Redis, RedisConfig};

use crate::common::{
    assert_in_force, fault_kind, feed, hits, hits_again, long_list, server_with_registry, staging_keys,
    version_in_force,
};

const EACH: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_fails_screening_and_its_list_is_there_again_after_a_restart() {
    let Some((mut server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["bad"]).await;
    server.kill();
    for _ in 0..3 {
        assert_eq!(fault_kind(hits(&registry, &["bad"]).await), FaultKind::Unavailable);
    }
    assert_eq!(fault_kind(registry.replace(fraud_list(2, &["new"])).await), FaultKind::Unavailable);
    server.restart();
    assert_eq!(hits_again(&registry, &["bad", "good"], EACH).await, [true, false]);
    feed(&registry, 2, &["new"]).await;
    assert_eq!(hits(&registry, &["bad", "new"]).await.unwrap(), [false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_everything_screens_nobody_until_it_is_fed_again() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 5, &["bad"]).await;
    server.ask::<()>(&["FLUSHALL"]);
    assert!(matches!(hits(&registry, &["good"]).await, Err(RegistryError::NoList)));
    assert_eq!(version_in_force(&registry).await, None);
    assert!(registry.history().await.unwrap().is_empty());
    feed(&registry, 5, &["bad"]).await;
    assert_eq!(hits(&registry, &["bad", "good"]).await.unwrap(), [true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_its_scripts_takes_lists() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    for published_at in 1..=3 {
        feed(&registry, published_at, &["bad"]).await;
        server.ask::<()>(&["SCRIPT", "FLUSH", "SYNC"]);
    }
    registry.rollback(&list_version(2)).await.unwrap();
    assert_in_force(&registry, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_does_not_fit_into_memory_leaves_the_old_one_and_no_rest() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["old"]).await;
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "4mb"]);
    let refused = registry.replace(long_list(2, 100_000)).await;
    assert_eq!(fault_kind(refused), FaultKind::Throttled, "a person can make room");
    assert_eq!(hits(&registry, &["old", "name 1"]).await.unwrap(), [true, false]);
    assert!(staging_keys(&server).is_empty(), "the part that fitted is removed");
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    feed(&registry, 2, &["new"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_for_which_memory_ends_at_the_last_step_leaves_the_old_ones_whole() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    for published_at in 1..=5 {
        feed(&registry, published_at, &["old"]).await;
    }
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    // A list without names needs no memory before the last step.
    assert_eq!(fault_kind(registry.replace(fraud_list(6, &[])).await), FaultKind::Throttled);
    assert_eq!(hits(&registry, &["old"]).await.unwrap(), [true], "screening goes on");
    assert_in_force(&registry, 5).await;
    assert_eq!(registry.history().await.unwrap().len(), 5, "no kept list was dropped for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_server_takes_no_list_until_it_is_promoted_again() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["old"]).await;
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(fault_kind(registry.replace(fraud_list(2, &["new"])).await), FaultKind::Unavailable);
    assert_eq!(hits(&registry, &["old"]).await.unwrap(), [true]);
    server.ask::<()>(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    assert_eq!(fault_kind(hits(&registry, &["old"]).await), FaultKind::Unavailable, "its data may be old");
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    feed(&registry, 2, &["new"]).await;
    assert_eq!(hits(&registry, &["old", "new"]).await.unwrap(), [false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_runs_a_long_script_asks_for_a_pause() {
    let Some((server, registry)) = server_with_registry(&["--busy-reply-threshold", "50"]).await else {
        return;
    };
    feed(&registry, 1, &["bad"]).await;
    let server = Arc::new(server);
    let script = {
        let url = server.url();
        std::thread::spawn(move || {
            let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
            redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection)
        })
    };
    wait_until("the script runs", || {
        let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        redis::cmd("GET").arg("none").exec(&mut connection).is_err()
    });
    assert_eq!(fault_kind(hits(&registry, &["bad"]).await), FaultKind::Throttled);
    server.ask::<()>(&["SCRIPT", "KILL"]);
    script.join().unwrap().unwrap_err();
    assert_eq!(hits(&registry, &["bad"]).await.unwrap(), [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_lost_a_name_screens_nobody_and_is_mended_by_feeding_it_again() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["old"]).await;
    feed(&registry, 2, &["bad", "worse"]).await;
    let removed: u8 = names_keys(&server).iter().map(|key| server.ask::<u8>(&["HDEL", key, "bad"])).sum();
    assert_eq!(removed, 1);
    assert!(
        matches!(hits(&registry, &["bad"]).await, Err(RegistryError::NoList)),
        "a lost name is not clear"
    );
    assert_eq!(version_in_force(&registry).await, None);
    assert_eq!(registry.history().await.unwrap().len(), 1);
    assert!(matches!(registry.rollback(&list_version(2)).await, Err(RegistryError::UnknownVersion(_))));
    feed(&registry, 2, &["bad", "worse"]).await;
    assert_eq!(hits(&registry, &["bad", "old"]).await.unwrap(), [true, false]);
    assert_eq!(registry.history().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_was_evicted_whole_screens_nobody() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["bad"]).await;
    for key in names_keys(&server) {
        server.ask::<()>(&["DEL", &key]);
    }
    assert!(matches!(hits(&registry, &["bad"]).await, Err(RegistryError::NoList)));
    registry.rollback(&list_version(1)).await.unwrap_err();
    feed(&registry, 1, &["bad"]).await;
    assert_eq!(hits(&registry, &["bad"]).await.unwrap(), [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_screens_nobody() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["bad"]).await;
    for damaged in ["", "{}", "nonsense"] {
        server.ask::<()>(&["SET", "{mp:list:normalized}:state", damaged]);
        assert_eq!(fault_kind(hits(&registry, &["bad"]).await), FaultKind::Corrupt, "{damaged}");
        assert_eq!(fault_kind(registry.replace(fraud_list(2, &["new"])).await), FaultKind::Corrupt);
    }
    server.ask::<()>(&["DEL", "{mp:list:normalized}:state"]);
    server.ask::<()>(&["LPUSH", "{mp:list:normalized}:state", "another type"]);
    assert_eq!(fault_kind(hits(&registry, &["bad"]).await), FaultKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_modes_do_not_see_each_others_lists() {
    let Some((server, normalized)) = server_with_registry(&[]).await else { return };
    feed(&normalized, 1, &["BAD"]).await;
    let redis = Redis::connect(&RedisConfig::new(server.url())).await.unwrap();
    let exact = redis.registry(MatchMode::Exact, Arc::new(SystemClock));
    assert!(matches!(hits(&exact, &["BAD"]).await, Err(RegistryError::NoList)), "nothing passes by mistake");
    feed(&exact, 1, &["BAD"]).await;
    assert_eq!(hits(&exact, &["BAD", "bad"]).await.unwrap(), [true, false]);
    assert_eq!(hits(&normalized, &["BAD", "bad"]).await.unwrap(), [true, true]);
}

fn names_keys(server: &mini_platform_redis::testkit::RedisServer) -> Vec<String> {
    server.ask(&["KEYS", "*:names:*"])
}
