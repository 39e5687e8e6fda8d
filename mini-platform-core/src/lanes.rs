//! What a parking lot decides: whose turn it is, who holds what, what is full.
//!
//! Nothing here waits, reads a clock or touches a disk. Parking lots that keep their state in this process, in memory
//! or on a disk beside it, are one [`Lanes`] behind a lock; it is their port's contract in one place.
//!
//! Every lane has one turn: the time at which it is due, and a number, so that lanes of the same time have an order.
//! A lane that is leased has its turn at the end of the lease, so an end of a lease is nothing that somebody has to
//! notice. Every call takes O(log n) for a parcel that it takes in, gives out or takes back, however many wait.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::domain::{
    ClientId, DeathCause, LeaseId, LeaseRequest, LotLimits, LotStatus, Parcel, ParcelContent, ParcelId,
    ParcelVerdict, ParkReason, Settled, Settlement, Timestamp,
};

/// The finest difference of two times.
const TICK: Duration = Duration::from_micros(1);

/// The content of a parcel, or a note of where it is.
pub trait Content: Clone {
    /// Returns how long the content is.
    fn bytes(&self) -> u64;
}

impl Content for ParcelContent {
    fn bytes(&self) -> u64 {
        u64::try_from(self.as_bytes().len()).unwrap_or(u64::MAX)
    }
}

/// A parcel that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<C> {
    /// Its name.
    pub id: ParcelId,
    /// Whose lane it is in.
    pub client: ClientId,
    /// Its content, or where that is.
    pub content: C,
    /// Why it is not finished.
    pub reason: ParkReason,
    /// How often it was tried since it was parked.
    pub attempts: u32,
    /// When it was parked.
    pub parked_at: Timestamp,
}

/// A pause that a lane makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When it began.
    pub since: Timestamp,
    /// When it is over.
    pub until: Timestamp,
}

/// What outlives a restart of a lot that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<C> {
    /// The parcel.
    pub held: Held<C>,
    /// Whether it is parked or dead.
    pub state: RecordState,
}

/// Whether a parcel is parked or dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// It waits in its lane.
    Parked {
        /// Its place among all that were parked.
        sequence: u64,
        /// The pause of its lane when that was last settled.
        pause: Option<Pause>,
    },
    /// It is tried no more.
    Dead {
        /// Why.
        cause: DeathCause,
        /// When that was decided.
        died_at: Timestamp,
    },
}

/// A dead letter.
#[derive(Debug, Clone)]
pub struct Dead<C> {
    /// The parcel, as it was last.
    pub held: Held<C>,
    /// Why it is tried no more.
    pub cause: DeathCause,
    /// When that was decided.
    pub died_at: Timestamp,
}

/// Says that the parcels do not fit into the [`LotLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LotFull;

/// When a lane is due, and its place among those of the same time.
type Turn = (Timestamp, u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is known, and has no place in its lane yet.
    Admitted,
    Waiting,
    /// It was leased, and that lease may have ended.
    Leased(LeaseId),
}

struct Slot<C> {
    held: Held<C>,
    state: State,
}

struct Lease {
    id: LeaseId,
    until: Timestamp,
    /// How many parcels are not settled.
    open: usize,
}

struct Lane {
    /// Ascending sequences; never empty.
    queue: VecDeque<u64>,
    turn: Turn,
    not_before: Option<Timestamp>,
    lease: Option<Lease>,
}

/// The time of a lot: that of its clock, but that it never goes back.
///
/// When the clock is set back, time goes on from where it was. So what is due stays due, and pauses and leases last
/// as long as they were meant to.
struct LotTime {
    seen: Timestamp,
    now: Timestamp,
}

impl LotTime {
    /// Moves on to what the clock shows.
    fn tick(&mut self, clock: Timestamp) -> Timestamp {
        self.now = self.now.saturating_add(clock.since(self.seen));
        self.seen = clock;
        self.now
    }
}

/// The parcels of a parking lot, their lanes and their leases.
///
/// Read the clock that a call is given behind the same lock, so that times come in their order: each step back counts
/// as a clock that was set back.
pub struct Lanes<C> {
    limits: LotLimits,
    time: LotTime,
    /// By sequence.
    parked: BTreeMap<u64, Slot<C>>,
    sequences: BTreeMap<ParcelId, u64>,
    dead: BTreeMap<ParcelId, Dead<C>>,
    lanes: HashMap<ClientId, Lane, RandomState>,
    turns: BTreeMap<Turn, ClientId>,
    bytes: u64,
    next_sequence: u64,
    next_turn: u64,
    next_lease: u64,
}

impl<C> fmt::Debug for Lanes<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parked, dead) = (self.parked.len(), self.dead.len());
        f.debug_struct("Lanes").field("parked", &parked).field("dead", &dead).finish_non_exhaustive()
    }
}

impl<C: Content> Lanes<C> {
    /// Makes a lot that is empty.
    #[must_use]
    pub fn new(limits: LotLimits, clock: Timestamp) -> Self {
        Self {
            limits,
            time: LotTime { seen: clock, now: clock },
            parked: BTreeMap::new(),
            sequences: BTreeMap::new(),
            dead: BTreeMap::new(),
            lanes: HashMap::default(),
            turns: BTreeMap::new(),
            bytes: 0,
            next_sequence: 0,
            next_turn: 0,
            // Not from zero: who holds a lease of an earlier life of this lot must not meet its number again.
            next_lease: clock.as_micros().max(0).cast_unsigned(),
        }
    }

    /// Makes a lot of what outlived the one before it. Nothing is leased, and what waits for no pause is due.
    #[must_use]
    pub fn restore(limits: LotLimits, clock: Timestamp, mut records: Vec<Record<C>>) -> Self {
        let mut lot = Self::new(limits, clock);
        records.sort_unstable_by_key(|record| match record.state {
            RecordState::Parked { sequence, .. } => sequence,
            RecordState::Dead { .. } => 0,
        });
        for Record { held, state } in records {
            lot.bytes += held.content.bytes();
            match state {
                RecordState::Dead { cause, died_at } => {
                    lot.dead.insert(held.id, Dead { held, cause, died_at });
                }
                RecordState::Parked { sequence, pause } => {
                    // A pause that begins later than now was made before the clock was set back.
                    let not_before = pause.filter(|pause| pause.since <= clock).map(|pause| pause.until);
                    let client = held.client.clone();
                    lot.next_sequence = lot.next_sequence.max(sequence + 1);
                    lot.admit_one(sequence, held);
                    lot.enter([sequence]);
                    lot.put_off(&client, not_before);
                }
            }
        }
        lot
    }

    /// Takes note of those parcels that are not known, and answers them with their sequences: all of them or none.
    ///
    /// They have a sequence and count, and are not leased before they [enter](Lanes::enter) their lanes.
    ///
    /// # Errors
    /// They do not fit.
    pub fn admit<'a>(
        &mut self,
        clock: Timestamp,
        parcels: &'a [Parcel],
        content: impl Fn(&Parcel) -> C,
    ) -> Result<Vec<(u64, &'a Parcel)>, LotFull> {
        self.time.tick(clock);
        let mut met = HashSet::with_capacity_and_hasher(parcels.len(), RandomState::default());
        let new: Vec<&Parcel> =
            parcels.iter().filter(|parcel| !self.knows(parcel.id) && met.insert(parcel.id)).collect();
        if !self.fits(&new) {
            return Err(LotFull);
        }
        let mut admitted = Vec::with_capacity(new.len());
        for parcel in new {
            let Parcel { id, client, reason, .. } = parcel.clone();
            let content = content(parcel);
            let held = Held { id, client, content, reason, attempts: 0, parked_at: clock };
            let sequence = self.take_sequence();
            self.bytes += held.content.bytes();
            self.admit_one(sequence, held);
            admitted.push((sequence, parcel));
        }
        Ok(admitted)
    }

    fn knows(&self, id: ParcelId) -> bool {
        self.sequences.contains_key(&id) || self.dead.contains_key(&id)
    }

    fn fits(&self, new: &[&Parcel]) -> bool {
        let count = u64::try_from(new.len()).unwrap_or(u64::MAX);
        let bytes: u64 = new.iter().map(|parcel| parcel.content.bytes()).sum();
        let status = self.status();
        count == 0
            || (status.parked + status.dead + count <= self.limits.parcels
                && self.bytes + bytes <= self.limits.bytes)
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    fn admit_one(&mut self, sequence: u64, held: Held<C>) {
        self.sequences.insert(held.id, sequence);
        self.parked.insert(sequence, Slot { held, state: State::Admitted });
    }

    /// Puts parcels that were admitted into their lanes.
    pub fn enter(&mut self, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            let Some(slot) = self.parked.get_mut(&sequence) else { continue };
            slot.state = State::Waiting;
            let client = slot.held.client.clone();
            if let Some(lane) = self.lanes.get_mut(&client) {
                // Last, unless others of the client entered out of turn.
                let place = lane.queue.partition_point(|earlier| *earlier < sequence);
                lane.queue.insert(place, sequence);
            } else {
                let turn = self.give_turn(self.time.now, client.clone());
                let lane = Lane { queue: VecDeque::from([sequence]), turn, not_before: None, lease: None };
                self.lanes.insert(client, lane);
            }
        }
    }

    fn give_turn(&mut self, due: Timestamp, client: ClientId) -> Turn {
        let turn = (due, self.next_turn);
        self.next_turn += 1;
        self.turns.insert(turn, client);
        turn
    }

    /// Gives a lane a new turn in the place of the one that it has.
    fn move_turn(&mut self, client: &ClientId, due: Timestamp) {
        let Some(lane) = self.lanes.get(client) else { return };
        self.turns.remove(&lane.turn);
        let turn = self.give_turn(due, client.clone());
        if let Some(lane) = self.lanes.get_mut(client) {
            lane.turn = turn;
        }
    }

    /// Puts a lane off that is not leased.
    fn put_off(&mut self, client: &ClientId, not_before: Option<Timestamp>) {
        let Some(lane) = self.lanes.get_mut(client) else { return };
        lane.not_before = lane.not_before.max(not_before);
        if let Some(due) = lane.not_before
            && due > lane.turn.0
        {
            self.move_turn(client, due);
        }
    }

    /// Leases parcels of lanes that are due.
    pub fn lease(&mut self, clock: Timestamp, request: LeaseRequest) -> Vec<(LeaseId, Held<C>)> {
        let now = self.time.tick(clock);
        // At least one tick, so that no lane comes twice.
        let until = now.saturating_add(request.ttl().max(TICK));
        let mut leased = Vec::new();
        while leased.len() < request.max() {
            let Some((turn, client)) = self.turns.first_key_value() else { break };
            if turn.0 > now {
                break;
            }
            let client = client.clone();
            self.lease_lane(&client, until, request.max() - leased.len(), &mut leased);
        }
        leased
    }

    fn lease_lane(
        &mut self,
        client: &ClientId,
        until: Timestamp,
        room: usize,
        leased: &mut Vec<(LeaseId, Held<C>)>,
    ) {
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        let Some(lane) = self.lanes.get_mut(client) else { return };
        let open = room.min(lane.queue.len());
        lane.lease = Some(Lease { id, until, open });
        for sequence in lane.queue.iter().take(open) {
            let Some(slot) = self.parked.get_mut(sequence) else { continue };
            slot.state = State::Leased(id);
            leased.push((id, slot.held.clone()));
        }
        self.move_turn(client, until);
    }

    /// Does what is to be done with a leased parcel.
    pub fn settle(&mut self, clock: Timestamp, settlement: &Settlement) -> Settled {
        let now = self.time.tick(clock);
        let Some(sequence) = self.sequence_under(settlement, now) else { return Settled::LeaseLost };
        let Some(slot) = self.parked.get_mut(&sequence) else { return Settled::LeaseLost };
        slot.state = State::Waiting;
        let client = slot.held.client.clone();
        let mut not_before = None;
        match settlement.verdict() {
            ParcelVerdict::Retry { reason, after, counts } => {
                slot.held.reason = reason;
                slot.held.attempts = slot.held.attempts.saturating_add(u32::from(counts));
                not_before = Some(now.saturating_add(after));
            }
            ParcelVerdict::Done => {
                let held = self.take_out(sequence);
                self.bytes -= held.map_or(0, |held| held.content.bytes());
            }
            ParcelVerdict::Dead { cause, last } => {
                if let Some(mut held) = self.take_out(sequence) {
                    held.attempts = held.attempts.saturating_add(u32::from(last.is_some()));
                    held.reason = last.unwrap_or(held.reason);
                    self.dead.insert(held.id, Dead { held, cause, died_at: clock });
                }
            }
        }
        self.close_one(&client, now, not_before);
        Settled::Yes
    }

    /// Returns the sequence of the parcel that a settlement is about, if its lease runs and covers it.
    fn sequence_under(&self, settlement: &Settlement, now: Timestamp) -> Option<u64> {
        let sequence = *self.sequences.get(&settlement.parcel())?;
        let slot = self.parked.get(&sequence)?;
        let lease = self.lanes.get(&slot.held.client)?.lease.as_ref()?;
        let runs = lease.id == settlement.lease() && now < lease.until;
        (runs && slot.state == State::Leased(lease.id)).then_some(sequence)
    }

    /// Takes a parcel out of its lane.
    fn take_out(&mut self, sequence: u64) -> Option<Held<C>> {
        let Slot { held, .. } = self.parked.remove(&sequence)?;
        self.sequences.remove(&held.id);
        let lane = self.lanes.get_mut(&held.client)?;
        if let Ok(place) = lane.queue.binary_search(&sequence) {
            lane.queue.remove(place);
        }
        Some(held)
    }

    /// Notes that a parcel of a lane is settled, and gives the lane its next turn.
    fn close_one(&mut self, client: &ClientId, now: Timestamp, not_before: Option<Timestamp>) {
        let Some(lane) = self.lanes.get_mut(client) else { return };
        lane.not_before = lane.not_before.max(not_before);
        if let Some(lease) = &mut lane.lease {
            lease.open -= 1;
        }
        if lane.lease.as_ref().is_some_and(|lease| lease.open == 0) {
            lane.lease = None;
        }
        let due = lane.lease.as_ref().map_or(now, |lease| lease.until);
        let due = lane.not_before.map_or(due, |not_before| not_before.max(due));
        if lane.queue.is_empty() {
            let turn = lane.turn;
            self.lanes.remove(client);
            self.turns.remove(&turn);
        } else if due != lane.turn.0 {
            self.move_turn(client, due);
        }
    }

    /// Parks a dead letter again: behind its lane, without attempts. Answers whether there was one.
    pub fn redrive(&mut self, clock: Timestamp, id: ParcelId) -> bool {
        self.time.tick(clock);
        let Some(Dead { held, .. }) = self.dead.remove(&id) else { return false };
        let sequence = self.take_sequence();
        self.admit_one(sequence, Held { attempts: 0, parked_at: clock, ..held });
        self.enter([sequence]);
        true
    }

    /// Forgets a dead letter. Answers whether there was one.
    pub fn discard(&mut self, id: ParcelId) -> bool {
        let dead = self.dead.remove(&id);
        self.bytes -= dead.as_ref().map_or(0, |dead| dead.held.content.bytes());
        dead.is_some()
    }

    /// Counts what is held.
    #[must_use]
    pub fn status(&self) -> LotStatus {
        let count = |length| u64::try_from(length).unwrap_or(u64::MAX);
        let oldest = self.parked.first_key_value();
        LotStatus {
            parked: count(self.parked.len()),
            dead: count(self.dead.len()),
            bytes: self.bytes,
            oldest_parked_at: oldest.map(|(_, slot)| slot.held.parked_at),
        }
    }

    /// Returns the parcels in their lanes whose ids are above one, by ascending id.
    pub fn parked_after(&self, after: Option<ParcelId>) -> impl Iterator<Item = &Held<C>> {
        let slots = self.sequences.range(behind(after)).filter_map(|(_, sequence)| self.parked.get(sequence));
        slots.filter(|slot| slot.state != State::Admitted).map(|slot| &slot.held)
    }

    /// Returns the dead letters whose ids are above one, by ascending id.
    pub fn dead_after(&self, after: Option<ParcelId>) -> impl Iterator<Item = &Dead<C>> {
        self.dead.range(behind(after)).map(|(_, dead)| dead)
    }

    /// Returns a dead letter.
    #[must_use]
    pub fn dead(&self, id: ParcelId) -> Option<&Dead<C>> {
        self.dead.get(&id)
    }

    /// Returns what of a parcel should outlive a restart, straight after the call that changed it; `None` when it is
    /// gone.
    #[must_use]
    pub fn record(&self, id: ParcelId) -> Option<Record<C>> {
        if let Some(Dead { held, cause, died_at }) = self.dead.get(&id) {
            let state = RecordState::Dead { cause: *cause, died_at: *died_at };
            return Some(Record { held: held.clone(), state });
        }
        let sequence = *self.sequences.get(&id)?;
        let held = self.parked.get(&sequence)?.held.clone();
        let not_before = self.lanes.get(&held.client).and_then(|lane| lane.not_before);
        let pause = not_before.filter(|not_before| *not_before > self.time.now).map(|not_before| {
            let since = self.time.seen;
            Pause { since, until: since.saturating_add(not_before.since(self.time.now)) }
        });
        Some(Record { held, state: RecordState::Parked { sequence, pause } })
    }
}

fn behind(after: Option<ParcelId>) -> (Bound<ParcelId>, Bound<ParcelId>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::domain::{LeasedParcel, MAX_PARCELS};
    use crate::testkit::{at, client};

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3_600);
    const ROOM: LotLimits = LotLimits { parcels: 1_000, bytes: 1_000_000 };

    type Lot = Lanes<ParcelContent>;

    fn id(number: u32) -> ParcelId {
        ParcelId::new(at(i64::from(number)), [0; 10])
    }

    fn parcel(number: u32, name: &str) -> Parcel {
        let content = ParcelContent::new(number.to_be_bytes().to_vec()).unwrap();
        Parcel { id: id(number), client: client(name), content, reason: ParkReason::Timeout }
    }

    fn admit(lot: &mut Lot, clock: Timestamp, parcels: &[Parcel]) -> Vec<u64> {
        let admitted = lot.admit(clock, parcels, |parcel| parcel.content.clone()).unwrap();
        admitted.into_iter().map(|(sequence, _)| sequence).collect()
    }

    fn park(lot: &mut Lot, clock: Timestamp, parcels: &[Parcel]) {
        let admitted = admit(lot, clock, parcels);
        lot.enter(admitted);
    }

    /// A lot with a parcel of one client.
    fn lot_of_one() -> Lot {
        let mut lot = Lot::new(ROOM, at(0));
        park(&mut lot, at(0), &[parcel(1, "ann")]);
        lot
    }

    fn lease(lot: &mut Lot, clock: Timestamp, ttl: Duration) -> Vec<LeasedParcel> {
        let leased = lot.lease(clock, LeaseRequest::new(MAX_PARCELS, ttl));
        leased.into_iter().map(|(lease, held)| LeasedParcel::new(lease, held.into())).collect()
    }

    fn ids(leased: &[LeasedParcel]) -> Vec<ParcelId> {
        leased.iter().map(|leased| leased.parked().parcel.id).collect()
    }

    /// Whether something is due; that is leased.
    fn is_due(lot: &mut Lot, clock: Timestamp) -> bool {
        !lease(lot, clock, HOUR).is_empty()
    }

    fn micro_before(clock: Timestamp) -> Timestamp {
        Timestamp::from_micros(clock.as_micros() - 1).unwrap()
    }

    #[test]
    fn a_lease_ends_on_the_microsecond() {
        let mut lot = lot_of_one();
        let leased = lease(&mut lot, at(0), SECOND).remove(0);
        assert!(!is_due(&mut lot, micro_before(at(1))));
        assert_eq!(lot.settle(at(1), &leased.done()), Settled::LeaseLost);
        assert!(is_due(&mut lot, at(1)));
    }

    #[test]
    fn a_settlement_just_before_the_end_of_a_lease_counts() {
        let mut lot = lot_of_one();
        let leased = lease(&mut lot, at(0), SECOND).remove(0);
        assert_eq!(lot.settle(micro_before(at(1)), &leased.done()), Settled::Yes);
        assert_eq!(lot.status(), LotStatus::default());
    }

    #[test]
    fn a_pause_ends_on_the_microsecond() {
        let mut lot = lot_of_one();
        let leased = lease(&mut lot, at(0), HOUR).remove(0);
        lot.settle(at(1), &leased.retry(ParkReason::Timeout, SECOND));
        assert!(!is_due(&mut lot, micro_before(at(2))));
        assert!(is_due(&mut lot, at(2)));
    }

    #[test]
    fn a_lease_of_no_time_gives_a_lane_once() {
        let mut lot = lot_of_one();
        assert_eq!(ids(&lease(&mut lot, at(0), Duration::ZERO)), [id(1)]);
        assert!(is_due(&mut lot, at(1)));
    }

    #[test]
    fn what_is_due_stays_due_when_the_clock_is_set_back() {
        let mut lot = Lot::new(ROOM, at(1_000));
        park(&mut lot, at(1_000), &[parcel(1, "ann")]);
        assert!(is_due(&mut lot, at(5)));
    }

    #[test]
    fn a_running_lease_keeps_its_lane_and_its_length_when_the_clock_is_set_back() {
        let mut lot = Lot::new(ROOM, at(1_000));
        park(&mut lot, at(1_000), &[parcel(1, "ann"), parcel(2, "ann")]);
        let mut held = lease(&mut lot, at(1_000), 10 * SECOND);
        for clock in [5, 4, 9, 3] {
            assert!(!is_due(&mut lot, at(clock)), "the lane is leased at {clock}");
        }
        assert_eq!(lot.settle(at(3), &held.remove(0).done()), Settled::Yes, "five seconds passed");
        assert!(!is_due(&mut lot, micro_before(at(8))));
        assert_eq!(ids(&lease(&mut lot, at(8), HOUR)), [id(2)], "ten seconds passed");
    }

    #[test]
    fn a_pause_keeps_its_length_when_the_clock_is_set_back() {
        let mut lot = Lot::new(ROOM, at(1_000));
        park(&mut lot, at(1_000), &[parcel(1, "ann")]);
        let leased = lease(&mut lot, at(1_000), HOUR).remove(0);
        lot.settle(at(1_000), &leased.retry(ParkReason::Timeout, 10 * SECOND));
        assert!(!is_due(&mut lot, at(5)));
        assert!(!is_due(&mut lot, micro_before(at(15))));
        assert!(is_due(&mut lot, at(15)));
    }

    #[test]
    fn what_is_admitted_is_known_and_counted_and_not_given_out() {
        let mut lot = Lot::new(LotLimits { parcels: 1, bytes: 100 }, at(0));
        let parcels = [parcel(1, "ann")];
        let admitted = admit(&mut lot, at(0), &parcels);
        assert!(admit(&mut lot, at(0), &parcels).is_empty(), "it is known");
        let another = [parcel(2, "ann")];
        assert_eq!(lot.admit(at(0), &another, |parcel| parcel.content.clone()), Err(LotFull));
        assert!(!is_due(&mut lot, at(1)) && lot.parked_after(None).next().is_none());
        lot.enter(admitted);
        assert_eq!(lot.parked_after(None).count(), 1);
        assert!(is_due(&mut lot, at(1)));
    }

    #[test]
    fn who_enters_out_of_turn_finds_its_place() {
        let mut lot = Lot::new(ROOM, at(0));
        let first = admit(&mut lot, at(0), &[parcel(1, "ann"), parcel(2, "ann")]);
        let second = admit(&mut lot, at(0), &[parcel(3, "ann")]);
        lot.enter(second);
        let leased = lease(&mut lot, at(0), HOUR).remove(0);
        lot.enter(first);
        assert!(!is_due(&mut lot, at(0)), "the lane is leased");
        assert_eq!(lot.settle(at(0), &leased.retry(ParkReason::Timeout, Duration::ZERO)), Settled::Yes);
        assert_eq!(ids(&lease(&mut lot, at(0), HOUR)), [1, 2, 3].map(id));
    }

    #[test]
    fn a_lease_of_an_earlier_life_is_lost() {
        let mut lot = lot_of_one();
        let leased = lease(&mut lot, at(0), HOUR).remove(0);
        let records = vec![lot.record(id(1)).unwrap()];
        let mut lot = Lot::restore(ROOM, at(1), records);
        assert!(is_due(&mut lot, at(1)), "leases end with a lot");
        assert_eq!(lot.settle(at(1), &leased.done()), Settled::LeaseLost);
    }

    #[test]
    fn a_pause_outlives_a_restart() {
        for (set_back_by, restarted_at, due_at) in [(0, 1_001, 1_010), (0, 2_000, 2_000), (900, 101, 110)] {
            let mut lot = Lot::new(ROOM, at(1_000));
            park(&mut lot, at(1_000), &[parcel(1, "ann")]);
            let leased = lease(&mut lot, at(1_000), HOUR).remove(0);
            let clock = at(1_000 - set_back_by);
            lot.settle(clock, &leased.retry(ParkReason::Timeout, 10 * SECOND));
            let record = lot.record(id(1)).unwrap();
            assert_eq!(record.held.attempts, 1);
            let mut lot = Lot::restore(ROOM, at(restarted_at), vec![record]);
            if restarted_at < due_at {
                assert!(!is_due(&mut lot, micro_before(at(due_at))), "the pause is not over");
            }
            assert!(is_due(&mut lot, at(due_at)));
        }
    }

    #[test]
    fn a_pause_of_a_time_that_has_not_come_yet_holds_nothing_up() {
        let mut lot = Lot::new(ROOM, at(1_000));
        park(&mut lot, at(1_000), &[parcel(1, "ann")]);
        let leased = lease(&mut lot, at(1_000), HOUR).remove(0);
        lot.settle(at(1_000), &leased.retry(ParkReason::Timeout, 10 * SECOND));
        let record = lot.record(id(1)).unwrap();
        let mut lot = Lot::restore(ROOM, at(5), vec![record]);
        assert!(is_due(&mut lot, at(5)), "the clock was set back while nothing ran");
    }

    /// Does something at random, and writes down what should outlive a restart.
    fn step(
        lot: &mut Lot,
        clock: Timestamp,
        rng: &mut Rng,
        disk: &mut BTreeMap<ParcelId, Record<ParcelContent>>,
    ) {
        let mut touched = Vec::new();
        match rng.u8(0..6) {
            0 | 1 => {
                let name = ["a", "b", "c", "d"][rng.usize(0..4)];
                let parcels: Vec<_> = (0..3).map(|_| parcel(rng.u32(0..60), name)).collect();
                park(lot, clock, &parcels);
                touched.extend(parcels.iter().map(|parcel| parcel.id));
            }
            2 | 3 => {
                let leased = lot.lease(clock, LeaseRequest::new(rng.usize(1..6), rng.u32(0..4) * SECOND));
                for (lease, held) in leased {
                    let leased = LeasedParcel::new(lease, held.into());
                    touched.push(leased.parked().parcel.id);
                    let settlement = match rng.u8(0..4) {
                        0 => leased.done(),
                        1 => leased.bury(DeathCause::Undecodable, Some(ParkReason::Storing)),
                        2 => leased.retry(ParkReason::Linking, rng.u32(0..3) * SECOND),
                        _ => continue,
                    };
                    lot.settle(clock, &settlement);
                }
            }
            4 => {
                let id = id(rng.u32(0..60));
                lot.redrive(clock, id);
                touched.push(id);
            }
            _ => {
                let id = id(rng.u32(0..60));
                lot.discard(id);
                touched.push(id);
            }
        }
        for id in touched {
            match lot.record(id) {
                Some(record) => drop(disk.insert(id, record)),
                None => drop(disk.remove(&id)),
            }
        }
    }

    /// The lanes of a lot, when everything is due.
    fn lanes_of(lot: &mut Lot, clock: Timestamp) -> BTreeMap<ClientId, Vec<Held<ParcelContent>>> {
        let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (_, held) in lot.lease(clock, LeaseRequest::new(MAX_PARCELS, HOUR)) {
            lanes.entry(held.client.clone()).or_default().push(held);
        }
        lanes
    }

    #[test]
    fn a_lot_outlives_a_restart_at_any_moment() {
        for seed in 0..200 {
            let (mut rng, mut disk) = (Rng::with_seed(seed), BTreeMap::new());
            let mut lot = Lot::new(ROOM, at(0));
            let mut clock = at(0);
            for _ in 0..rng.u32(1..60) {
                clock = clock.saturating_add(rng.u32(0..3) * SECOND);
                step(&mut lot, clock, &mut rng, &mut disk);
            }
            let records: Vec<_> = disk.into_values().collect();
            let mut restored = Lot::restore(ROOM, clock, records);
            assert_eq!(restored.status(), lot.status(), "seed {seed}");
            let dead = |lot: &Lot| -> Vec<_> {
                lot.dead_after(None).map(|dead| (dead.held.clone(), dead.cause, dead.died_at)).collect()
            };
            assert_eq!(dead(&restored), dead(&lot), "seed {seed}");
            let later = clock.saturating_add(HOUR);
            assert_eq!(lanes_of(&mut restored, later), lanes_of(&mut lot, later), "seed {seed}");
            assert!(!is_due(&mut restored, later), "seed {seed}: nothing is left behind");
        }
    }
}
