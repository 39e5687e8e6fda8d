//! Each member in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Candidates, LoadBalancer, PickRequest};
use crate::dispatcher::{ClusterView, MemberIndex};

/// Picks each member in turn, whatever its load.
///
/// When to use it: members and requests are all alike, or a test wants to know who is next.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl LoadBalancer for RoundRobin {
    fn pick(&self, view: &ClusterView, request: &PickRequest<'_>) -> Option<MemberIndex> {
        // A further try goes on from the last one: it must not use up the turn of the next request.
        let turn = match request.tried.last() {
            Some(MemberIndex(last)) => last + 1,
            None => self.next.fetch_add(1, Ordering::Relaxed),
        };
        Candidates::new(view, request).starting_at(turn).next().map(|(index, _)| index)
    }
}

#[cfg(all(test, feature = "mock"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tokio::time::Instant;

    use crate::dispatcher::cluster::Cluster;
    use crate::dispatcher::outlier::OutlierPolicy;
    use crate::domain::WorkerId;
    use crate::mock::MockWorkerNode;

    fn view(members: usize) -> Arc<ClusterView> {
        let cluster = Cluster::new(OutlierPolicy::default(), Instant::now());
        for number in 0..members {
            cluster.add(WorkerId::new(format!("w{number}")).unwrap(), Arc::new(MockWorkerNode::new()));
        }
        cluster.view()
    }

    fn pick(balancer: &RoundRobin, view: &ClusterView, tried: &[MemberIndex]) -> Option<usize> {
        balancer.pick(view, &PickRequest::new(None, tried, Instant::now())).map(|MemberIndex(index)| index)
    }

    #[test]
    fn every_member_has_its_turn() {
        let (balancer, view) = (RoundRobin::default(), view(3));
        let picks: Vec<_> = (0..6).filter_map(|_| pick(&balancer, &view, &[])).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_member_that_was_tried_is_passed_over() {
        let (balancer, view) = (RoundRobin::default(), view(2));
        assert_eq!(pick(&balancer, &view, &[MemberIndex(0)]), Some(1));
        assert_eq!(pick(&balancer, &view, &[MemberIndex(0), MemberIndex(1)]), None);
    }

    #[test]
    fn nobody_is_picked_of_nobody() {
        assert_eq!(pick(&RoundRobin::default(), &view(0), &[]), None);
    }
}
