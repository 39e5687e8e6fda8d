//! Who may use the server.

use mini_platform_core::domain::{DeathCause, LeaseRequest, LotLimits, ParcelQuery, Settled};
use mini_platform_core::error::FaultKind;
use mini_platform_core::port::ParkingLot;
use mini_platform_redis::testkit::RedisServer;
use mini_platform_redis::{ConnectError, Redis, RedisConfig};

use crate::common::{LONG, fault_kind, lease, lot_of, parcel_id, park, parked, server, settle_done};

/// What a dispatcher may do, as the README says it.
pub(crate) const DISPATCHER: &[&str] = &[
    "+info",
    "+config|get",
    "+get",
    "+eval",
    "+evalsha",
    "+time",
    "+hmget",
    "+hset",
    "+hdel",
    "+zadd",
    "+zrem",
    "+zcard",
    "+zrangebyscore",
    "+zrangebylex",
];

/// What may be missing: it is for checks that are left out then.
const MAY_BE_MISSING: &[&str] = &["+config|get"];

/// The command that makes a user.
pub(crate) fn user<'a>(rights: &[&'a str]) -> Vec<&'a str> {
    let user = ["ACL", "SETUSER", "dispatcher", "reset", "on", ">secret", "%R~{mp:list:*", "~{mp:parking}:*"];
    [&user[..], rights].concat()
}

fn config_of(server: &RedisServer) -> RedisConfig {
    RedisConfig::new(format!("redis://dispatcher:secret@127.0.0.1:{}", server.port()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough() {
    let Some(server) = server() else { return };
    server.ask::<()>(&user(DISPATCHER));
    let lot = lot_of(&config_of(&server)).await;
    park(&lot, "ann", [1, 2]).await.unwrap();
    let mut leased = lease(&lot, LONG).await;
    let dead = leased.remove(0).bury(DeathCause::Undecodable, None);
    assert_eq!(lot.settle(&[dead]).await.unwrap(), [Settled::Yes]);
    assert_eq!(lot.dead_letters(&ParcelQuery::default()).await.unwrap().items.len(), 1);
    assert!(lot.dead_letter(parcel_id(1)).await.unwrap().is_some());
    assert!(lot.redrive(parcel_id(1)).await.unwrap() && !lot.discard(parcel_id(1)).await.unwrap());
    assert_eq!(settle_done(&lot, leased.remove(0)).await, Settled::Yes);
    assert_eq!(parked(&lot).await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_lacks_a_right_is_told_so_at_the_start() {
    let Some(server) = server() else { return };
    for missing in DISPATCHER {
        let rights: Vec<&str> = DISPATCHER.iter().copied().filter(|right| right != missing).collect();
        server.ask::<()>(&user(&rights));
        let opened = match Redis::connect(&config_of(&server)).await {
            Ok(redis) => redis.parking_lot(LotLimits::default()).await,
            Err(error) => Err(error),
        };
        if MAY_BE_MISSING.contains(missing) {
            park(&opened.unwrap(), "ann", [1]).await.unwrap();
        } else {
            let error = opened.expect_err(missing);
            assert!(matches!(error, ConnectError::Forbidden { .. }), "without {missing}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"), "no password is shown: {error:?}");
        }
    }
    server.ask::<()>(&[&user(DISPATCHER)[..], &["resetkeys", "~{mp:list:*"]].concat());
    let redis = Redis::connect(&config_of(&server)).await.unwrap();
    let error = redis.parking_lot(LotLimits::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Forbidden { .. }), "without the keys: {error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_taken_away_later_are_denied_and_nothing_is_done_half() {
    let Some(server) = server() else { return };
    server.ask::<()>(&user(DISPATCHER));
    let lot = lot_of(&config_of(&server)).await;
    let set = |right: String| server.ask::<()>(&["ACL", "SETUSER", "dispatcher", &right]);
    for right in ["evalsha", "hset", "hdel", "zadd", "zrem"] {
        set(format!("-{right}"));
        assert_eq!(fault_kind(park(&lot, "ann", [1]).await), FaultKind::Denied, "without {right}");
        set(format!("+{right}"));
        assert!(parked(&lot).await.is_empty(), "nothing was parked without {right}");
        park(&lot, "ann", [1]).await.unwrap();
        set(format!("-{right}"));
        let denied = lot.lease(LeaseRequest::new(1, LONG)).await;
        assert_eq!(fault_kind(denied), FaultKind::Denied, "without {right}");
        set(format!("+{right}"));
        let settlement = [lease(&lot, LONG).await.remove(0).done()];
        set(format!("-{right}"));
        assert_eq!(fault_kind(lot.settle(&settlement).await), FaultKind::Denied, "without {right}");
        set(format!("+{right}"));
        assert_eq!(
            lot.settle(&settlement).await.unwrap(),
            [Settled::Yes],
            "nothing was settled without {right}"
        );
    }
}
