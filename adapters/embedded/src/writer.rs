//! The two threads that write.
//!
//! The first takes what is queued and decides all outcomes of the group; the second commits the group with one
//! fsync and only then answers. While one group is committed the next is decided, on what the store says and
//! what the group before it writes. As nobody else writes, that is still so at the commit: event ids stay unique
//! and links only move forward without any lock.
//!
//! After a commit that failed nobody can know what is on the disk (a second fsync may say yes to data that the
//! first one lost), so no write is taken until the store is opened again. Groups that were decided on a commit
//! that failed are refused thereby.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use fjall::OwnedWriteBatch;
use tokio::sync::{mpsc, oneshot, watch};

use crate::adjacency_store::LinkJob;
use crate::clients::KnownClients;
use crate::error::Failure;
use crate::event_store::AppendJob;
use crate::fraud_registry::ListJob;
use crate::group::{Answer, Group, Pending};
use crate::lists::Lists;
use crate::newest::NewestLinks;
use crate::parking_lot::ParcelJob;
use crate::store::Store;

/// How many jobs may wait for the writer before callers wait. A job is a batch, so this is far more than one
/// group.
pub(crate) const MAX_QUEUED_JOBS: usize = 64;

/// When a group has this many events and edges, it takes no further job. One more fsync for so many costs
/// nothing that can be measured, and a longer group only makes its callers wait.
const MAX_GROUP_WEIGHT: usize = 4096;

/// How long nobody must have written before memtables become tables early.
const IDLE: Duration = Duration::from_secs(2);

/// The items that an event (its record and two timeline entries), an edge or a parcel becomes, but for clients that are
/// new.
const ITEMS_PER_WEIGHT: usize = 3;

/// Where the answer of a job goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// Something to write.
pub(crate) enum Job {
    Append(AppendJob),
    Link(LinkJob),
    Unlink(LinkJob),
    /// Ends a group, so that a group has one at most.
    List(ListJob),
    Parcels(ParcelJob),
    /// Only wakes the writer, which then sees that it is to stop.
    Wake,
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Self::Append(job) => job.weight(),
            Self::Link(job) | Self::Unlink(job) => job.weight(),
            Self::List(_) => 1,
            Self::Parcels(job) => job.weight(),
            Self::Wake => 0,
        }
    }

    /// Whether a group takes no job behind this one.
    fn ends_group(&self) -> bool {
        matches!(self, Self::List(_))
    }
}

/// Makes a group durable.
pub(crate) type Commit = Box<dyn FnMut(OwnedWriteBatch) -> fjall::Result<()> + Send>;

/// A group whose outcomes are decided.
struct Decided {
    batch: OwnedWriteBatch,
    answers: Vec<Answer>,
    lists: Option<Arc<Lists>>,
}

/// The state of the thread that decides.
pub(crate) struct Writer {
    store: Arc<Store>,
    jobs: mpsc::Receiver<Job>,
    lists: Arc<ArcSwap<Lists>>,
    stop: Arc<AtomicBool>,
    /// What the group that is being committed writes.
    before: Pending,
    newest: NewestLinks,
    known: KnownClients,
}

impl Writer {
    pub(crate) fn new(
        store: Arc<Store>,
        jobs: mpsc::Receiver<Job>,
        lists: Arc<ArcSwap<Lists>>,
        stop: Arc<AtomicBool>,
        newest: NewestLinks,
    ) -> Self {
        let (before, known) = (Pending::default(), KnownClients::default());
        Self { store, jobs, lists, stop, before, newest, known }
    }

    /// Starts both threads. They end when told to stop, after they finished what is queued and wrote everything
    /// into tables.
    pub(crate) fn start(self, commit: Commit, broken: watch::Sender<bool>) -> io::Result<JoinHandle<()>> {
        // Without room, so that a group that was taken means that the one before it is committed.
        let (decided, groups) = sync_channel(0);
        let (store, lists) = (Arc::clone(&self.store), Arc::clone(&self.lists));
        let committer = Committer { store, lists, commit, broken, journals: 1 };
        let committer = spawn("embedded-commit", move || committer.run(&groups))?;
        spawn("embedded-writer", move || {
            self.run(&decided);
            // Tells the other thread that no group follows.
            drop(decided);
            if committer.join().is_err() {
                tracing::error!("the thread that commits died");
            }
        })
    }

    fn run(mut self, decided: &SyncSender<Decided>) {
        while !self.stop.load(Ordering::Acquire) {
            let Some(first) = self.jobs.blocking_recv() else { break };
            let group = self.decide(first);
            if decided.send(group).is_err() {
                // Only when the other thread died. The queue goes away with this one, which tells all callers.
                return;
            }
        }
        self.jobs.close();
        while let Ok(first) = self.jobs.try_recv() {
            let group = self.decide(first);
            if decided.send(group).is_err() {
                return;
            }
        }
    }

    fn decide(&mut self, first: Job) -> Decided {
        let jobs = self.gather(first);
        let lists = self.before.lists().unwrap_or_else(|| self.lists.load_full());
        let mut batch = self.store.batch(ITEMS_PER_WEIGHT * jobs.iter().map(Job::weight).sum::<usize>());
        let mut group = Group::new(&self.store, &self.before, &mut self.newest, lists);
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            let decision = group.decide(&job);
            answers.push(decision.write(job, &self.store, &mut self.known, &mut batch));
        }
        self.before = group.finish(&mut batch);
        Decided { batch, answers, lists: self.before.lists() }
    }

    /// Takes what is queued behind the first job, up to a limit.
    fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut weight = first.weight();
        let mut full = first.ends_group();
        let mut jobs = vec![first];
        while !full {
            let Ok(job) = self.jobs.try_recv() else { break };
            weight += job.weight();
            full = job.ends_group() || weight >= MAX_GROUP_WEIGHT;
            jobs.push(job);
        }
        jobs
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// The state of the thread that commits.
struct Committer {
    store: Arc<Store>,
    lists: Arc<ArcSwap<Lists>>,
    commit: Commit,
    /// Whether a commit failed.
    broken: watch::Sender<bool>,
    journals: usize,
}

impl Committer {
    fn run(mut self, groups: &Receiver<Decided>) {
        loop {
            match groups.recv_timeout(IDLE) {
                Ok(group) => self.finish_group(group),
                Err(RecvTimeoutError::Timeout) => self.give_memory_back(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if !self.is_broken()
            && let Err(error) = self.store.finish()
        {
            tracing::warn!(%error, "the store could not be put in order; the next start takes longer");
        }
    }

    fn is_broken(&self) -> bool {
        *self.broken.borrow()
    }

    fn finish_group(&mut self, group: Decided) {
        let committed = self.commit(group.batch);
        if let (Ok(()), Some(lists)) = (&committed, group.lists) {
            self.lists.store(lists);
        }
        for answer in group.answers {
            answer.send(committed.as_ref().err());
        }
        self.make_room();
    }

    fn commit(&mut self, batch: OwnedWriteBatch) -> Result<(), Failure> {
        if self.is_broken() {
            return Err(Failure::Broken);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let committed = self.store.wait_for_room().and_then(|()| (self.commit)(batch));
        committed.map_err(|error| {
            self.broken.send_replace(true);
            tracing::error!(%error, "a write failed; no write is taken until the store is opened again");
            error.into()
        })
    }

    fn give_memory_back(&mut self) {
        if !self.is_broken()
            && let Err(error) = self.store.seal_large_memtables()
        {
            tracing::warn!(%error, "memtables could not be sealed");
        }
    }

    /// Does what the engine leaves to its own thread, which is too late when that is busy.
    fn make_room(&mut self) {
        if self.is_broken() {
            return;
        }
        let released =
            self.store.seal_full_memtables().and_then(|()| self.store.release_journals(self.journals));
        match released {
            Ok(journals) => self.journals = journals,
            // The next commit says whether it matters.
            Err(error) => tracing::warn!(%error, "memtables could not be sealed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::mpsc as std_mpsc;
    use std::task::Poll;

    use futures_util::future::join_all;
    use futures_util::poll;
    use mini_platform_core::domain::{
        AppendOutcome, EventBatch, LeaseRequest, LotLimits, LotStatus, Parcel, ParcelContent, ParcelId,
        ParcelQuery, ParkReason, Recording, Settled,
    };
    use mini_platform_core::error::{FaultKind, LotError, Retry, StoreError};
    use mini_platform_core::port::{EventStore, ParkingLot};
    use mini_platform_core::testkit::{at, batch, client, id, transfer};
    use tempfile::TempDir;

    use super::*;
    use crate::folder::Folder;
    use crate::{Embedded, EmbeddedConfig, EmbeddedEventStore, EmbeddedParkingLot};

    /// A store whose commits wait until the test lets them go, or fails them. When a test ends early they fail,
    /// as `go` is dropped before the store.
    struct Gate {
        go: std_mpsc::Sender<bool>,
        entered: std_mpsc::Receiver<()>,
        embedded: Embedded,
        dir: TempDir,
    }

    fn gated() -> Gate {
        let dir = tempfile::tempdir().unwrap();
        let (enter, entered) = std_mpsc::channel();
        let (go, gone) = std_mpsc::channel();
        let commit = move |batch: OwnedWriteBatch| {
            let _ = enter.send(());
            match gone.recv() {
                Ok(true) => batch.commit(),
                _ => Err(fjall::Error::Io(std::io::ErrorKind::StorageFull.into())),
            }
        };
        let embedded = Embedded::open_with(&EmbeddedConfig::new(dir.path()), Box::new(commit)).unwrap();
        Gate { go, entered, embedded, dir }
    }

    fn one(name: &str, receiver: &str) -> EventBatch {
        batch([transfer(name, "ann", receiver, 1)])
    }

    async fn append(store: &EmbeddedEventStore, batch: EventBatch) -> Result<Vec<AppendOutcome>, StoreError> {
        store.append(&batch, at(9)).await
    }

    fn parcel(number: u8) -> Parcel {
        let (id, content) = (ParcelId::new(at(0), [number; 10]), ParcelContent::new(vec![number]).unwrap());
        Parcel { id, client: client("ann"), content, reason: ParkReason::Timeout }
    }

    /// How many parcels are leased.
    async fn lease(lot: &EmbeddedParkingLot) -> Result<usize, LotError> {
        let request = LeaseRequest::new(10, Duration::from_secs(3_600));
        lot.lease(request).await.map(|leased| leased.len())
    }

    fn cause(error: &StoreError) -> String {
        let StoreError::Fault(fault) = error else { panic!("a fault: {error:?}") };
        assert_eq!(fault.kind(), FaultKind::Internal);
        fault.source().unwrap().to_string()
    }

    #[tokio::test]
    async fn an_answer_waits_for_the_commit() {
        let gate = gated();
        let store = gate.embedded.event_store();
        let mut first = Box::pin(append(&store, one("a", "bob")));
        assert_eq!(poll!(&mut first).map(drop), Poll::Pending);
        gate.entered.recv().unwrap();
        assert_eq!(poll!(&mut first).map(drop), Poll::Pending, "nothing is durable yet");
        assert_eq!(store.get(&id("a")).await.unwrap(), None, "nor visible");
        gate.go.send(true).unwrap();
        assert_eq!(first.await.unwrap(), [AppendOutcome::Stored]);
    }

    #[tokio::test]
    async fn what_queues_up_behind_a_commit_shares_the_next_ones() {
        let gate = gated();
        let store = gate.embedded.event_store();
        let names = [("a", "bob"), ("a", "bob"), ("a", "eve"), ("b", "bob"), ("b", "bob"), ("b", "eve")];
        let batches = names.map(|(name, other)| append(&store, one(name, other)));
        let mut all = Box::pin(join_all(batches));
        assert_eq!(poll!(&mut all).map(drop), Poll::Pending);
        for _ in names {
            gate.go.send(true).unwrap();
        }
        let outcomes: Vec<_> = all.await.into_iter().flat_map(Result::unwrap).collect();
        let duplicate = AppendOutcome::Duplicate(Recording { occurred_at: at(1), recorded_at: at(9) });
        let expected = [AppendOutcome::Stored, duplicate, AppendOutcome::Conflict];
        assert_eq!(outcomes, [expected, expected].concat(), "outcomes hold within and between groups");
        let commits = gate.entered.try_iter().count();
        assert!((1..=3).contains(&commits), "one runs, one is decided, the rest share: {commits}");
    }

    #[tokio::test]
    async fn after_a_failed_commit_no_write_is_taken_until_reopened() {
        let gate = gated();
        let store = gate.embedded.event_store();
        gate.go.send(true).unwrap();
        append(&store, one("before", "bob")).await.unwrap();
        gate.entered.recv().unwrap();
        let mut failing = Box::pin(append(&store, one("a", "bob")));
        assert_eq!(poll!(&mut failing).map(drop), Poll::Pending);
        gate.entered.recv().unwrap();
        let mut group = Box::pin(join_all(["b", "c"].map(|name| append(&store, one(name, "bob")))));
        assert_eq!(poll!(&mut group).map(drop), Poll::Pending);
        gate.go.send(false).unwrap();
        assert_eq!(cause(&failing.await.unwrap_err()), "the storage engine failed");
        let refused = "an earlier write failed, so no write is taken until the store is opened again";
        for error in group.await {
            assert_eq!(cause(&error.unwrap_err()), refused);
        }
        let again = append(&store, one("before", "bob")).await.unwrap_err();
        assert_eq!((cause(&again).as_str(), again.retry()), (refused, Retry::Never));
        assert!(store.get(&id("before")).await.unwrap().is_some(), "reads go on");
        assert_eq!(store.get(&id("a")).await.unwrap(), None, "what failed is not there");
        drop(gate.embedded);
        let reopened = Embedded::open(&EmbeddedConfig::new(gate.dir.path())).unwrap();
        let outcome = append(&reopened.event_store(), one("a", "bob")).await.unwrap();
        assert_eq!(outcome, [AppendOutcome::Stored], "after a restart the resend finds out");
    }

    #[tokio::test]
    async fn a_parcel_is_given_out_once_it_is_durable() {
        let gate = gated();
        let lot = gate.embedded.parking_lot(LotLimits::default()).unwrap();
        let parcels = [parcel(1)];
        let mut first = lot.park(&parcels);
        assert_eq!(poll!(&mut first).map(drop), Poll::Pending);
        gate.entered.recv().unwrap();
        let mut again = lot.park(&parcels);
        assert_eq!(poll!(&mut again).map(drop), Poll::Pending);
        assert_eq!(lease(&lot).await.unwrap(), 0, "nobody tries what may be lost");
        assert!(lot.parked(&ParcelQuery::default()).await.unwrap().items.is_empty(), "nor sees it");
        assert_eq!(poll!(&mut again).map(drop), Poll::Pending, "what it says rests on the first commit");
        gate.go.send(true).unwrap();
        first.await.unwrap();
        again.await.unwrap();
        assert_eq!(lot.parked(&ParcelQuery::default()).await.unwrap().items.len(), 1);
        assert_eq!(lease(&lot).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_settlement_is_seen_at_once_and_answered_when_it_is_durable() {
        let gate = gated();
        let lot = gate.embedded.parking_lot(LotLimits::default()).unwrap();
        gate.go.send(true).unwrap();
        lot.park(&[parcel(1)]).await.unwrap();
        gate.entered.recv().unwrap();
        let request = LeaseRequest::new(1, Duration::from_secs(3_600));
        let done = [lot.lease(request).await.unwrap().remove(0).done()];
        let mut settling = lot.settle(&done);
        assert_eq!(poll!(&mut settling).map(drop), Poll::Pending);
        gate.entered.recv().unwrap();
        let mut again = lot.settle(&done);
        assert_eq!(poll!(&mut again).map(drop), Poll::Pending, "what it says rests on the first commit");
        assert_eq!(lot.status().await.unwrap(), LotStatus::default());
        gate.go.send(true).unwrap();
        assert_eq!(settling.await.unwrap(), [Settled::Yes]);
        assert_eq!(again.await.unwrap(), [Settled::LeaseLost]);
    }

    #[tokio::test]
    async fn after_a_failed_commit_no_parcel_is_taken_or_given_out() {
        let gate = gated();
        let lot = gate.embedded.parking_lot(LotLimits::default()).unwrap();
        gate.go.send(true).unwrap();
        lot.park(&[parcel(1)]).await.unwrap();
        gate.entered.recv().unwrap();
        let parcels = [parcel(2)];
        let mut failing = lot.park(&parcels);
        assert_eq!(poll!(&mut failing).map(drop), Poll::Pending);
        gate.entered.recv().unwrap();
        let mut again = lot.park(&parcels);
        assert_eq!(poll!(&mut again).map(drop), Poll::Pending);
        gate.go.send(false).unwrap();
        for refused in [failing.await.unwrap_err(), again.await.unwrap_err(), lease(&lot).await.unwrap_err()]
        {
            assert!(matches!(&refused, LotError::Fault(fault) if fault.kind() == FaultKind::Internal));
        }
        drop((gate.embedded, lot));
        let reopened = Embedded::open(&EmbeddedConfig::new(gate.dir.path())).unwrap();
        let lot = reopened.parking_lot(LotLimits::default()).unwrap();
        assert_eq!(lease(&lot).await.unwrap(), 1, "what was acknowledged is there");
    }

    /// Says why a lot refused.
    fn refusal<T: std::fmt::Debug>(answer: Result<T, LotError>) -> String {
        match answer {
            Err(LotError::Fault(fault)) => fault.source().unwrap().to_string(),
            other => panic!("a fault: {other:?}"),
        }
    }

    #[tokio::test]
    async fn after_a_failed_commit_a_lot_takes_nothing_in_and_tells_nothing() {
        let refused = "an earlier write failed, so no write is taken until the store is opened again";
        let gate = gated();
        let lot = gate.embedded.parking_lot(LotLimits { parcels: 2, ..LotLimits::default() }).unwrap();
        gate.go.send(false).unwrap();
        assert_eq!(refusal(lot.park(&[parcel(0)]).await), "the storage engine failed");
        for number in 1..10 {
            assert_eq!(refusal(lot.park(&[parcel(number)]).await), refused, "it does not fill up");
        }
        let (all, one) = (ParcelQuery::default(), parcel(0).id);
        assert_eq!(refusal(lot.status().await), refused);
        assert_eq!(refusal(lot.parked(&all).await), refused);
        assert_eq!(refusal(lot.dead_letters(&all).await), refused);
        assert_eq!(refusal(lot.dead_letter(one).await), refused);
        assert_eq!(refusal(lot.redrive(one).await), refused);
        assert_eq!(refusal(lot.discard(one).await), refused);
        assert_eq!(refusal(lot.settle(&[]).await), refused);
    }

    #[tokio::test]
    async fn a_failed_commit_of_others_stops_the_lot_too() {
        let gate = gated();
        let lot = gate.embedded.parking_lot(LotLimits::default()).unwrap();
        gate.go.send(true).unwrap();
        lot.park(&[parcel(1)]).await.unwrap();
        gate.go.send(false).unwrap();
        append(&gate.embedded.event_store(), one("a", "bob")).await.unwrap_err();
        assert!(refusal(lease(&lot).await).starts_with("an earlier write failed"), "what would settle it?");
    }

    #[tokio::test]
    async fn a_store_says_that_it_broke() {
        let gate = gated();
        let store = gate.embedded.event_store();
        let mut broken = Box::pin(gate.embedded.broken());
        gate.go.send(true).unwrap();
        append(&store, one("a", "bob")).await.unwrap();
        assert_eq!(poll!(&mut broken), Poll::Pending);
        gate.go.send(false).unwrap();
        append(&store, one("b", "bob")).await.unwrap_err();
        assert_eq!(poll!(&mut broken), Poll::Ready(()));
        gate.embedded.broken().await;
    }

    #[tokio::test]
    async fn a_store_whose_thread_died_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let config = EmbeddedConfig::new(dir.path());
        let embedded = Embedded::open_with(&config, Box::new(|_| panic!("as planned"))).unwrap();
        append(&embedded.event_store(), one("a", "bob")).await.unwrap_err();
        embedded.broken().await;
    }

    #[tokio::test]
    async fn a_store_that_is_closed_is_not_broken() {
        let gate = gated();
        let mut broken = Box::pin(gate.embedded.broken());
        gate.embedded.close().await;
        assert_eq!(poll!(&mut broken), Poll::Pending);
    }

    #[test]
    fn a_commit_that_fails_fails_everybody_of_its_group_and_changes_no_list() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Folder::lock(dir.path()).unwrap(), &EmbeddedConfig::new(dir.path())).unwrap();
        let (store, lists) = (Arc::new(store), Arc::new(ArcSwap::from_pointee(Lists::default())));
        let before = lists.load_full();
        let mut batch = store.batch(1);
        batch.insert(&store.links, "key", "value");
        let (first, second) = (oneshot::channel(), oneshot::channel());
        let answers = vec![Answer::new(first.0, Ok(1)), Answer::new(second.0, Ok(2))];
        let commit = Box::new(|_| Err(fjall::Error::Poisoned));
        let (broken, _) = watch::channel(false);
        let mut committer = Committer { store, lists: Arc::clone(&lists), commit, broken, journals: 1 };
        committer.finish_group(Decided { batch, answers, lists: Some(Arc::default()) });
        for mut answer in [first.1, second.1] {
            assert!(matches!(answer.try_recv(), Ok(Err(Failure::Engine(_)))), "everybody is told");
        }
        assert!(Arc::ptr_eq(&before, &lists.load_full()), "readers keep the lists they had");
        assert!(committer.is_broken());
    }

    #[tokio::test]
    async fn what_is_queued_when_the_store_closes_is_still_written() {
        let gate = gated();
        let store = gate.embedded.event_store();
        let mut first = Box::pin(append(&store, one("a", "bob")));
        assert_eq!(poll!(&mut first).map(drop), Poll::Pending);
        gate.entered.recv().unwrap();
        let mut queued = Box::pin(append(&store, one("b", "bob")));
        assert_eq!(poll!(&mut queued).map(drop), Poll::Pending);
        let mut closing = Box::pin(gate.embedded.close());
        assert_eq!(poll!(&mut closing), Poll::Pending);
        gate.go.send(true).unwrap();
        gate.go.send(true).unwrap();
        closing.await;
        assert_eq!(queued.await.unwrap(), [AppendOutcome::Stored]);
        let late = append(&store, one("c", "bob")).await.unwrap_err();
        assert_eq!(late.retry(), Retry::Backoff, "a closed store is unavailable: {late:?}");
    }
}
