//! Who exists: the members, and how loaded each is.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use smol_str::SmolStr;

use crate::port::WorkerNode;

/// Names a worker within a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(SmolStr);

impl WorkerId {
    /// Makes an id.
    #[must_use]
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(SmolStr::new(id))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A worker as the cluster sees it.
pub struct Member {
    id: WorkerId,
    node: Arc<dyn WorkerNode>,
    in_flight: AtomicUsize,
    finished: AtomicU64,
    failed: AtomicU64,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Member {
    fn new(id: WorkerId, node: Arc<dyn WorkerNode>) -> Self {
        Self {
            id,
            node,
            in_flight: AtomicUsize::new(0),
            finished: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Returns the member's id.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// Returns how many requests the member holds.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns how many requests the member answered.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Returns how many requests the member failed, or was given up on.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn node(&self) -> &dyn WorkerNode {
        &*self.node
    }
}

/// A request that a member holds. Whatever way it ends, dropping this counts it.
#[derive(Debug)]
pub struct InFlight {
    member: Arc<Member>,
    succeeded: bool,
}

impl InFlight {
    pub(super) fn start(member: Arc<Member>) -> Self {
        member.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { member, succeeded: false }
    }

    /// Says that the member answered. Without it, the request counts as failed.
    pub(super) fn succeed(mut self) {
        self.succeeded = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let counter = if self.succeeded { &self.member.finished } else { &self.member.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.member.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of a member in one [`ClusterView`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberIndex(pub usize);

/// The members at one moment; never changes.
#[derive(Debug, Default)]
pub struct ClusterView {
    members: Vec<Arc<Member>>,
}

impl ClusterView {
    /// Returns the members, ordered by id.
    #[must_use]
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Returns the member at a place, if the place is in this view.
    #[must_use]
    pub fn get(&self, index: MemberIndex) -> Option<&Arc<Member>> {
        self.members.get(index.0)
    }
}

/// The members over time: one immutable view behind one swap.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    view: ArcSwap<ClusterView>,
    changing: Mutex<()>,
}

impl Cluster {
    pub(super) fn view(&self) -> Arc<ClusterView> {
        self.view.load_full()
    }

    pub(super) fn add(&self, id: WorkerId, node: Arc<dyn WorkerNode>) {
        self.change(|members| {
            members.retain(|member| member.id != id);
            members.push(Arc::new(Member::new(id, node)));
            members.sort_by(|a, b| a.id.cmp(&b.id));
        });
    }

    pub(super) fn remove(&self, id: &WorkerId) {
        self.change(|members| members.retain(|member| member.id != *id));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Member>>)) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = self.view.load().members.clone();
        change(&mut members);
        self.view.store(Arc::new(ClusterView { members }));
    }
}

#[cfg(all(test, feature = "mock"))]
mod tests {
    use super::*;
    use crate::mock::MockWorkerNode;

    fn cluster(ids: &[&str]) -> Cluster {
        let cluster = Cluster::default();
        ids.iter().for_each(|id| cluster.add(WorkerId::new(id), Arc::new(MockWorkerNode::new())));
        cluster
    }

    fn ids(view: &ClusterView) -> Vec<&str> {
        view.members().iter().map(|member| member.id().as_str()).collect()
    }

    #[test]
    fn members_are_unique_and_ordered_by_id() {
        let cluster = cluster(&["b", "a", "b"]);
        assert_eq!(ids(&cluster.view()), ["a", "b"]);
    }

    #[test]
    fn a_view_never_changes() {
        let cluster = cluster(&["a", "b"]);
        let before = cluster.view();
        cluster.remove(&WorkerId::new("a"));
        assert_eq!(ids(&before), ["a", "b"]);
        assert_eq!(ids(&cluster.view()), ["b"]);
    }

    #[test]
    fn a_request_that_is_dropped_counts_as_failed() {
        let view = cluster(&["a"]).view();
        let member = view.get(MemberIndex(0)).unwrap();
        let (kept, dropped) = (InFlight::start(Arc::clone(member)), InFlight::start(Arc::clone(member)));
        assert_eq!(member.in_flight(), 2);
        drop(dropped);
        kept.succeed();
        assert_eq!((member.in_flight(), member.finished(), member.failed()), (0, 1, 1));
    }
}
