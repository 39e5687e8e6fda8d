//! Lists that replace each other under the eyes of readers and other feeders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mini_platform_core::domain::{MatchMode, Verdict};
use mini_platform_core::error::FaultKind;
use mini_platform_core::port::{FraudRegistry, ReplaceOutcome};
use mini_platform_core::testkit::server::{Fault, FaultProxy};
use mini_platform_core::testkit::{ManualClock, client, fraud_list, list_version, model, server};
use mini_platform_redis::testkit::{RedisServer, wait_until};
use mini_platform_redis::{Redis, RedisConfig, RedisFraudRegistry};

use crate::common::{
    assert_in_force, fault_kind, feed, hits, registry_of, server_with_registry, staging_keys,
};
use crate::support;

/// How long a step is held on its way: long beside a replacement.
const HELD: Duration = Duration::from_secs(2);

/// A feeder's registry and a worker's on one server, each with a connection and a memory of its own.
async fn two_registries() -> Option<(RedisServer, RedisFraudRegistry, RedisFraudRegistry)> {
    let (server, one) = server_with_registry(&[]).await?;
    let other = registry_of(&RedisConfig::new(server.url()).with_timeout(Duration::from_secs(10))).await;
    Some((server, one, other))
}

#[test]
fn a_registry_agrees_with_the_one_in_memory() {
    if server::url("REDIS").is_some() {
        model::fraud_registry_agrees_with_memory(async || support::registry().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_a_mix_during_a_thousand_swaps() {
    let Some((_server, feeder, reader)) = two_registries().await else { return };
    let lists = [["a1", "a2", "a3"], ["b1", "b2", "b3"]];
    feed(&feeder, 0, &lists[0]).await;
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let reader = {
        let (stop, reads) = (Arc::clone(&stop), Arc::clone(&reads));
        let subjects: Vec<_> = lists.concat().into_iter().map(client).collect();
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let screening = reader.screen(&subjects).await.unwrap();
                let second = screening.version.published_at().as_micros() / 1_000_000 % 2 == 1;
                for (number, verdict) in screening.verdicts.iter().enumerate() {
                    let is_hit = *verdict != Verdict::Clear;
                    assert_eq!(
                        is_hit,
                        (number >= 3) == second,
                        "all verdicts are those of {}",
                        screening.version
                    );
                }
                reads.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    for published_at in 1..=1_000_usize {
        feed(&feeder, i64::try_from(published_at).unwrap(), &lists[published_at % 2]).await;
    }
    stop.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    assert!(reads.load(Ordering::Relaxed) > 100, "the reader kept reading");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_feeders_that_race_the_newest_publication_wins() {
    let Some(fixture) = support::registry().await else { return };
    let feeder = |first: i64| {
        let port = fixture.port.clone();
        tokio::spawn(async move {
            for published_at in (first..=90).step_by(3) {
                let name = format!("name of {published_at}");
                match port.replace(fraud_list(published_at, &[&name])).await.unwrap() {
                    ReplaceOutcome::Replaced(info) => assert_eq!(info.version, list_version(published_at)),
                    ReplaceOutcome::Stale { newest } => assert!(newest > list_version(published_at)),
                    other => panic!("{other:?}"),
                }
            }
        })
    };
    for feeder in [feeder(1), feeder(2), feeder(3)] {
        feeder.await.unwrap();
    }
    assert_in_force(&*fixture.port, 90).await;
    assert_eq!(hits(&*fixture.port, &["name of 90", "name of 89"]).await.unwrap(), [true, false]);
    let history = fixture.port.history().await.unwrap();
    assert!(history.is_sorted_by(|one, next| one.version > next.version), "newest publication first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_was_overtaken_at_the_last_step_does_not_come_into_force() {
    let Some((server, fast, _)) = two_registries().await else { return };
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", server.port())).await;
    let config = RedisConfig::new(format!("redis://127.0.0.1:{}", proxy.port()));
    let slow = registry_of(&config.with_timeout(10 * HELD)).await;
    proxy.set_once(Fault::Delay(HELD).when("EVAL"));
    let overtaken = tokio::spawn(async move { slow.replace(fraud_list(1, &["old"])).await });
    let _proxy = tokio::task::spawn_blocking(move || {
        wait_until("the last step is on its way", || proxy.hits() == 1);
        proxy
    })
    .await
    .unwrap();
    feed(&fast, 2, &["new"]).await;
    let outcome = overtaken.await.unwrap().unwrap();
    assert_eq!(outcome, ReplaceOutcome::Stale { newest: list_version(2) });
    assert_eq!(hits(&fast, &["old", "new"]).await.unwrap(), [false, true]);
    assert!(staging_keys(&server).is_empty(), "its names are removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_was_replaced_at_the_last_step_is_not_confirmed() {
    let Some((server, fast, _)) = two_registries().await else { return };
    feed(&fast, 1, &["old"]).await;
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", server.port())).await;
    let config = RedisConfig::new(format!("redis://127.0.0.1:{}", proxy.port()));
    let slow = registry_of(&config.with_timeout(10 * HELD)).await;
    proxy.set_once(Fault::Delay(HELD).when("EVAL"));
    let confirmed = tokio::spawn(async move { slow.confirm(&list_version(1)).await });
    let _proxy = tokio::task::spawn_blocking(move || {
        wait_until("the last step is on its way", || proxy.hits() == 1);
        proxy
    })
    .await
    .unwrap();
    feed(&fast, 2, &["new"]).await;
    assert_eq!(confirmed.await.unwrap().unwrap(), None);
    let list = fast.in_force().await.unwrap().unwrap();
    assert_eq!((list.version, list.confirmed_at), (list_version(2), list.loaded_at));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_feeders_whose_clocks_differ_the_latest_time_stays() {
    let Some((server, loader, reader)) = two_registries().await else { return };
    feed(&loader, 1, &["bad"]).await;
    let loaded_at = reader.in_force().await.unwrap().unwrap().loaded_at;
    let now = move |second: u64| loaded_at.saturating_add(Duration::from_secs(second));
    let mut feeders = Vec::new();
    for ahead in [30, 10, 40, 20] {
        let config = RedisConfig::new(server.url()).with_timeout(Duration::from_secs(10));
        let redis = Redis::connect(&config).await.unwrap();
        let feeder = redis.registry(MatchMode::default(), Arc::new(ManualClock::new(now(ahead))));
        feeders.push(tokio::spawn(async move {
            let mut last = loaded_at;
            for _ in 0..10 {
                let confirmed = feeder.confirm(&list_version(1)).await.unwrap().unwrap();
                assert!(confirmed.confirmed_at >= last.max(now(ahead)), "it never goes back");
                last = confirmed.confirmed_at;
            }
        }));
    }
    for feeder in feeders {
        feeder.await.unwrap();
    }
    let list = reader.in_force().await.unwrap().unwrap();
    assert_eq!((list.loaded_at, list.confirmed_at), (loaded_at, now(40)));
}

#[tokio::test]
async fn a_time_of_confirmation_that_is_damaged_is_said_so_and_nobody_goes_unscreened() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["bad"]).await;
    server.ask::<()>(&["SET", "{mp:list:normalized}:confirmed", "soon"]);
    assert_eq!(fault_kind(registry.in_force().await), FaultKind::Corrupt);
    assert_eq!(hits(&registry, &["bad"]).await.unwrap(), [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_was_away_during_many_swaps_answers_from_the_list_in_force() {
    let Some((_server, feeder, reader)) = two_registries().await else { return };
    feed(&feeder, 1, &["name of 1"]).await;
    assert_eq!(hits(&reader, &["name of 1"]).await.unwrap(), [true]);
    // So many that other lists lie in every place by now.
    for published_at in 2..=12 {
        feed(&feeder, published_at, &[&format!("name of {published_at}")]).await;
    }
    let screening = reader.screen(&[client("name of 11"), client("name of 12")]).await.unwrap();
    assert_eq!(screening.version, list_version(12));
    assert_eq!(screening.verdicts[0], Verdict::Clear);
    assert_ne!(screening.verdicts[1], Verdict::Clear);
}

#[tokio::test]
async fn a_batch_of_any_length_is_screened_at_one_version() {
    let Some(fixture) = support::registry().await else { return };
    feed(&*fixture.port, 1, &["name 0", "name 4999"]).await;
    let subjects: Vec<_> = (0..5_000).map(|number| client(&format!("Name {number}"))).collect();
    let verdicts = fixture.port.screen(&subjects).await.unwrap().verdicts;
    let hits: Vec<usize> = (0..5_000).filter(|number| verdicts[*number] != Verdict::Clear).collect();
    assert_eq!((verdicts.len(), hits), (5_000, vec![0, 4_999]));
}

#[tokio::test]
async fn the_first_spelling_of_a_name_stays() {
    let Some(fixture) = support::registry().await else { return };
    feed(&*fixture.port, 1, &["Ann BEE", "ANN bee", "ann bee"]).await;
    let verdicts = fixture.port.screen(&[client("ann bee")]).await.unwrap().verdicts;
    assert_eq!(verdicts, [Verdict::Hit { entry: crate::common::entry("Ann BEE") }]);
}
