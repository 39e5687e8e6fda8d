//! The roll of a cluster: its members, their leases, and who is about to join.
//!
//! Bookkeeping only: the time is an argument, and nothing here waits or calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{ClusterConfig, WorkerInfo};
use crate::dispatcher::member::{Member, Remote};
use crate::domain::{Epoch, Incarnation, NodeAddress, WorkerId};
use crate::port::{HeartbeatAnswer, JoinRejection, JoinRequest, MembershipLease, WorkerNode};

/// How many joins may be under way for each place in the cluster: a worker whose answer was lost asks again while
/// its first join is still being looked into.
const JOINS_A_PLACE: usize = 2;

/// Who belongs to a cluster.
#[derive(Debug)]
pub(crate) struct Roll {
    entries: BTreeMap<WorkerId, Entry>,
    joining: BTreeMap<Ticket, Applicant>,
    next_epoch: Epoch,
    next_ticket: u64,
    next_sweep: Option<PlannedSweep>,
    has_changed: bool,
    ended: Vec<EndedLease>,
}

#[derive(Debug)]
struct Entry {
    member: Arc<Member>,
    /// None: a worker in this process.
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    address: NodeAddress,
    incarnation: Incarnation,
    epoch: Epoch,
    ttl: Duration,
    ends_at: Instant,
}

#[derive(Debug)]
struct Applicant {
    id: WorkerId,
    address: NodeAddress,
    /// It takes the place of nobody.
    needs_place: bool,
}

#[derive(Debug, Clone, Copy)]
struct PlannedSweep {
    at: Instant,
    tolerance: Duration,
}

/// Tells one join that is under way from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What a request to join comes to at first.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It was a member already.
    Renewed(MembershipLease),
    /// It is to be dialled, then [admitted](Roll::admit); or [forgotten](Roll::forget).
    Dial(Ticket),
}

/// How a worker became a member.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Admitted {
    /// By a new membership.
    Joined(MembershipLease),
    /// It was one already.
    Renewed(MembershipLease),
}

/// A member that was not heard of for a whole lease.
#[derive(Debug)]
pub(crate) struct EndedLease {
    pub(crate) id: WorkerId,
    pub(crate) epoch: Epoch,
    pub(crate) was_draining: bool,
}

impl Default for Roll {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            joining: BTreeMap::new(),
            next_epoch: Epoch(1),
            next_ticket: 0,
            next_sweep: None,
            has_changed: false,
            ended: Vec::new(),
        }
    }
}

impl Entry {
    fn is_held_by(&self, epoch: Epoch) -> bool {
        let is_lease = self.lease.as_ref().is_some_and(|lease| lease.epoch == epoch);
        is_lease && !self.member.is_draining()
    }

    fn has_drained(&self) -> bool {
        self.member.is_draining() && self.member.in_flight() == 0
    }
}

impl Lease {
    fn renew(&mut self, now: Instant) {
        self.ends_at = now + self.ttl;
    }
}

impl PlannedSweep {
    fn is_overdue(&self, now: Instant) -> bool {
        now > self.at + self.tolerance
    }
}

impl Roll {
    /// Makes every epoch from now on at least this one.
    pub(crate) fn start_at(&mut self, epoch: Epoch) {
        self.next_epoch = self.next_epoch.max(epoch);
    }

    /// Puts a member without a lease on the roll, in place of whoever has its id.
    pub(crate) fn add(&mut self, member: Arc<Member>) {
        self.insert(Entry { member, lease: None });
    }

    pub(crate) fn remove(&mut self, id: &WorkerId) {
        if let Some(entry) = self.entries.remove(id) {
            entry.member.drain();
            self.has_changed = true;
        }
    }

    /// Looks into a request to join: renews, refuses, or keeps a place until the worker was dialled.
    pub(crate) fn begin(
        &mut self,
        request: &JoinRequest,
        config: &ClusterConfig,
        now: Instant,
    ) -> Result<Begun, JoinRejection> {
        self.settle(now);
        if let Some(lease) = self.renew_run(request, config, now)? {
            return Ok(Begun::Renewed(lease));
        }
        let needs_place = !self.takes_a_place_over(request);
        let is_full = needs_place && self.places_taken() >= config.max_workers;
        if is_full || self.joining.len() >= config.max_workers.saturating_mul(JOINS_A_PLACE) {
            return Err(JoinRejection::ClusterFull { max_workers: config.max_workers });
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        let applicant = Applicant { id: request.id.clone(), address: request.address.clone(), needs_place };
        self.joining.insert(ticket, applicant);
        Ok(Begun::Dial(ticket))
    }

    /// Makes a member of a worker that was dialled: in place of an earlier run of it, and of whoever else was a
    /// member at its address.
    pub(crate) fn admit(
        &mut self,
        ticket: Ticket,
        request: &JoinRequest,
        node: Arc<dyn WorkerNode>,
        config: &ClusterConfig,
        now: Instant,
    ) -> Result<Admitted, JoinRejection> {
        self.forget(ticket);
        self.settle(now);
        // While it was dialled, another join of the same run may have come first.
        if let Some(lease) = self.renew_run(request, config, now)? {
            return Ok(Admitted::Renewed(lease));
        }
        self.remove(&request.id);
        self.remove_at(&request.address);
        if self.entries.len() >= config.max_workers {
            return Err(JoinRejection::ClusterFull { max_workers: config.max_workers });
        }
        let epoch = self.next_epoch;
        self.next_epoch = Epoch(epoch.0.saturating_add(1));
        let (address, ttl) = (request.address.clone(), config.ttl());
        let remote = Remote { address: address.clone(), epoch };
        let member = Arc::new(Member::new(request.id.clone(), node, Some(remote), now));
        let lease = Lease { address, incarnation: request.incarnation, epoch, ttl, ends_at: now + ttl };
        self.insert(Entry { member, lease: Some(lease) });
        Ok(Admitted::Joined(offer(epoch, config)))
    }

    /// Gives back the place of a worker that did not become a member.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.joining.remove(&ticket);
    }

    pub(crate) fn renew(&mut self, id: &WorkerId, epoch: Epoch, now: Instant) -> HeartbeatAnswer {
        self.settle(now);
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.is_held_by(epoch)) else {
            return HeartbeatAnswer::Unknown;
        };
        if let Some(lease) = &mut entry.lease {
            lease.renew(now);
        }
        entry.member.regain_contact();
        HeartbeatAnswer::Renewed
    }

    /// Drains a member, and says whether there was one to drain.
    pub(crate) fn leave(&mut self, id: &WorkerId, epoch: Epoch, now: Instant) -> bool {
        self.settle(now);
        let Some(entry) = self.entries.get(id).filter(|entry| entry.is_held_by(epoch)) else { return false };
        entry.member.drain();
        self.remove_drained();
        true
    }

    /// Removes members whose lease ended, and those that have left and hold nothing more.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.forgive_a_pause(now);
        let Self { entries, ended, has_changed, .. } = self;
        entries.retain(|id, entry| {
            let Some(lease) = entry.lease.as_ref().filter(|lease| lease.ends_at <= now) else { return true };
            ended.push(EndedLease {
                id: id.clone(),
                epoch: lease.epoch,
                was_draining: entry.member.is_draining(),
            });
            entry.member.drain();
            *has_changed = true;
            false
        });
        self.remove_drained();
    }

    /// Announces the next sweep, at most `within` from now; returns its time.
    pub(crate) fn plan_sweep(&mut self, now: Instant, within: Duration, tolerance: Duration) -> Instant {
        let ends = self.entries.values().filter_map(|entry| Some(entry.lease.as_ref()?.ends_at));
        let at = ends.fold(now + within, Instant::min);
        self.next_sweep = Some(PlannedSweep { at, tolerance });
        at
    }

    /// Says that nobody sweeps any more.
    pub(crate) fn stop_sweeping(&mut self) {
        self.next_sweep = None;
    }

    pub(crate) fn workers(&self, now: Instant) -> Vec<WorkerInfo> {
        let members = self.entries.iter().map(|(id, entry)| (id, WorkerInfo::of(&entry.member, now)));
        let joining = self.joining.values().map(|applicant| {
            (&applicant.id, WorkerInfo::joining(applicant.id.clone(), applicant.address.clone()))
        });
        let mut workers: BTreeMap<_, _> = joining.collect();
        workers.extend(members);
        workers.into_values().collect()
    }

    /// Returns the members if they changed since the last call.
    pub(crate) fn take_change(&mut self) -> Option<Vec<Arc<Member>>> {
        let has_changed = std::mem::take(&mut self.has_changed);
        has_changed.then(|| self.entries.values().map(|entry| Arc::clone(&entry.member)).collect())
    }

    /// Returns the leases that ended since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<EndedLease> {
        std::mem::take(&mut self.ended)
    }

    fn insert(&mut self, entry: Entry) {
        let id = entry.member.id().clone();
        self.remove(&id);
        self.entries.insert(id, entry);
        self.has_changed = true;
    }

    /// Renews the lease of a run that is a member already; refuses one whose id is another member's.
    fn renew_run(
        &mut self,
        request: &JoinRequest,
        config: &ClusterConfig,
        now: Instant,
    ) -> Result<Option<MembershipLease>, JoinRejection> {
        let entry = self.entries.get_mut(&request.id).filter(|entry| !entry.member.is_draining());
        let Some(entry) = entry else { return Ok(None) };
        let Some(lease) = entry.lease.as_mut().filter(|lease| lease.address == request.address) else {
            return Err(JoinRejection::IdTaken);
        };
        if lease.incarnation != request.incarnation {
            return Ok(None);
        }
        lease.renew(now);
        entry.member.regain_contact();
        Ok(Some(offer(lease.epoch, config)))
    }

    fn takes_a_place_over(&self, request: &JoinRequest) -> bool {
        let lives_there = |entry: &Entry| entry.member.address() == Some(&request.address);
        self.entries.contains_key(&request.id)
            || self.entries.values().any(lives_there)
            || self.joining.values().any(|applicant| applicant.id == request.id)
    }

    fn places_taken(&self) -> usize {
        let is_kept =
            |applicant: &&Applicant| applicant.needs_place && !self.entries.contains_key(&applicant.id);
        self.entries.len() + self.joining.values().filter(is_kept).count()
    }

    fn remove_at(&mut self, address: &NodeAddress) {
        let Self { entries, has_changed, .. } = self;
        entries.retain(|_, entry| {
            let lives_there = entry.member.address() == Some(address);
            if lives_there {
                entry.member.drain();
                *has_changed = true;
            }
            !lives_there
        });
    }

    fn remove_drained(&mut self) {
        let before = self.entries.len();
        self.entries.retain(|_, entry| !entry.has_drained());
        self.has_changed |= self.entries.len() != before;
    }

    /// Gives every member a whole lease when this process stood still for long: heartbeats that could not be taken
    /// in meanwhile are about to come.
    fn forgive_a_pause(&mut self, now: Instant) {
        let Some(sweep) = self.next_sweep.as_mut().filter(|sweep| sweep.is_overdue(now)) else { return };
        sweep.at = now;
        for lease in self.entries.values_mut().filter_map(|entry| entry.lease.as_mut()) {
            lease.renew(now);
        }
    }
}

fn offer(epoch: Epoch, config: &ClusterConfig) -> MembershipLease {
    MembershipLease { epoch, ttl: config.ttl(), heartbeat_interval: config.heartbeat_interval() }
}
