//! A parking lot in memory.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use super::lock;
use crate::domain::{
    DeadLetter, LeaseRequest, LeasedParcel, LotLimits, LotStatus, Page, Parcel, ParcelContent, ParcelId,
    ParcelQuery, ParkedParcel, Settled, Settlement, Timestamp,
};
use crate::error::LotError;
use crate::lanes::{Dead, Held, Lanes, LotFull};
use crate::port::{Clock, ParkingLot, SystemClock};

/// A [`ParkingLot`] in memory.
pub struct MemoryParkingLot {
    clock: Arc<dyn Clock>,
    lanes: Mutex<Lanes<ParcelContent>>,
}

impl fmt::Debug for MemoryParkingLot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryParkingLot").field("lanes", &*lock(&self.lanes)).finish_non_exhaustive()
    }
}

impl Default for MemoryParkingLot {
    fn default() -> Self {
        Self::new(LotLimits::default(), Arc::new(SystemClock))
    }
}

impl MemoryParkingLot {
    /// Makes a lot that is empty. Its clock says when a lane is due and when a lease ends.
    #[must_use]
    pub fn new(limits: LotLimits, clock: Arc<dyn Clock>) -> Self {
        let lanes = Mutex::new(Lanes::new(limits, clock.now()));
        Self { clock, lanes }
    }

    /// Locks the lanes, and reads the clock behind the lock.
    fn enter(&self) -> (MutexGuard<'_, Lanes<ParcelContent>>, Timestamp) {
        let lanes = lock(&self.lanes);
        (lanes, self.clock.now())
    }
}

impl From<Held<ParcelContent>> for ParkedParcel {
    fn from(held: Held<ParcelContent>) -> Self {
        let Held { id, client, content, reason, attempts, parked_at } = held;
        Self { parcel: Parcel { id, client, content, reason }, attempts, parked_at }
    }
}

impl From<Dead<ParcelContent>> for DeadLetter {
    fn from(dead: Dead<ParcelContent>) -> Self {
        Self { parked: dead.held.into(), cause: dead.cause, died_at: dead.died_at }
    }
}

impl From<LotFull> for LotError {
    fn from(_: LotFull) -> Self {
        Self::Full
    }
}

#[async_trait]
impl ParkingLot for MemoryParkingLot {
    async fn park(&self, parcels: &[Parcel]) -> Result<(), LotError> {
        let (mut lanes, now) = self.enter();
        let admitted = lanes.admit(now, parcels, |parcel| parcel.content.clone())?;
        lanes.enter(admitted.into_iter().map(|(sequence, _)| sequence));
        Ok(())
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
        let (mut lanes, now) = self.enter();
        let leased = lanes.lease(now, request);
        Ok(leased.into_iter().map(|(lease, held)| LeasedParcel::new(lease, held.into())).collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, LotError> {
        let (mut lanes, now) = self.enter();
        Ok(settlements.iter().map(|settlement| lanes.settle(now, settlement)).collect())
    }

    async fn status(&self) -> Result<LotStatus, LotError> {
        Ok(lock(&self.lanes).status())
    }

    async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
        let lanes = lock(&self.lanes);
        let found = lanes.parked_after(query.after()).take(query.size().get() + 1);
        let items = found.map(|held| held.clone().into()).collect();
        Ok(Page::cut(items, query.size(), |last: &ParkedParcel| query.token_after(last.parcel.id)))
    }

    async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
        let lanes = lock(&self.lanes);
        let found = lanes.dead_after(query.after()).take(query.size().get() + 1);
        let items = found.map(|dead| dead.clone().into()).collect();
        Ok(Page::cut(items, query.size(), |last: &DeadLetter| query.token_after(last.parked.parcel.id)))
    }

    async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError> {
        Ok(lock(&self.lanes).dead(id).cloned().map(Into::into))
    }

    async fn redrive(&self, id: ParcelId) -> Result<bool, LotError> {
        let (mut lanes, now) = self.enter();
        Ok(lanes.redrive(now, id))
    }

    async fn discard(&self, id: ParcelId) -> Result<bool, LotError> {
        Ok(lock(&self.lanes).discard(id))
    }
}
