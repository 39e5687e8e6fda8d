//! The member that holds the fewest requests.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Candidates, LoadBalancer, PickRequest};
use crate::dispatcher::{ClusterView, MemberIndex};

/// Picks the member that holds the fewest requests; of several such, each in turn. Looks at every member.
///
/// When to use it: a handful of members whose requests cost about the same.
#[derive(Debug, Default)]
pub struct LeastInFlight {
    next: AtomicUsize,
}

impl LoadBalancer for LeastInFlight {
    fn pick(&self, view: &ClusterView, request: &PickRequest<'_>) -> Option<MemberIndex> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let candidates = Candidates::new(view, request).starting_at(start);
        candidates.min_by_key(|(_, member)| member.in_flight()).map(|(index, _)| index)
    }
}
