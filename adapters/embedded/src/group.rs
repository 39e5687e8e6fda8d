//! The jobs of one commit: decides their outcomes, then gathers what they write.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use fjall::{OwnedWriteBatch, UserKey};
use foldhash::fast::RandomState;
use mini_platform_core::domain::{AppendOutcome, Event, EventBatch, Recording, Timestamp};

use crate::adjacency_store::LinkJob;
use crate::clients::KnownClients;
use crate::error::Failure;
use crate::event_store::AppendJob;
use crate::fraud_registry::{ListDecision, ListJob};
use crate::lists::Lists;
use crate::newest::NewestLinks;
use crate::record;
use crate::store::Store;
use crate::writer::{Job, Reply};

/// What a group writes, kept until the next group is decided: reads of the store do not show it before it is
/// committed.
#[derive(Default)]
pub(crate) struct Pending {
    /// With their times of recording.
    batches: Vec<(EventBatch, Timestamp)>,
    /// Events that are to be stored: the place of their batch, and their place in it.
    events: HashMap<UserKey, (usize, usize), RandomState>,
    links: HashMap<UserKey, PendingLink, RandomState>,
    lists: Option<Arc<Lists>>,
}

struct PendingLink {
    /// `None` for a link that is removed.
    at: Option<Timestamp>,
    changed: bool,
}

impl Pending {
    /// Returns an event that is to be stored, and its time of recording.
    fn event(&self, key: &[u8]) -> Option<(&Event, Timestamp)> {
        let (batch, index) = self.events.get(key)?;
        let (batch, recorded_at) = self.batches.get(*batch)?;
        Some((batch.events().get(*index)?, *recorded_at))
    }

    /// Returns the fraud lists that come into force with the commit.
    pub(crate) fn lists(&self) -> Option<Arc<Lists>> {
        self.lists.clone()
    }
}

/// A group that is being decided.
pub(crate) struct Group<'a> {
    store: &'a Store,
    /// What the group before, which may not be committed yet, writes.
    before: &'a Pending,
    newest: &'a mut NewestLinks,
    lists: Arc<Lists>,
    pending: Pending,
}

/// What is to be written and answered for a job.
pub(crate) enum Decision {
    Append(Result<Vec<AppendOutcome>, Failure>),
    Link(Result<(), Failure>),
    Unlink(Result<(), Failure>),
    List(ListDecision),
    /// Parcels were decided on before they came here.
    Parcels,
    Nothing,
}

impl<'a> Group<'a> {
    /// Starts deciding; `lists` are those in force after the group before.
    pub(crate) fn new(
        store: &'a Store,
        before: &'a Pending,
        newest: &'a mut NewestLinks,
        lists: Arc<Lists>,
    ) -> Self {
        Self { store, before, newest, lists, pending: Pending::default() }
    }

    /// Decides a job. One that cannot be decided writes nothing.
    pub(crate) fn decide(&mut self, job: &Job) -> Decision {
        match job {
            Job::Append(job) => Decision::Append(self.append(job)),
            Job::Link(job) => Decision::Link(self.link(job)),
            Job::Unlink(job) => Decision::Unlink(self.unlink(job)),
            Job::List(job) => Decision::List(self.list(job)),
            Job::Parcels(_) => Decision::Parcels,
            Job::Wake => Decision::Nothing,
        }
    }

    /// Ends deciding, and adds to the batch what the jobs write together.
    pub(crate) fn finish(self, batch: &mut OwnedWriteBatch) -> Pending {
        let links = self.pending.links.iter().filter(|(_, link)| link.changed);
        let mut links: Vec<_> = links.map(|(key, link)| (key, link.at)).collect();
        // In key order, in which they are quicker to insert.
        links.sort_unstable_by_key(|(key, _)| *key);
        if let (false, Some(newest)) = (links.is_empty(), self.newest.newest()) {
            self.store.put_newest_link(batch, newest);
        }
        let mut value = Vec::new();
        for (key, at) in links {
            let Some(at) = at else {
                batch.remove(&self.store.links, key.clone());
                continue;
            };
            record::write_link(at, &mut value);
            batch.insert(&self.store.links, key.clone(), value.as_slice());
        }
        if let Some(lists) = &self.pending.lists {
            self.store.put_lists(batch, lists);
        }
        self.pending
    }

    fn append(&mut self, job: &AppendJob) -> Result<Vec<AppendOutcome>, Failure> {
        let mut outcomes = Vec::with_capacity(job.weight());
        for (event, key) in job.events() {
            outcomes.push(self.outcome(event, key)?);
        }
        let place = self.pending.batches.len();
        self.pending.batches.push((job.batch().clone(), job.recorded_at()));
        for (index, ((_, key), outcome)) in job.events().zip(&outcomes).enumerate() {
            if *outcome == AppendOutcome::Stored {
                self.pending.events.insert(key.clone(), (place, index));
            }
        }
        Ok(outcomes)
    }

    fn outcome(&self, event: &Event, key: &UserKey) -> Result<AppendOutcome, Failure> {
        if let Some((earlier, recorded_at)) = self.pending.event(key).or_else(|| self.before.event(key)) {
            return Ok(compare(event, earlier, recorded_at));
        }
        let Some(bytes) = self.store.events.get(key)? else { return Ok(AppendOutcome::Stored) };
        let stored = record::read_event(event.id().clone(), &bytes)?;
        Ok(compare(event, &stored.event, stored.recorded_at))
    }

    fn link(&mut self, job: &LinkJob) -> Result<(), Failure> {
        for (key, at) in job.links() {
            let is_newer = self.newest.push(key, *at);
            match self.pending.links.entry(key.clone()) {
                Entry::Occupied(mut pending) => pending.get_mut().take(*at),
                Entry::Vacant(new) => {
                    let known = if is_newer { None } else { known_time(self.store, self.before, key)? };
                    new.insert(PendingLink { at: known, changed: false }).take(*at);
                }
            }
        }
        Ok(())
    }

    /// Removes links that hold exactly the time given. The latest times that [`NewestLinks`] knows stay: they may
    /// be later than what is left, which costs a lookup and nothing else.
    fn unlink(&mut self, job: &LinkJob) -> Result<(), Failure> {
        for (key, at) in job.links() {
            let link = match self.pending.links.entry(key.clone()) {
                Entry::Occupied(pending) => pending.into_mut(),
                Entry::Vacant(new) => {
                    let known = known_time(self.store, self.before, key)?;
                    new.insert(PendingLink { at: known, changed: false })
                }
            };
            link.remove(*at);
        }
        Ok(())
    }

    fn list(&mut self, job: &ListJob) -> ListDecision {
        let (decision, next) = job.decide(&self.lists);
        self.pending.lists = next.map(Arc::new);
        decision
    }
}

impl PendingLink {
    fn take(&mut self, at: Timestamp) {
        if self.at.is_none_or(|known| at > known) {
            *self = Self { at: Some(at), changed: true };
        }
    }

    fn remove(&mut self, at: Timestamp) {
        if self.at == Some(at) {
            *self = Self { at: None, changed: true };
        }
    }
}

/// Returns the time of a link before this group; `None` when there is no such link.
fn known_time(store: &Store, before: &Pending, key: &UserKey) -> Result<Option<Timestamp>, Failure> {
    if let Some(link) = before.links.get(key) {
        return Ok(link.at);
    }
    let stored = store.links.get(key)?;
    Ok(stored.map(|bytes| record::read_link(&bytes)).transpose()?)
}

/// Compares an event with the one that is stored, or is to be, under its id.
fn compare(event: &Event, stored: &Event, recorded_at: Timestamp) -> AppendOutcome {
    if event.is_resend_of(stored) {
        AppendOutcome::Duplicate(Recording { occurred_at: stored.occurred_at().timestamp(), recorded_at })
    } else {
        AppendOutcome::Conflict
    }
}

impl Decision {
    /// Adds to a batch what a job writes by itself, and returns how to answer it.
    pub(crate) fn write(
        self,
        job: Job,
        store: &Store,
        known: &mut KnownClients,
        batch: &mut OwnedWriteBatch,
    ) -> Answer {
        match (self, job) {
            (Self::Append(decision), Job::Append(job)) => job.write(decision, store, known, batch),
            (Self::Link(decision), Job::Link(job)) | (Self::Unlink(decision), Job::Unlink(job)) => {
                Answer::new(job.reply, decision)
            }
            (Self::List(decision), Job::List(job)) => job.write(decision, store, batch),
            (Self::Parcels, Job::Parcels(job)) => job.write(store, batch),
            _ => Answer::nobody(),
        }
    }
}

/// Tells the end of a commit: that it failed, or `None`.
type Tell = dyn FnOnce(Option<&Failure>) + Send;

/// What a caller is told once the commit is over.
pub(crate) struct Answer(Box<Tell>);

impl Answer {
    /// Tells a decision, unless the commit failed. A caller that is gone needs no answer.
    pub(crate) fn new<T: Send + 'static>(reply: Reply<T>, decision: Result<T, Failure>) -> Self {
        Self::with(move |failed| {
            let answer = failed.map_or(decision, |failure| Err(failure.clone()));
            drop(reply.send(answer));
        })
    }

    /// Does something with the end of the commit.
    pub(crate) fn with(tell: impl FnOnce(Option<&Failure>) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }

    /// Nobody waits.
    pub(crate) fn nobody() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn send(self, failed: Option<&Failure>) {
        (self.0)(failed);
    }
}

#[cfg(test)]
mod tests {
    use mini_platform_core::domain::{Edge, Side};
    use mini_platform_core::testkit::{at, batch, client, transfer};
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::EmbeddedConfig;
    use crate::folder::Folder;

    fn store() -> (Store, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::lock(dir.path()).unwrap();
        (Store::open(folder, &EmbeddedConfig::new(dir.path())).unwrap(), dir)
    }

    fn append(name: &str, receiver: &str, recorded: i64) -> Job {
        let events = batch([transfer(name, "ann", receiver, 1)]);
        Job::Append(AppendJob::new(&events, at(recorded), oneshot::channel().0))
    }

    fn link(seconds: i64) -> Job {
        let (client, counterparty) = (client("ann"), client("bob"));
        let edge = Edge::Interaction { client, counterparty, side: Side::Sent, at: at(seconds) };
        Job::Link(LinkJob::new(&[edge], oneshot::channel().0))
    }

    fn unlink(seconds: i64) -> Job {
        let Job::Link(job) = link(seconds) else { panic!("a job that links") };
        Job::Unlink(job)
    }

    /// Decides a group and returns its outcomes, how many items it writes, and what is pending then.
    fn decide(
        store: &Store,
        before: &Pending,
        newest: &mut NewestLinks,
        jobs: Vec<Job>,
    ) -> (Vec<AppendOutcome>, usize, Pending) {
        let mut outcomes = Vec::new();
        let mut batch = store.batch(0);
        let mut group = Group::new(store, before, newest, Arc::default());
        for job in jobs {
            let decision = group.decide(&job);
            if let Decision::Append(decided) = &decision {
                outcomes.extend(decided.clone().unwrap());
            }
            drop(decision.write(job, store, &mut KnownClients::default(), &mut batch));
        }
        let pending = group.finish(&mut batch);
        (outcomes, batch.len(), pending)
    }

    #[test]
    fn a_group_is_decided_on_what_the_one_before_it_writes() {
        let (store, _dir) = store();
        let mut newest = NewestLinks::new(None);
        let duplicate = AppendOutcome::Duplicate(Recording { occurred_at: at(1), recorded_at: at(7) });
        let jobs =
            vec![append("a", "bob", 7), append("a", "bob", 8), append("a", "eve", 8), link(7), link(6)];
        let (outcomes, items, before) = decide(&store, &Pending::default(), &mut newest, jobs);
        assert_eq!(outcomes, [AppendOutcome::Stored, duplicate, AppendOutcome::Conflict]);
        assert_eq!(
            items, 7,
            "an event, its two clients and places in timelines, a link, and the latest time of all"
        );
        let jobs =
            vec![append("a", "bob", 9), append("a", "eve", 9), append("b", "bob", 9), link(5), link(7)];
        let (outcomes, items, _) = decide(&store, &before, &mut newest, jobs);
        assert_eq!(outcomes, [duplicate, AppendOutcome::Conflict, AppendOutcome::Stored]);
        assert_eq!(items, 5, "an older time changes no link");
    }

    #[test]
    fn a_link_that_gets_later_is_written_again() {
        let (store, _dir) = store();
        let mut newest = NewestLinks::new(None);
        let (_, _, before) = decide(&store, &Pending::default(), &mut newest, vec![link(7)]);
        let (_, items, _) = decide(&store, &before, &mut newest, vec![link(8)]);
        assert_eq!(items, 2);
    }

    /// What one group after the other leaves of the link, none of them committed before the next is decided.
    fn left_by<const N: usize>(groups: [Vec<Job>; N]) -> Option<Timestamp> {
        let (store, _dir) = store();
        let mut newest = NewestLinks::new(None);
        let mut before = Pending::default();
        for jobs in groups {
            before = decide(&store, &before, &mut newest, jobs).2;
        }
        before.links.into_values().next().and_then(|link| link.at)
    }

    #[test]
    fn a_link_is_removed_only_at_the_time_that_the_group_or_the_one_before_gave_it() {
        assert_eq!(left_by([vec![link(7), unlink(7)]]), None);
        assert_eq!(left_by([vec![link(7), link(8), unlink(7)]]), Some(at(8)), "renewed in the same group");
        assert_eq!(left_by([vec![link(7)], vec![unlink(7)]]), None);
        assert_eq!(left_by([vec![link(8)], vec![unlink(7)]]), Some(at(8)), "renewed in the group before");
    }

    #[test]
    fn a_link_that_was_removed_comes_back_with_any_time() {
        for seconds in [6, 7, 8] {
            assert_eq!(left_by([vec![link(7), unlink(7), link(seconds)]]), Some(at(seconds)));
            assert_eq!(left_by([vec![link(7), unlink(7)], vec![link(seconds)]]), Some(at(seconds)));
            assert_eq!(left_by([vec![link(7)], vec![unlink(7), link(seconds)]]), Some(at(seconds)));
        }
    }

    #[test]
    fn a_removal_that_is_not_committed_yet_hides_what_the_store_holds() {
        for (jobs, expected) in [(vec![link(6)], Some(at(6))), (vec![unlink(7), link(5)], Some(at(5)))] {
            let (store, _dir) = store();
            let mut newest = NewestLinks::new(None);
            let mut first = store.batch(0);
            let nothing = Pending::default();
            let mut group = Group::new(&store, &nothing, &mut newest, Arc::default());
            group.decide(&link(7));
            let before = group.finish(&mut first);
            first.commit().unwrap();
            let before = decide(&store, &before, &mut newest, vec![unlink(7)]).2;
            let pending = decide(&store, &before, &mut newest, jobs).2;
            let left = pending.links.into_values().next().unwrap();
            assert_eq!((left.at, left.changed), (expected, true));
        }
    }

    #[test]
    fn what_removes_nothing_writes_nothing() {
        let (store, _dir) = store();
        let mut newest = NewestLinks::new(None);
        let (_, items, _) = decide(&store, &Pending::default(), &mut newest, vec![unlink(7)]);
        assert_eq!(items, 0);
    }
}
