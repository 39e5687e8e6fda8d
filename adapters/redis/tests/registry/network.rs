//! Networks that are slow, break, or fall silent.

use std::time::{Duration, Instant};

use mini_platform_core::error::FaultKind;
use mini_platform_core::port::{FraudRegistry, ReplaceOutcome};
use mini_platform_core::testkit::server::{Fault, FaultProxy};
use mini_platform_core::testkit::{fraud_list, list_version};
use mini_platform_redis::testkit::RedisServer;
use mini_platform_redis::{RedisConfig, RedisFraudRegistry};

use crate::common::{assert_in_force, fault_kind, feed, hits, registry_of, version_in_force};

const TIMEOUT: Duration = Duration::from_millis(500);
/// With what a busy machine adds.
const IN_TIME: Duration = Duration::from_millis(2_500);

async fn behind_proxy() -> Option<(RedisServer, FaultProxy, RedisFraudRegistry)> {
    let server = RedisServer::start()?;
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", server.port())).await;
    let config = RedisConfig::new(format!("redis://127.0.0.1:{}", proxy.port())).with_timeout(TIMEOUT);
    let registry = registry_of(&config).await;
    feed(&registry, 1, &["bad"]).await;
    Some((server, proxy, registry))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_in_time_whatever_the_network_does_and_the_next_one_works() {
    let Some((_server, proxy, registry)) = behind_proxy().await else { return };
    for (fault, kind) in [
        (Fault::Delay(Duration::from_secs(5)), FaultKind::Timeout),
        (Fault::Stall, FaultKind::Timeout),
        (Fault::ResetBeforeForward, FaultKind::Unavailable),
        (Fault::ResetAfterForward, FaultKind::Unavailable),
        (Fault::HalfReply(1), FaultKind::Unavailable),
        (Fault::HalfReply(30), FaultKind::Unavailable),
    ] {
        proxy.set_once(fault);
        let asked = Instant::now();
        let failed = hits(&registry, &["bad"]).await;
        assert!(asked.elapsed() < IN_TIME, "{fault:?} took {:?}", asked.elapsed());
        assert_eq!(fault_kind(failed), kind, "{fault:?}");
        assert_eq!(hits(&registry, &["bad", "good"]).await.unwrap(), [true, false], "after {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_connected_to_again_is_waited_for_no_longer_than_the_timeout() {
    let Some((_server, proxy, registry)) = behind_proxy().await else { return };
    proxy.set(Fault::Stall);
    let asked = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let registry = registry.clone();
            tokio::spawn(async move { hits(&registry, &["bad"]).await })
        })
        .collect();
    for call in calls {
        assert_eq!(fault_kind(call.await.unwrap()), FaultKind::Timeout);
    }
    assert!(asked.elapsed() < IN_TIME, "callers do not wait for each other");
    assert_eq!(fault_kind(hits(&registry, &["bad"]).await), FaultKind::Timeout);
    proxy.set(Fault::Pass);
    proxy.cut();
    assert_eq!(hits(&registry, &["bad"]).await.unwrap(), [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_whose_last_reply_is_lost_took_effect_and_is_not_repeated() {
    let Some((_server, proxy, registry)) = behind_proxy().await else { return };
    proxy.set_once(Fault::ResetAfterForward.when("EVAL"));
    assert_eq!(fault_kind(registry.replace(fraud_list(2, &["new"])).await), FaultKind::Unavailable);
    assert_in_force(&registry, 2).await;
    assert_eq!(hits(&registry, &["bad", "new"]).await.unwrap(), [false, true]);
    let again = registry.replace(fraud_list(2, &["new"])).await.unwrap();
    assert_eq!(again, ReplaceOutcome::Stale { newest: list_version(2) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_that_breaks_off_leaves_the_old_list_and_nothing_else() {
    let Some((server, proxy, registry)) = behind_proxy().await else { return };
    for command in ["HSETNX", "EVAL"] {
        proxy.set_once(Fault::ResetBeforeForward.when(command));
        assert_eq!(fault_kind(registry.replace(fraud_list(2, &["new"])).await), FaultKind::Unavailable);
        assert_eq!(version_in_force(&registry).await, Some(list_version(1)), "cut at {command}");
        assert!(crate::common::staging_keys(&server).is_empty(), "cut at {command}");
    }
    proxy.set_once(Fault::ResetAfterForward.when("HSETNX"));
    assert_eq!(fault_kind(registry.replace(fraud_list(2, &["new"])).await), FaultKind::Unavailable);
    assert_eq!(version_in_force(&registry).await, Some(list_version(1)));
    feed(&registry, 2, &["new"]).await;
}
