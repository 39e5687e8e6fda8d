//! The parking lot: one for all dispatchers, reached by wire. It decides in memory, writes, and then answers; it can
//! restart, and knows then what was written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::{
    DeadLetter, LeaseRequest, LeasedParcel, LotLimits, LotStatus, Page, Parcel, ParcelContent, ParcelId,
    ParcelQuery, ParkedParcel, Settled, Settlement, Timestamp,
};
use mini_platform_core::error::{Fault, FaultKind, LotError};
use mini_platform_core::lanes::{Lanes, Record};
use mini_platform_core::port::{Clock, ParkingLot};
use mini_platform_core::testkit::VirtualClock;
use tokio::time::sleep;

use super::chance::Chance;
use super::life::Life;
use super::weather::Place;
use super::wire::Wire;
use super::world::World;

pub(crate) struct Lot {
    pub(crate) clock: Arc<VirtualClock>,
    limits: LotLimits,
    state: Mutex<State>,
}

struct State {
    lanes: Lanes<ParcelContent>,
    /// The time by which leases end, which never goes back.
    time: Time,
    written: BTreeMap<ParcelId, Record<ParcelContent>>,
    /// What was decided and is not written yet, in order.
    unwritten: VecDeque<Write>,
    decided: u64,
    restarts: u64,
}

struct Time {
    seen: Timestamp,
    now: Timestamp,
}

/// What one call writes.
struct Write {
    number: u64,
    records: Vec<(ParcelId, Option<Record<ParcelContent>>)>,
    entering: Vec<u64>,
    parking: Vec<Parcel>,
}

impl State {
    fn new(limits: LotLimits, clock: Timestamp) -> Self {
        Self {
            lanes: Lanes::new(limits, clock),
            time: Time { seen: clock, now: clock },
            written: BTreeMap::new(),
            unwritten: VecDeque::new(),
            decided: 0,
            restarts: 0,
        }
    }

    fn tick(&mut self, clock: Timestamp) -> Timestamp {
        let time = &mut self.time;
        time.now = time.now.saturating_add(clock.since(time.seen));
        time.seen = clock;
        time.now
    }

    /// Takes note of what is to be written of parcels that were changed.
    fn decide(
        &mut self,
        ids: impl IntoIterator<Item = ParcelId>,
        entering: Vec<u64>,
        parking: Vec<Parcel>,
    ) -> u64 {
        self.decided += 1;
        let records = ids.into_iter().map(|id| (id, self.lanes.record(id))).collect();
        self.unwritten.push_back(Write { number: self.decided, records, entering, parking });
        self.decided
    }

    /// Writes what was decided first.
    fn write_one(&mut self, world: &World) {
        let Some(Write { records, entering, parking, .. }) = self.unwritten.pop_front() else { return };
        for (id, record) in records {
            match record {
                Some(record) => self.written.insert(id, record),
                None => self.written.remove(&id),
            };
        }
        self.lanes.enter(entering);
        if !parking.is_empty() {
            let names = world.ledger().park(&parking);
            world.note(format_args!("lot parks {}", names.join(" ")));
        }
    }

    fn write_up_to(&mut self, number: u64, world: &World) {
        while self.unwritten.front().is_some_and(|write| write.number <= number) {
            self.write_one(world);
        }
    }
}

impl Lot {
    pub(crate) fn new(limits: LotLimits, start: Timestamp) -> Self {
        let clock = Arc::new(VirtualClock::new(start));
        Self { state: Mutex::new(State::new(limits, clock.now())), clock, limits }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn status(&self) -> LotStatus {
        self.state().lanes.status()
    }

    /// Starts anew with what is written; of what was on its way, the first part is.
    pub(crate) fn restart(&self, world: &World, chance: &Chance) {
        let (mut state, now) = (self.state(), self.clock.now());
        let written = chance.below(state.unwritten.len() + 1);
        (0..written).for_each(|_| state.write_one(world));
        let undone = state.unwritten.len();
        state.unwritten.clear();
        state.lanes = Lanes::restore(self.limits, now, state.written.values().cloned().collect());
        state.time = Time { seen: now, now };
        state.restarts += 1;
        world.ledger().restart_lot(state.written.values());
        drop(state);
        world.note(format_args!("lot restarts without {undone} decisions"));
        world.meet(if undone > 0 { "the lot restarts and forgets" } else { "the lot restarts" });
    }

    /// Waits until a decision is written, which it is also when nobody waits any more.
    async fn written(world: &Arc<World>, number: u64, restarts: u64) -> Result<(), LotError> {
        let longest = if world.chance.hits(0.1) { 300 } else { 5 };
        let (takes, world) = (world.chance.millis(0..=longest), Arc::clone(world));
        let writing = tokio::spawn(async move {
            sleep(takes).await;
            let mut state = world.lot.state();
            if state.restarts != restarts {
                return Err(Fault::new("lot", "write before it restarted", FaultKind::Unavailable).into());
            }
            state.write_up_to(number, &world);
            Ok(())
        });
        writing.await.unwrap()
    }

    /// Parks what comes from wherever.
    pub(crate) async fn park(&self, world: &Arc<World>, parcels: &[Parcel]) -> Result<(), LotError> {
        let (number, restarts) = {
            let (mut state, now) = (self.state(), self.clock.now());
            state.tick(now);
            let Ok(admitted) = state.lanes.admit(now, parcels, |parcel| parcel.content.clone()) else {
                world.meet("the lot is full");
                world.note(format_args!("lot is full, {} parcels refused", parcels.len()));
                return Err(LotError::Full);
            };
            let entering = admitted.iter().map(|(sequence, _)| *sequence).collect();
            let parking: Vec<Parcel> = admitted.into_iter().map(|(_, parcel)| parcel.clone()).collect();
            let ids: Vec<ParcelId> = parking.iter().map(|parcel| parcel.id).collect();
            let status = state.lanes.status();
            if status.parked + status.dead > self.limits.parcels {
                let says = format!("{status:?} is more than {:?}", self.limits);
                world.ledger().breaks("the lot is bounded", says, []);
            }
            (state.decide(ids, entering, parking), state.restarts)
        };
        Self::written(world, number, restarts).await
    }

    fn lease(&self, world: &World, request: LeaseRequest) -> Vec<LeasedParcel> {
        let (mut state, clock) = (self.state(), self.clock.now());
        let now = state.tick(clock);
        let leased = state.lanes.lease(clock, request).into_iter();
        let leased: Vec<_> = leased.map(|(lease, held)| LeasedParcel::new(lease, held.into())).collect();
        if !leased.is_empty() {
            let until = now.saturating_add(request.ttl().max(Duration::from_micros(1)));
            let names = world.ledger().lease(now, until, &leased);
            world.note(format_args!("lot leases {}", names.join(" ")));
        }
        leased
    }

    async fn settle(
        &self,
        world: &Arc<World>,
        life: &Life,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, LotError> {
        let (results, number, restarts) = {
            let (mut state, clock) = (self.state(), self.clock.now());
            let now = state.tick(clock);
            let results: Vec<Settled> =
                settlements.iter().map(|one| state.lanes.settle(clock, one)).collect();
            let names = world.ledger().settle(now, life, settlements, &results);
            for word in names.iter().filter_map(|name| name.split_once(' ')) {
                world.meet(format!("a parcel is settled: {}", word.1));
            }
            world.note(format_args!("lot settles for {life}: {}", names.join(", ")));
            let settled = settlements.iter().zip(&results).filter(|(_, result)| **result == Settled::Yes);
            let ids: Vec<ParcelId> = settled.map(|(settlement, _)| settlement.parcel()).collect();
            let number = state.decide(ids, Vec::new(), Vec::new());
            (results, number, state.restarts)
        };
        Self::written(world, number, restarts).await?;
        Ok(results)
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.state().lanes.dead_after(None).cloned().map(Into::into).collect()
    }

    /// Parks a dead letter again, as somebody may by hand.
    pub(crate) fn redrive(&self, world: &World, id: ParcelId) {
        let (mut state, now) = (self.state(), self.clock.now());
        state.tick(now);
        assert!(state.lanes.redrive(now, id));
        let number = state.decide([id], Vec::new(), Vec::new());
        state.write_up_to(number, world);
        world.ledger().redrive(id);
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
            async move { Ok(world.lot.lease(&world, request)) }
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
            async move { world.lot.settle(&world, &life, &settlements).await }
        };
        self.0.call(Place::Settle, about, effect).await
    }

    async fn status(&self) -> Result<LotStatus, LotError> {
        Ok(self.0.world.lot.status())
    }

    async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
        let state = self.0.world.lot.state();
        let items = state.lanes.parked_after(query.after()).cloned().map(Into::into).collect();
        Ok(Page::cut(items, query.size(), |last: &ParkedParcel| query.token_after(last.parcel.id)))
    }

    async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
        let state = self.0.world.lot.state();
        let items = state.lanes.dead_after(query.after()).cloned().map(Into::into).collect();
        Ok(Page::cut(items, query.size(), |last: &DeadLetter| query.token_after(last.parked.parcel.id)))
    }

    async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError> {
        Ok(self.0.world.lot.state().lanes.dead(id).cloned().map(Into::into))
    }

    async fn redrive(&self, id: ParcelId) -> Result<bool, LotError> {
        Ok(self.0.world.lot.state().lanes.redrive(self.0.world.lot.clock.now(), id))
    }

    async fn discard(&self, id: ParcelId) -> Result<bool, LotError> {
        Ok(self.0.world.lot.state().lanes.discard(id))
    }
}
