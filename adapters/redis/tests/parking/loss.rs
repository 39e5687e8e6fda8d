//! Servers that forget, fill up, are set back or hold what they should not.

use std::time::Duration;

use mini_platform_core::domain::{DeathCause, LeaseRequest, LotLimits, ParcelQuery, ParkReason, Settled};
use mini_platform_core::error::{FaultKind, LotError};
use mini_platform_core::port::ParkingLot;
use mini_platform_redis::testkit::RedisServer;
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

/// Puts the clock of a lot forward.
fn advance(server: &RedisServer, micros: u64) {
    let seen: u64 = server.ask(&["HGET", "{mp:parking}:state", "seen"]);
    server.ask::<()>(&["HSET", "{mp:parking}:state", "seen", &(seen - micros).to_string()]);
}

/// Runs Lua on the `id` and `record` of the parcel with a number of one digit.
fn damage(server: &RedisServer, number: u32, what: &str) {
    let script = format!(
        "for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
           local record = redis.call('HGET', KEYS[1], id)
           if string.sub(record, -1) == ARGV[1] then {what} end
         end"
    );
    server.ask::<()>(&["EVAL", &script, "1", "{mp:parking}:parcels", &number.to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parcel_that_cannot_be_read_holds_up_its_client_and_nobody_else() {
    for what in [
        "redis.call('HSET', KEYS[1], id, string.sub(record, 1, 10) .. '\\99' .. string.sub(record, 12))",
        "redis.call('HSET', KEYS[1], id, 'short')",
        "redis.call('HDEL', KEYS[1], id)",
    ] {
        let Some((server, lot)) = server_with_lot().await else { return };
        park(&lot, "ann", [1, 2, 3]).await.unwrap();
        park(&lot, "bob", [4]).await.unwrap();
        damage(&server, 2, what);
        let leased = lease(&lot, LONG).await;
        assert_eq!(numbers(&leased), [1, 4], "3 does not overtake 2: {what}");
        for leased in leased {
            assert_eq!(settle_done(&lot, leased).await, Settled::Yes, "{what}");
        }
        park(&lot, "bob", [5]).await.unwrap();
        advance(&server, 2 * HOUR);
        assert_eq!(numbers(&lease(&lot, LONG).await), [5], "2 is still in front of 3: {what}");
        let listed = lot.parked(&ParcelQuery::default()).await;
        assert_eq!(fault_kind(listed), FaultKind::Corrupt, "who looks is told: {what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parcel_that_can_be_read_again_goes_on_in_its_place() {
    let Some((server, lot)) = server_with_lot().await else { return };
    park(&lot, "ann", [1, 2]).await.unwrap();
    let set_reason = |code: u8| {
        let record = format!("string.sub(record, 1, 10) .. '\\{code}' .. string.sub(record, 12)");
        damage(&server, 1, &format!("redis.call('HSET', KEYS[1], id, {record})"));
    };
    set_reason(99);
    assert!(lease(&lot, LONG).await.is_empty());
    set_reason(1);
    assert!(lease(&lot, LONG).await.is_empty(), "it was leased");
    advance(&server, 2 * HOUR);
    assert_eq!(numbers(&lease(&lot, LONG).await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lot_that_lost_a_part_goes_on_with_the_rest() {
    for (damage, expected) in [
        (&["DEL", "{mp:parking}:parcels"][..], &[2][..]),
        (&["DEL", "{mp:parking}:queue"], &[3, 2]),
        (&["DEL", "{mp:parking}:lanes"], &[3, 2]),
        (&["HSET", "{mp:parking}:lanes", "ann", "short"], &[3, 2]),
    ] {
        let Some((server, lot)) = server_with_lot().await else { return };
        park(&lot, "ann", [1]).await.unwrap();
        server.ask::<()>(damage);
        park(&lot, "bob", [2]).await.unwrap();
        let first = lot.lease(LeaseRequest::new(1, LONG)).await.unwrap();
        assert!(first.is_empty(), "{damage:?}: {first:?}");
        assert_eq!(numbers(&lease(&lot, LONG).await), [2], "{damage:?}");
        park(&lot, "ann", [3]).await.unwrap();
        advance(&server, 2 * HOUR);
        assert_eq!(numbers(&lease(&lot, LONG).await), expected, "{damage:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lot_with_a_key_of_another_type_says_so() {
    let Some((server, lot)) = server_with_lot().await else { return };
    park(&lot, "ann", [1]).await.unwrap();
    server.ask::<()>(&["SET", "{mp:parking}:turns", "another type"]);
    let leased = lot.lease(LeaseRequest::new(1, LONG)).await;
    assert_eq!(fault_kind(leased), FaultKind::Corrupt);
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
