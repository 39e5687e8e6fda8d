//! Servers that forget, fill up, are set back or hold what they should not.

use std::time::Duration;

use mini_platform_core::domain::{DeathCause, LeaseRequest, LotLimits, ParcelQuery, ParkReason, Settled};
use mini_platform_core::error::{FaultKind, LotError};
use mini_platform_core::port::ParkingLot;
use mini_platform_redis::{ConnectError, Redis, RedisConfig};

use crate::common::{
    LONG, fault_kind, lease, lease_eventually, numbers, parcel_id, park, parked, server, server_with_lot,
    settle_done,
};

/// An hour in microseconds.
const HOUR: u64 = 3_600_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_its_scripts_goes_on() {
    let Some((server, lot)) = server_with_lot().await else { return };
    let forget = || server.ask::<()>(&["SCRIPT", "FLUSH", "SYNC"]);
    for _ in 0..2 {
        park(&lot, "ann", [1, 2]).await.unwrap();
        forget();
        let mut leased = lease(&lot, LONG).await;
        forget();
        let dead = leased.remove(1).bury(DeathCause::Undecodable, None);
        assert_eq!(lot.settle(&[leased.remove(0).done(), dead]).await.unwrap(), [Settled::Yes; 2]);
        forget();
        assert_eq!(lot.status().await.unwrap().dead, 1);
        forget();
        assert_eq!(lot.dead_letters(&ParcelQuery::default()).await.unwrap().items.len(), 1);
        forget();
        assert!(lot.redrive(parcel_id(2)).await.unwrap());
        forget();
        assert!(!lot.discard(parcel_id(2)).await.unwrap());
        forget();
        assert_eq!(settle_done(&lot, lease(&lot, LONG).await.remove(0)).await, Settled::Yes);
        forget();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_of_before_everything_was_lost_is_worth_nothing_after() {
    let Some((server, lot)) = server_with_lot().await else { return };
    park(&lot, "ann", [1]).await.unwrap();
    let before = lease(&lot, LONG).await.remove(0);
    server.ask::<()>(&["FLUSHALL"]);
    assert_eq!(settle_done(&lot, before.clone()).await, Settled::LeaseLost);
    park(&lot, "ann", [1]).await.unwrap();
    let after = lease(&lot, LONG).await.remove(0);
    assert_eq!(settle_done(&lot, before).await, Settled::LeaseLost);
    assert_eq!(settle_done(&lot, after).await, Settled::Yes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_memory_takes_nothing_in_and_lets_everything_out() {
    let Some((server, lot)) = server_with_lot().await else { return };
    park(&lot, "ann", [1, 2]).await.unwrap();
    park(&lot, "bob", [3]).await.unwrap();
    park(&lot, "dead", [4, 5]).await.unwrap();
    let mut leased = lease(&lot, LONG).await;
    for dead in leased.drain(3..) {
        lot.settle(&[dead.bury(DeathCause::Undecodable, None)]).await.unwrap();
    }
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let before = lot.status().await.unwrap();
    assert_eq!(fault_kind(park(&lot, "cid", [6, 7]).await), FaultKind::Throttled, "a person can make room");
    assert_eq!(lot.status().await.unwrap(), before, "none of them is taken");
    for leased in leased {
        let retry = leased.retry(ParkReason::Storing, Duration::ZERO);
        assert_eq!(lot.settle(&[retry]).await.unwrap(), [Settled::Yes], "a retry needs no room");
    }
    assert!(lot.redrive(parcel_id(4)).await.unwrap() && lot.discard(parcel_id(5)).await.unwrap());
    let leased = lease(&lot, LONG).await;
    assert_eq!(numbers(&leased), [1, 2, 3, 4]);
    for leased in leased {
        assert_eq!(settle_done(&lot, leased).await, Settled::Yes);
    }
    assert_eq!(lot.status().await.unwrap().parked, 0);
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    park(&lot, "cid", [6, 7]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_set_back_lengthens_no_pause() {
    let Some((server, lot)) = server_with_lot().await else { return };
    park(&lot, "ann", [1]).await.unwrap();
    let retry = lease(&lot, LONG).await.remove(0).retry(ParkReason::Timeout, Duration::from_millis(300));
    assert_eq!(lot.settle(&[retry]).await.unwrap(), [Settled::Yes]);
    // As if the clock had shown an hour more when the lot was last written.
    let seen: u64 = server.ask(&["HGET", "{mp:parking}:state", "seen"]);
    server.ask::<()>(&["HSET", "{mp:parking}:state", "seen", &(seen + HOUR).to_string()]);
    assert!(lease(&lot, LONG).await.is_empty(), "the pause is not over");
    assert_eq!(numbers(&lease_eventually(&lot).await), [1]);
    park(&lot, "bob", [2]).await.unwrap();
    assert_eq!(numbers(&lease(&lot, LONG).await), [2], "what is parked now is due");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lot_that_lost_a_part_says_so() {
    for (damage, kind) in [
        (&["DEL", "{mp:parking}:parcels"][..], FaultKind::Corrupt),
        (&["DEL", "{mp:parking}:queue"], FaultKind::Corrupt),
        (&["DEL", "{mp:parking}:lanes"], FaultKind::Corrupt),
        (&["SET", "{mp:parking}:turns", "another type"], FaultKind::Corrupt),
    ] {
        let Some((server, lot)) = server_with_lot().await else { return };
        park(&lot, "ann", [1]).await.unwrap();
        server.ask::<()>(damage);
        let leased = lot.lease(LeaseRequest::new(1, LONG)).await;
        assert_eq!(fault_kind(leased), kind, "{damage:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lot_in_the_form_of_another_version_is_left_alone() {
    let Some((server, _lot)) = server_with_lot().await else { return };
    server.ask::<()>(&["HSET", "{mp:parking}:state", "form", "2"]);
    let redis = Redis::connect(&RedisConfig::new(server.url())).await.unwrap();
    let error = redis.parking_lot(LotLimits::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotReady { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_call_is_all_or_none() {
    let Some((_server, lot)) = server_with_lot().await else { return };
    let parcels: Vec<_> =
        (0..1024).map(|n| crate::common::parcel(n, &format!("client {}", n % 700))).collect();
    lot.park(&parcels).await.unwrap();
    assert_eq!(parked(&lot).await.len(), 1024);
    let leased = lot.lease(LeaseRequest::new(1024, LONG)).await.unwrap();
    let settlements: Vec<_> = leased.into_iter().map(|leased| leased.done()).collect();
    assert_eq!(lot.settle(&settlements).await.unwrap(), [Settled::Yes; 1024]);
    assert!(parked(&lot).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_when_many_park_at_once() {
    let Some(server) = server() else { return };
    let redis = Redis::connect(&RedisConfig::new(server.url())).await.unwrap();
    let lot = redis.parking_lot(LotLimits { parcels: 50, bytes: 1_000_000 }).await.unwrap();
    let calls: Vec<_> = (0..40)
        .map(|call: u32| {
            let lot = lot.clone();
            tokio::spawn(async move { park(&lot, &format!("client {call}"), call * 3..call * 3 + 3).await })
        })
        .collect();
    let mut taken = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => taken += 1,
            Err(error) => assert!(matches!(error, LotError::Full), "{error:?}"),
        }
    }
    assert_eq!((taken, parked(&lot).await.len()), (16, 48));
}
