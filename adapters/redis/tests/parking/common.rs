//! What the tests say often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_platform_core::domain::{
    LeaseRequest, LeasedParcel, LotLimits, PageSize, Parcel, ParcelContent, ParcelId, ParcelQuery,
    ParkReason, Settled,
};
use mini_platform_core::error::{FaultKind, LotError};
use mini_platform_core::port::ParkingLot;
use mini_platform_core::testkit::parking_lot::{LIMITS, ParkingLotStage};
use mini_platform_core::testkit::{Fixture, at, client, server as shared_server};
use mini_platform_redis::testkit::{Cleanup, RedisServer, unique_prefix};
use mini_platform_redis::{Redis, RedisConfig, RedisParkingLot};

/// Long beside a command, also on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// What does not end while a test runs.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

/// How long a recovery may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh lot on the server that all tests share.
pub(crate) async fn shared() -> Option<Fixture<ParkingLotStage>> {
    Some(fixture_at(shared_server::url("REDIS")?).await)
}

/// A fresh lot with the limits of the suite at a URL.
pub(crate) async fn fixture_at(url: String) -> Fixture<ParkingLotStage> {
    let prefix = unique_prefix();
    let config = RedisConfig::new(&url).with_timeout(TIMEOUT).with_key_prefix(&prefix);
    let lot = Redis::connect(&config).await.unwrap().parking_lot(LIMITS).await.unwrap();
    let stage = ParkingLotStage::with_own_clock(Arc::new(lot));
    Fixture::with_guard(Arc::new(stage), Cleanup { url, prefix })
}

/// A lot with the default key prefix.
pub(crate) async fn lot_of(config: &RedisConfig) -> RedisParkingLot {
    Redis::connect(config).await.unwrap().parking_lot(LotLimits::default()).await.unwrap()
}

/// A server of one's own that will do, and does not wait for its disk.
pub(crate) fn server() -> Option<RedisServer> {
    RedisServer::start_with(&["--appendfsync", "everysec"])
}

/// A server of one's own and a lot on it.
pub(crate) async fn server_with_lot() -> Option<(RedisServer, RedisParkingLot)> {
    let server = server()?;
    let lot = lot_of(&RedisConfig::new(server.url()).with_timeout(TIMEOUT)).await;
    Some((server, lot))
}

pub(crate) fn parcel_id(number: u32) -> ParcelId {
    ParcelId::new(at(i64::from(number)), [0; 10])
}

/// A parcel whose content is its number.
pub(crate) fn parcel(number: u32, name: &str) -> Parcel {
    Parcel {
        id: parcel_id(number),
        client: client(name),
        content: ParcelContent::new(number.to_string()).unwrap(),
        reason: ParkReason::Timeout,
    }
}

/// Parks parcels in the lane of one client.
pub(crate) async fn park(
    lot: &RedisParkingLot,
    name: &str,
    numbers: impl IntoIterator<Item = u32>,
) -> Result<(), LotError> {
    let parcels: Vec<Parcel> = numbers.into_iter().map(|number| parcel(number, name)).collect();
    lot.park(&parcels).await
}

pub(crate) fn number_of(parcel: &Parcel) -> u32 {
    std::str::from_utf8(parcel.content.as_bytes()).unwrap().parse().unwrap()
}

pub(crate) fn numbers(leased: &[LeasedParcel]) -> Vec<u32> {
    leased.iter().map(|leased| number_of(&leased.parked().parcel)).collect()
}

pub(crate) async fn lease(lot: &RedisParkingLot, ttl: Duration) -> Vec<LeasedParcel> {
    lot.lease(LeaseRequest::new(1000, ttl)).await.unwrap()
}

/// Leases until there is something, whoever fails meanwhile.
pub(crate) async fn lease_eventually(lot: &RedisParkingLot) -> Vec<LeasedParcel> {
    let start = Instant::now();
    loop {
        let leased = lot.lease(LeaseRequest::new(1000, LONG)).await;
        match leased {
            Ok(leased) if !leased.is_empty() => return leased,
            other => assert!(start.elapsed() < PATIENCE, "a lane comes due: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Parks until it succeeds; an attempt that failed may have taken effect.
pub(crate) async fn park_again(lot: &RedisParkingLot, name: &str, numbers: &[u32]) {
    let start = Instant::now();
    while let Err(error) = park(lot, name, numbers.iter().copied()).await {
        assert!(start.elapsed() < PATIENCE, "no recovery: {error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn settle_done(lot: &RedisParkingLot, leased: LeasedParcel) -> Settled {
    lot.settle(&[leased.done()]).await.unwrap()[0]
}

/// What is parked, by ascending number.
pub(crate) async fn parked(lot: &RedisParkingLot) -> Vec<u32> {
    let query = ParcelQuery::default().with_size(PageSize::new(1000).unwrap());
    let mut page = lot.parked(&query).await.unwrap();
    let mut found = Vec::new();
    loop {
        found.extend(page.items.iter().map(|parked| number_of(&parked.parcel)));
        let Some(token) = page.next else { return found };
        page = lot.parked(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
}

/// The sort of fault that a call ended with.
pub(crate) fn fault_kind<T: std::fmt::Debug>(answer: Result<T, LotError>) -> FaultKind {
    match answer {
        Err(LotError::Fault(fault)) => fault.kind(),
        other => panic!("the call fails with a fault: {other:?}"),
    }
}
