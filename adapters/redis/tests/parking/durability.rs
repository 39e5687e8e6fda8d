//! Servers that may lose what they acknowledged, and servers that die.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mini_platform_core::domain::{
    DeathCause, LeaseRequest, LotLimits, PageSize, ParcelQuery, ParkReason, Settled,
};
use mini_platform_core::error::FaultKind;
use mini_platform_core::port::ParkingLot;
use mini_platform_redis::testkit::{RedisServer, wait_until};
use mini_platform_redis::{ConnectError, Redis, RedisConfig, RedisParkingLot};

use crate::common::{
    LONG, TIMEOUT, fault_kind, lease, lease_eventually, lot_of, numbers, parcel_id, park, parked,
};

/// How many parcels are parked before the server dies under way.
const PARKED_BEFORE: u32 = 300;

/// A server of one's own that loses nothing, and a lot on it.
async fn durable_server_with_lot() -> Option<(RedisServer, RedisParkingLot)> {
    let server = RedisServer::start_with(&["--appendfsync", "always"])?;
    let lot = lot_of(&RedisConfig::new(server.url()).with_timeout(TIMEOUT)).await;
    Some((server, lot))
}

async fn opened(config: &RedisConfig) -> Result<RedisParkingLot, ConnectError> {
    Redis::connect(config).await.unwrap().parking_lot(LotLimits::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_parked_events_is_refused_and_told_what_to_set() {
    for (settings, needed) in [
        (&["--appendonly", "no"][..], "set `appendonly yes`"),
        (&["--appendfsync", "no"], "set `appendfsync always`"),
        (&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], "set `maxmemory-policy noeviction`"),
    ] {
        let Some(server) = RedisServer::start_with(settings) else { return };
        let config = RedisConfig::new(server.url());
        let error = opened(&config).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotDurable { .. }), "{settings:?}: {error:?}");
        assert!(error.to_string().ends_with(needed), "{error}");
        let lot = opened(&config.with_volatile_parking(true)).await.unwrap();
        park(&lot, "ann", [1]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_a_log_will_do() {
    for settings in [
        &["--appendfsync", "always"][..],
        &["--appendfsync", "everysec"],
        &["--appendfsync", "always", "--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"],
    ] {
        let Some(server) = RedisServer::start_with(settings) else { return };
        opened(&RedisConfig::new(server.url())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_was_acknowledged_outlives_the_server() {
    let Some((mut server, lot)) = durable_server_with_lot().await else { return };
    park(&lot, "ann", [5, 4, 3, 2, 1]).await.unwrap();
    park(&lot, "bob", [10, 11]).await.unwrap();
    let mut leased = lot.lease(LeaseRequest::new(4, LONG)).await.unwrap().into_iter();
    let mut next = || leased.next().expect("four are leased");
    let settlements = [
        next().done(),
        next().retry(ParkReason::Storing, Duration::ZERO),
        next().bury(DeathCause::Undecodable, None),
    ];
    assert_eq!(lot.settle(&settlements).await.unwrap(), [Settled::Yes; 3]);
    let open = next();
    let before = (lot.status().await.unwrap(), lot.parked(&ParcelQuery::default()).await.unwrap());
    server.kill();
    assert_eq!(fault_kind(park(&lot, "ann", [6]).await), FaultKind::Unavailable);
    server.restart();
    wait_until_up(&lot).await;
    let after = (lot.status().await.unwrap(), lot.parked(&ParcelQuery::default()).await.unwrap());
    assert_eq!(after, before);
    let dead = lot.dead_letters(&ParcelQuery::default()).await.unwrap().items;
    assert_eq!(dead.iter().map(|dead| dead.parked.parcel.id).collect::<Vec<_>>(), [parcel_id(3)]);
    assert_eq!(lot.settle(&settlements).await.unwrap(), [Settled::LeaseLost; 3], "what is settled stays so");
    let others = lease(&lot, LONG).await;
    assert_eq!(numbers(&others), [10, 11], "ann's lane is leased still");
    assert_eq!(lot.settle(&[open.done()]).await.unwrap(), [Settled::Yes], "the lease goes on");
    assert_eq!(numbers(&lease(&lot, LONG).await), [4, 1], "in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_ends_with_its_time_while_the_server_is_down() {
    let Some((mut server, lot)) = durable_server_with_lot().await else { return };
    park(&lot, "ann", [1, 2]).await.unwrap();
    assert_eq!(lease(&lot, Duration::from_millis(100)).await.len(), 2);
    server.kill();
    server.restart();
    assert_eq!(numbers(&lease_eventually(&lot).await), [1, 2]);
}

/// Calls until the server answers: the first call may still meet the connection that broke.
async fn wait_until_up(lot: &RedisParkingLot) {
    while lot.status().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a lane's callers know: up to which number it was parked, and what they tried and know to be settled.
#[derive(Debug, Default)]
struct Known {
    parked: u32,
    tried: BTreeSet<u32>,
    settled: BTreeSet<u32>,
}

/// Parks three parcels a call, in ascending order, and settles some, until the server is gone.
async fn work(lot: RedisParkingLot, lane: u32, total: Arc<AtomicU32>) -> Known {
    let (name, first) = (format!("client {lane}"), lane * 100_000);
    let mut known = Known { parked: first, ..Known::default() };
    loop {
        let next = known.parked..known.parked + 3;
        if park(&lot, &name, next.clone()).await.is_err() {
            return known;
        }
        known.parked = next.end;
        total.fetch_add(3, Ordering::SeqCst);
        let Ok(leased) = lot.lease(LeaseRequest::new(1, Duration::from_secs(1))).await else { return known };
        let tried = numbers(&leased);
        known.tried.extend(&tried);
        let settlements: Vec<_> = leased.into_iter().map(|leased| leased.done()).collect();
        match lot.settle(&settlements).await {
            Ok(answers) if answers.contains(&Settled::Yes) => known.settled.extend(tried),
            Ok(_) => {}
            Err(_) => return known,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_way_loses_nothing_and_mixes_up_nothing() {
    let Some((mut server, lot)) = durable_server_with_lot().await else { return };
    let total = Arc::new(AtomicU32::new(0));
    let work: Vec<_> = (0..4).map(|lane| tokio::spawn(work(lot.clone(), lane, Arc::clone(&total)))).collect();
    wait_until("many are parked", || total.load(Ordering::SeqCst) >= PARKED_BEFORE);
    server.kill();
    let mut lanes = Vec::new();
    for lane in work {
        lanes.push(lane.await.unwrap());
    }
    server.restart();
    let lot = lot_of(&RedisConfig::new(server.url()).with_timeout(TIMEOUT)).await;
    let there: BTreeSet<u32> = parked(&lot).await.into_iter().collect();
    let all = |pick: fn(&Known) -> &BTreeSet<u32>| -> BTreeSet<u32> {
        lanes.iter().flat_map(|known| pick(known).iter().copied()).collect()
    };
    let (tried, settled) = (all(|known| &known.tried), all(|known| &known.settled));
    assert!(settled.is_disjoint(&there), "what was settled stays gone");
    for (first, known) in (0..).step_by(100_000).zip(&lanes) {
        let mut missing = (first..known.parked).filter(|number| !there.contains(number));
        assert!(missing.all(|number| tried.contains(&number)), "what was parked and not settled is there");
    }
    let mut last = [None; 4];
    let mut left = there.len();
    while left > 0 {
        for leased in lease_eventually(&lot).await {
            let number = numbers(std::slice::from_ref(&leased))[0];
            let last = &mut last[usize::try_from(number / 100_000).unwrap()];
            assert!(*last < Some(number), "a lane comes in the order of parking");
            *last = Some(number);
            assert_eq!(lot.settle(&[leased.done()]).await.unwrap(), [Settled::Yes]);
            left -= 1;
        }
    }
    let status = lot.status().await.unwrap();
    assert_eq!((status.parked, status.dead, status.bytes), (0, 0, 0), "nothing is left over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_restarted_server_go_on() {
    let Some((mut server, lot)) = durable_server_with_lot().await else { return };
    park(&lot, "ann", 0..10).await.unwrap();
    let query = ParcelQuery::default().with_size(PageSize::new(6).unwrap());
    let token = lot.parked(&query).await.unwrap().next.expect("there is a second page");
    server.kill();
    server.restart();
    wait_until_up(&lot).await;
    let second = lot.parked(&query.with_token(&token).unwrap()).await.unwrap();
    assert_eq!(second.items.len(), 4);
}
