//! Networks that are slow, break, or fall silent.

use std::time::{Duration, Instant};

use mini_platform_core::domain::{LeaseRequest, Settled};
use mini_platform_core::error::FaultKind;
use mini_platform_core::port::ParkingLot;
use mini_platform_core::testkit::server::{Fault, FaultProxy};
use mini_platform_redis::testkit::RedisServer;
use mini_platform_redis::{RedisConfig, RedisParkingLot};
use tokio::time::timeout;

use crate::common::{
    LONG, TIMEOUT as LONG_TIMEOUT, fault_kind, lease, lease_eventually, lot_of, numbers, park, parked,
    server, settle_done,
};

const TIMEOUT: Duration = Duration::from_millis(500);
/// With what a busy machine adds.
const IN_TIME: Duration = Duration::from_millis(2_500);

/// A lot behind a network, on a server that knows the scripts already.
async fn behind_proxy() -> Option<(RedisServer, FaultProxy, RedisParkingLot)> {
    behind_proxy_within(TIMEOUT).await
}

/// Like [`behind_proxy`], with another timeout.
async fn behind_proxy_within(limit: Duration) -> Option<(RedisServer, FaultProxy, RedisParkingLot)> {
    let server = server()?;
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", server.port())).await;
    let config = RedisConfig::new(format!("redis://127.0.0.1:{}", proxy.port())).with_timeout(limit);
    let lot = lot_of(&config).await;
    park(&lot, "ann", [1]).await.unwrap();
    assert_eq!(settle_done(&lot, lease(&lot, LONG).await.remove(0)).await, Settled::Yes);
    Some((server, proxy, lot))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_in_time_whatever_the_network_does_and_may_be_made_again() {
    let Some((_server, proxy, lot)) = behind_proxy().await else { return };
    let mut expected = Vec::new();
    for (number, (fault, kind)) in (10..).zip([
        (Fault::Delay(Duration::from_secs(5)), FaultKind::Timeout),
        (Fault::Stall, FaultKind::Timeout),
        (Fault::ResetBeforeForward, FaultKind::Unavailable),
        (Fault::ResetAfterForward, FaultKind::Unavailable),
        (Fault::HalfReply(1), FaultKind::Unavailable),
        (Fault::HalfReply(4), FaultKind::Unavailable),
    ]) {
        proxy.set_once(fault);
        let asked = Instant::now();
        let failed = park(&lot, "ann", [number]).await;
        assert!(asked.elapsed() < IN_TIME, "{fault:?} took {:?}", asked.elapsed());
        assert_eq!(fault_kind(failed), kind, "{fault:?}");
        park(&lot, "ann", [number]).await.unwrap();
        expected.push(number);
        assert_eq!(parked(&lot).await, expected, "once, after {fault:?}");
    }
    assert_eq!(numbers(&lease(&lot, LONG).await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_park_whose_reply_is_lost_took_effect_and_is_not_repeated() {
    let Some((_server, proxy, lot)) = behind_proxy().await else { return };
    proxy.set_once(Fault::ResetAfterForward.when("EVALSHA"));
    assert_eq!(fault_kind(park(&lot, "ann", [2, 3]).await), FaultKind::Unavailable);
    assert_eq!(parked(&lot).await, [2, 3]);
    park(&lot, "ann", [2, 3]).await.unwrap();
    assert_eq!(parked(&lot).await, [2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_leased_by_a_reply_that_is_lost_comes_again_in_order() {
    let Some((_server, proxy, lot)) = behind_proxy().await else { return };
    park(&lot, "ann", [2, 3]).await.unwrap();
    proxy.set_once(Fault::ResetAfterForward.when("EVALSHA"));
    let lost = lot.lease(LeaseRequest::new(10, Duration::from_secs(1))).await;
    assert_eq!(fault_kind(lost), FaultKind::Unavailable);
    assert!(lease(&lot, LONG).await.is_empty(), "it was leased");
    assert_eq!(numbers(&lease_eventually(&lot).await), [2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_whose_reply_is_lost_took_effect_and_changes_nothing_more() {
    let Some((_server, proxy, lot)) = behind_proxy().await else { return };
    park(&lot, "ann", [2, 3]).await.unwrap();
    let mut leased = lease(&lot, LONG).await;
    let settlement = [leased.remove(0).done()];
    proxy.set_once(Fault::ResetAfterForward.when("EVALSHA"));
    assert_eq!(fault_kind(lot.settle(&settlement).await), FaultKind::Unavailable);
    assert_eq!(parked(&lot).await, [3]);
    assert_eq!(lot.settle(&settlement).await.unwrap(), [Settled::LeaseLost]);
    assert_eq!(settle_done(&lot, leased.remove(0)).await, Settled::Yes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_is_repeated_does_not_hit_a_parcel_that_came_again() {
    let Some((_server, proxy, lot)) = behind_proxy().await else { return };
    park(&lot, "ann", [2, 3]).await.unwrap();
    let mut leased = lease(&lot, LONG).await;
    let settlement = [leased.remove(0).done()];
    proxy.set_once(Fault::ResetAfterForward.when("EVALSHA"));
    assert_eq!(fault_kind(lot.settle(&settlement).await), FaultKind::Unavailable);
    park(&lot, "ann", [2]).await.unwrap();
    assert_eq!(lot.settle(&settlement).await.unwrap(), [Settled::LeaseLost], "the lease does not cover it");
    assert_eq!(settle_done(&lot, leased.remove(0)).await, Settled::Yes);
    assert_eq!(numbers(&lease(&lot, LONG).await), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_silent_until_its_caller_gives_up_is_not_used_again() {
    let Some((_server, proxy, lot)) = behind_proxy_within(LONG_TIMEOUT).await else { return };
    proxy.set_once(Fault::Stall);
    let given_up = timeout(Duration::from_secs(1), park(&lot, "ann", [2])).await;
    assert!(given_up.is_err(), "the caller is in a hurry: {given_up:?}");
    park(&lot, "ann", [3]).await.unwrap();
    assert_eq!(parked(&lot).await, [3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_callers_who_give_up_at_once() {
    let Some((_server, proxy, lot)) = behind_proxy_within(LONG_TIMEOUT).await else { return };
    proxy.set(Fault::Refuse);
    for _ in 0..5 {
        // Hardly any is answered as soon.
        drop(timeout(Duration::ZERO, parked(&lot)).await);
    }
    park(&lot, "ann", [2]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_a_hurry_are_connected_in_the_end() {
    const HURRY: Duration = Duration::from_millis(400);
    let Some((_server, proxy, lot)) = behind_proxy_within(LONG_TIMEOUT).await else { return };
    // Connecting takes longer than any caller waits.
    proxy.set(Fault::Delay(HURRY * 2).when("SETINFO"));
    proxy.cut();
    let mut calls = 0;
    while !matches!(timeout(HURRY, park(&lot, "ann", [2])).await, Ok(Ok(()))) {
        calls += 1;
        assert!(calls < 50, "the attempt to connect goes on without its caller");
    }
    assert_eq!(parked(&lot).await, [2]);
}
