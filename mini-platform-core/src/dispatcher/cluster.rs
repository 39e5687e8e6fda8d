//! Who exists: the members at each moment.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::member::Member;
use super::membership::{EndedLease, Roll, WorkerInfo};
use super::outlier::{OutlierPolicy, Outliers};
use crate::domain::WorkerId;
use crate::port::WorkerNode;

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

/// The members over time: one immutable view behind one swap, and the roll that it is made from.
#[derive(Debug)]
pub(super) struct Cluster {
    view: ArcSwap<ClusterView>,
    roll: Mutex<Roll>,
    outliers: Outliers,
}

impl Cluster {
    pub(super) fn new(policy: OutlierPolicy, now: Instant) -> Self {
        Self { view: ArcSwap::default(), roll: Mutex::default(), outliers: Outliers::new(policy, now) }
    }

    pub(super) fn view(&self) -> Arc<ClusterView> {
        self.view.load_full()
    }

    pub(super) fn add(&self, id: WorkerId, node: Arc<dyn WorkerNode>) {
        let member = Arc::new(Member::new(id, node, None, Instant::now()));
        self.change(|roll| roll.add(member));
    }

    pub(super) fn remove(&self, id: &WorkerId) {
        self.change(|roll| roll.remove(id));
    }

    /// Returns the members and who is joining, ordered by id.
    pub(super) fn workers(&self) -> Vec<WorkerInfo> {
        self.change(|roll| {
            let now = Instant::now();
            roll.settle(now);
            roll.workers(now)
        })
    }

    /// Takes in the outcome of one request.
    pub(super) fn note(&self, member: &Member, succeeded: bool, now: Instant) {
        self.outliers.note(member, succeeded, self.view.load().members(), now);
    }

    /// Changes the roll, and the view with it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Roll) -> T) -> T {
        let mut roll = self.roll.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = change(&mut roll);
        if let Some(members) = roll.take_change() {
            self.view.store(Arc::new(ClusterView { members }));
        }
        let ended = roll.take_ended();
        drop(roll);
        ended.iter().for_each(EndedLease::tell);
        answer
    }
}

#[cfg(all(test, feature = "mock"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::mock::MockWorkerNode;

    fn cluster(ids: &[&str]) -> Cluster {
        let cluster = Cluster::new(OutlierPolicy::default(), Instant::now());
        ids.iter().for_each(|id| cluster.add(WorkerId::new(id).unwrap(), Arc::new(MockWorkerNode::new())));
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
        cluster.remove(&WorkerId::new("a").unwrap());
        assert_eq!(ids(&before), ["a", "b"]);
        assert_eq!(ids(&cluster.view()), ["b"]);
    }
}
