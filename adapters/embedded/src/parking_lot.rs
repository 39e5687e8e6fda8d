//! Parcels that wait for another try.
//!
//! What is decided is decided on an index in memory, [`Lanes`], which is read from the keyspace `parcels` when the lot
//! is first asked for. It knows all of a parcel but its content, and takes 214 bytes a parcel when clients have many and
//! 445 when each has one (`mini-platform-core/tests/lanes_are_small.rs`): 214 to 445 MB for a million.
//!
//! A call decides under the lock of the index, puts what is to be written into the writer's queue under the same lock,
//! and waits for the commit. So commits come in the order of decisions, and the threads that write need not look at
//! the index: a job is decided when it gets there. Parcels enter their lanes when their commit is over, so nobody
//! leases what may still be lost. Whatever else was decided is seen at once, by calls whose own writes are committed
//! behind it. A call that has nothing to write waits for the commit all the same, because what it says may rest on
//! a write that is on its way.
//!
//! After a commit that failed the index is ahead of the disk, so nothing is taken or told until the folder is opened
//! again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fjall::{Keyspace, OwnedWriteBatch, Readable, Snapshot, UserKey, UserValue};
use mini_platform_core::domain::{
    DeadLetter, LeaseId, LeaseRequest, LeasedParcel, LotLimits, LotStatus, Page, Parcel, ParcelContent,
    ParcelId, ParcelQuery, ParkedParcel, Settled, Settlement, Timestamp,
};
use mini_platform_core::error::{Causes, FaultKind, LotError};
use mini_platform_core::lanes::{Content, Dead, Held, Lanes, Record};
use mini_platform_core::port::{Clock, ParkingLot};
use tokio::sync::oneshot;

use crate::error::{BadRecord, Failure};
use crate::group::Answer;
use crate::record;
use crate::shared::{self, Shared};
use crate::store::Store;
use crate::writer::{Job, Reply};

const PARK: &str = "park events";
const LEASE: &str = "lease parcels";
const SETTLE: &str = "settle parcels";
const COUNT: &str = "count parcels";
const LIST_PARKED: &str = "list parcels";
const LIST_DEAD: &str = "list dead letters";
const GET_DEAD: &str = "get a dead letter";
const REDRIVE: &str = "redrive a dead letter";
const DISCARD: &str = "discard a dead letter";

/// The length of a content that is on the disk, which at most [`MAX_PARCEL_BYTES`] fits.
///
/// [`MAX_PARCEL_BYTES`]: mini_platform_core::domain::MAX_PARCEL_BYTES
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnDisk(pub(crate) u16);

impl OnDisk {
    fn of(content: &ParcelContent) -> Self {
        Self(u16::try_from(content.as_bytes().len()).unwrap_or(u16::MAX))
    }
}

impl Content for OnDisk {
    fn bytes(&self) -> u64 {
        u64::from(self.0)
    }
}

/// A [`ParkingLot`] in the folder of an [`Embedded`](crate::Embedded). A clone costs a reference count.
///
/// Leases end with the process; what waits, how often it was tried and how long it is put off is on the disk.
#[derive(Clone)]
pub struct EmbeddedParkingLot {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// The index of the parcels, which all handles share.
    lanes: Arc<Mutex<Lanes<OnDisk>>>,
}

impl fmt::Debug for EmbeddedParkingLot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedParkingLot").finish_non_exhaustive()
    }
}

/// Locks the index, which only code that does not panic changes.
fn lock(lanes: &Mutex<Lanes<OnDisk>>) -> MutexGuard<'_, Lanes<OnDisk>> {
    lanes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of a parcel on the disk.
enum Item {
    Content(UserKey, UserValue),
    Parcel(UserKey, UserValue),
    Forget(UserKey),
}

/// What a call writes, decided.
pub(crate) struct ParcelJob {
    items: Vec<Item>,
    /// Parcels that enter their lanes when they are durable.
    entering: Vec<u64>,
    lanes: Arc<Mutex<Lanes<OnDisk>>>,
    reply: Reply<()>,
}

impl ParcelJob {
    pub(crate) fn weight(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn write(self, store: &Store, batch: &mut OwnedWriteBatch) -> Answer {
        for item in self.items {
            match item {
                Item::Content(id, content) => batch.insert(&store.contents, id, content),
                Item::Parcel(id, parcel) => batch.insert(&store.parcels, id, parcel),
                Item::Forget(id) => {
                    batch.remove(&store.parcels, id.clone());
                    batch.remove(&store.contents, id);
                }
            }
        }
        let (lanes, entering, reply) = (self.lanes, self.entering, self.reply);
        Answer::with(move |failed| {
            if failed.is_none() {
                lock(&lanes).enter(entering);
            }
            drop(reply.send(failed.map_or(Ok(()), |failure| Err(failure.clone()))));
        })
    }
}

/// What a call decided.
struct Decided<T> {
    answer: T,
    items: Vec<Item>,
    entering: Vec<u64>,
}

impl<T> Decided<T> {
    fn new(answer: T, items: Vec<Item>) -> Self {
        Self { answer, items, entering: Vec::new() }
    }
}

/// Says of a parcel that was changed what is to be on the disk.
fn item(lanes: &Lanes<OnDisk>, id: ParcelId) -> Item {
    let key = UserKey::from(id.to_bytes());
    match lanes.record(id) {
        Some(record) => Item::Parcel(key, record::write_parcel(&record).into()),
        None => Item::Forget(key),
    }
}

impl EmbeddedParkingLot {
    pub(crate) fn new(
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        limits: LotLimits,
        records: Vec<Record<OnDisk>>,
    ) -> Self {
        let lanes = Lanes::restore(limits, clock.now(), records);
        Self { shared, clock, lanes: Arc::new(Mutex::new(lanes)) }
    }

    /// Decides something and waits until it is durable.
    async fn write<T>(
        &self,
        operation: &'static str,
        decide: impl FnOnce(&mut Lanes<OnDisk>, Timestamp) -> Result<Decided<T>, LotError>,
    ) -> Result<T, LotError> {
        let room = self.shared.room(operation).await?;
        let (reply, written) = oneshot::channel();
        let answer = {
            let mut lanes = lock(&self.lanes);
            self.shared.unbroken().map_err(|failure| failure.during(operation))?;
            let Decided { answer, items, entering } = decide(&mut lanes, self.clock.now())?;
            room.send(Job::Parcels(ParcelJob { items, entering, lanes: Arc::clone(&self.lanes), reply }));
            answer
        };
        shared::answered(operation, written).await?;
        Ok(answer)
    }

    /// Looks something up in the index, and reads contents as they were at that moment.
    async fn read<F: Send + 'static, T: Send + 'static>(
        &self,
        operation: &'static str,
        find: impl FnOnce(&mut Lanes<OnDisk>) -> Vec<F> + Send + 'static,
        complete: impl FnOnce(&Contents, Vec<F>) -> Result<Vec<T>, Failure> + Send + 'static,
    ) -> Result<Vec<T>, LotError> {
        let (shared, lanes) = (Arc::clone(&self.shared), Arc::clone(&self.lanes));
        let read = move |store: &Store| {
            let mut lanes = lock(&lanes);
            shared.unbroken()?;
            let found = find(&mut lanes);
            let contents = Contents { keyspace: store.contents.clone(), snapshot: store.snapshot() };
            drop(lanes);
            complete(&contents, found)
        };
        Ok(self.shared.read(operation, read).await?)
    }
}

/// The contents that were on the disk at a moment.
struct Contents {
    keyspace: Keyspace,
    snapshot: Snapshot,
}

impl Contents {
    /// Completes all of them or none.
    fn parked(&self, held: Vec<Held<OnDisk>>) -> Result<Vec<ParkedParcel>, Failure> {
        held.into_iter().map(|held| self.parked_one(held)).collect()
    }

    fn parked_one(&self, held: Held<OnDisk>) -> Result<ParkedParcel, Failure> {
        let Held { id, client, reason, attempts, parked_at, .. } = held;
        let missing = BadRecord { keyspace: "contents", reason: "the content of a parcel is missing" };
        let content = self.snapshot.get(&self.keyspace, id.to_bytes())?.ok_or(missing)?;
        let content = record::read_content(&content)?;
        Ok(ParkedParcel { parcel: Parcel { id, client, content, reason }, attempts, parked_at })
    }

    /// Completes those that can be. A parcel whose content is damaged holds up what is behind it in its lane, until the
    /// lease ends, and nobody else.
    fn leased(&self, leased: Vec<(LeaseId, Held<OnDisk>)>) -> Result<Vec<LeasedParcel>, Failure> {
        let mut completed = Vec::with_capacity(leased.len());
        // A lease is of one lane, whose parcels come one after another.
        let mut held_up = None;
        for (lease, held) in leased {
            if held_up == Some(lease) {
                continue;
            }
            let id = held.id;
            match self.parked_one(held) {
                Ok(parked) => completed.push(LeasedParcel::new(lease, parked)),
                Err(failure) if failure.kind() == FaultKind::Corrupt => {
                    held_up = Some(lease);
                    tracing::error!(parcel.id = %id, error = %Causes(&failure), "a parcel is damaged and holds up its lane");
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(completed)
    }

    fn dead(&self, dead: Vec<Dead<OnDisk>>) -> Result<Vec<DeadLetter>, Failure> {
        let letter =
            |Dead { held, cause, died_at }| Ok(DeadLetter { parked: self.parked_one(held)?, cause, died_at });
        dead.into_iter().map(letter).collect()
    }
}

/// Reads what is known of the parcels.
pub(crate) fn read_records(store: &Store) -> Result<Vec<Record<OnDisk>>, Failure> {
    let found = store.parcels.iter().map(|parcel| {
        let (key, value) = parcel.into_inner()?;
        Ok(record::read_parcel(&key, &value)?)
    });
    found.collect()
}

#[async_trait]
impl ParkingLot for EmbeddedParkingLot {
    async fn park(&self, parcels: &[Parcel]) -> Result<(), LotError> {
        let decide = |lanes: &mut Lanes<OnDisk>, now| {
            let admitted = lanes.admit(now, parcels, |parcel| OnDisk::of(&parcel.content))?;
            let mut decided = Decided::new((), Vec::with_capacity(2 * admitted.len()));
            for (sequence, parcel) in admitted {
                let content = record::write_content(&parcel.content);
                decided.items.push(Item::Content(parcel.id.to_bytes().into(), content.into()));
                decided.items.push(item(lanes, parcel.id));
                decided.entering.push(sequence);
            }
            Ok(decided)
        };
        self.write(PARK, decide).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
        let clock = Arc::clone(&self.clock);
        let lease = move |lanes: &mut Lanes<OnDisk>| lanes.lease(clock.now(), request);
        self.read(LEASE, lease, Contents::leased).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, LotError> {
        let decide = |lanes: &mut Lanes<OnDisk>, now| {
            let mut decided = Decided::new(Vec::with_capacity(settlements.len()), Vec::new());
            for settlement in settlements {
                let settled = lanes.settle(now, settlement);
                if settled == Settled::Yes {
                    decided.items.push(item(lanes, settlement.parcel()));
                }
                decided.answer.push(settled);
            }
            Ok(decided)
        };
        self.write(SETTLE, decide).await
    }

    async fn status(&self) -> Result<LotStatus, LotError> {
        if self.shared.store.load().is_none() {
            return Err(Failure::Closed.during(COUNT).into());
        }
        let lanes = lock(&self.lanes);
        self.shared.unbroken().map_err(|failure| failure.during(COUNT))?;
        Ok(lanes.status())
    }

    async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
        let (after, count) = (query.after(), query.size().get() + 1);
        let find = move |lanes: &mut Lanes<OnDisk>| lanes.parked_after(after).take(count).cloned().collect();
        let items = self.read(LIST_PARKED, find, Contents::parked).await?;
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.parcel.id)))
    }

    async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
        let (after, count) = (query.after(), query.size().get() + 1);
        let find = move |lanes: &mut Lanes<OnDisk>| lanes.dead_after(after).take(count).cloned().collect();
        let items = self.read(LIST_DEAD, find, Contents::dead).await?;
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.parked.parcel.id)))
    }

    async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError> {
        let find = move |lanes: &mut Lanes<OnDisk>| lanes.dead(id).cloned().into_iter().collect();
        Ok(self.read(GET_DEAD, find, Contents::dead).await?.pop())
    }

    async fn redrive(&self, id: ParcelId) -> Result<bool, LotError> {
        let decide = |lanes: &mut Lanes<OnDisk>, now| {
            let was_dead = lanes.redrive(now, id);
            Ok(Decided::new(was_dead, was_dead.then(|| item(lanes, id)).into_iter().collect()))
        };
        self.write(REDRIVE, decide).await
    }

    async fn discard(&self, id: ParcelId) -> Result<bool, LotError> {
        let decide = |lanes: &mut Lanes<OnDisk>, _| {
            let was_dead = lanes.discard(id);
            Ok(Decided::new(was_dead, was_dead.then(|| item(lanes, id)).into_iter().collect()))
        };
        self.write(DISCARD, decide).await
    }
}
