//! The parking lot: one for all dispatchers, reached by wire.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::{
    DeadLetter, LeaseRequest, LeasedParcel, LotLimits, LotStatus, Page, Parcel, ParcelId, ParcelQuery,
    ParkedParcel, Settled, Settlement, Timestamp,
};
use mini_platform_core::error::LotError;
use mini_platform_core::memory::MemoryParkingLot;
use mini_platform_core::port::{Clock, ParkingLot};
use mini_platform_core::testkit::VirtualClock;

use super::weather::Place;
use super::wire::Wire;
use super::world::World;

pub(crate) struct Lot {
    pub(crate) inner: MemoryParkingLot,
    pub(crate) clock: Arc<VirtualClock>,
    limits: LotLimits,
    time: Mutex<Time>,
}

/// The time by which leases end, which never goes back.
struct Time {
    seen: Timestamp,
    now: Timestamp,
}

impl Lot {
    pub(crate) fn new(limits: LotLimits, start: Timestamp) -> Self {
        let clock = Arc::new(VirtualClock::new(start));
        let inner = MemoryParkingLot::new(limits, clock.clone());
        Self { inner, clock, limits, time: Mutex::new(Time { seen: start, now: start }) }
    }

    fn tick(&self) -> Timestamp {
        let (mut time, shown) = (self.time.lock().unwrap(), self.clock.now());
        time.now = time.now.saturating_add(shown.since(time.seen));
        time.seen = shown;
        time.now
    }

    /// Parks what comes from wherever, and tells the ledger.
    pub(crate) async fn park(&self, world: &World, parcels: &[Parcel]) -> Result<(), LotError> {
        self.tick();
        let parked = self.inner.park(parcels).await;
        if let Err(LotError::Full) = &parked {
            world.meet("the lot is full");
            world.note(format_args!("lot is full, {} parcels refused", parcels.len()));
        }
        parked?;
        let names = world.ledger().park(parcels);
        world.note(format_args!("lot parks {}", names.join(" ")));
        let status = self.inner.status().await?;
        if status.parked + status.dead > self.limits.parcels {
            let says = format!("{status:?} is more than {:?}", self.limits);
            world.ledger().breaks("the lot is bounded", says, []);
        }
        Ok(())
    }

    async fn lease(&self, world: &World, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
        let now = self.tick();
        let leased = self.inner.lease(request).await?;
        if !leased.is_empty() {
            let until = now.saturating_add(request.ttl().max(Duration::from_micros(1)));
            let names = world.ledger().lease(now, until, &leased);
            world.note(format_args!("lot leases {}", names.join(" ")));
        }
        Ok(leased)
    }
}

/// A dispatcher's way to the lot.
pub(crate) struct LotLine(pub(crate) Wire);

#[async_trait]
impl ParkingLot for LotLine {
    async fn park(&self, parcels: &[Parcel]) -> Result<(), LotError> {
        let Wire { world, life } = &self.0;
        if let Some(first) = parcels.first()
            && !life.is_over()
        {
            world.ledger().miss(life, first.reason, parcels);
            world.meet(format!("parked for {}", first.reason.as_str()));
            world.note(format_args!("{life} parks {} parcels: {}", parcels.len(), first.reason.as_str()));
        }
        let about = format!("{} parcels", parcels.len());
        let (world, parcels) = (Arc::clone(world), parcels.to_vec());
        let effect = move |_| {
            let (world, parcels) = (Arc::clone(&world), parcels.clone());
            async move { world.lot.park(&world, &parcels).await }
        };
        self.0.call(Place::Park, about, effect).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
        let world = Arc::clone(&self.0.world);
        let effect = move |_| {
            let world = Arc::clone(&world);
            async move { world.lot.lease(&world, request).await }
        };
        self.0.call(Place::Lease, "", effect).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, LotError> {
        let Wire { world, life } = &self.0;
        if !life.is_over() {
            world.ledger().about_to_settle(life, settlements);
        }
        let about = format!("{} parcels", settlements.len());
        let (world, life, settlements) = (Arc::clone(world), Arc::clone(life), settlements.to_vec());
        let effect = move |_| {
            let (world, life, settlements) = (Arc::clone(&world), Arc::clone(&life), settlements.clone());
            async move {
                let now = world.lot.tick();
                let results = world.lot.inner.settle(&settlements).await?;
                let names = world.ledger().settle(now, &life, &settlements, &results);
                for name in &names {
                    if let Some((_, word)) = name.split_once(' ') {
                        world.meet(format!("a parcel is settled: {word}"));
                    }
                }
                world.note(format_args!("lot settles for {life}: {}", names.join(", ")));
                Ok(results)
            }
        };
        self.0.call(Place::Settle, about, effect).await
    }

    async fn status(&self) -> Result<LotStatus, LotError> {
        self.0.world.lot.inner.status().await
    }

    async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
        self.0.world.lot.inner.parked(query).await
    }

    async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
        self.0.world.lot.inner.dead_letters(query).await
    }

    async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError> {
        self.0.world.lot.inner.dead_letter(id).await
    }

    async fn redrive(&self, id: ParcelId) -> Result<bool, LotError> {
        self.0.world.lot.inner.redrive(id).await
    }

    async fn discard(&self, id: ParcelId) -> Result<bool, LotError> {
        self.0.world.lot.inner.discard(id).await
    }
}
