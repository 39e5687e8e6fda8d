//! Whom to pick.
//!
//! To add a policy: make a file here, implement [`LoadBalancer`] on a type whose state is atomics, test the law
//! that it keeps, and name it in the configuration (`dispatch.policy`).

mod round_robin;

pub use round_robin::RoundRobin;

use super::{ClusterView, MemberIndex};
use crate::domain::ClientId;

/// What a policy may look at.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PickRequest<'a> {
    /// The client whom the request is about, for policies that keep a client on one worker.
    pub client: Option<&'a ClientId>,
    /// Members that were tried for this request already; they are not to be picked again.
    pub tried: &'a [MemberIndex],
}

impl<'a> PickRequest<'a> {
    /// Makes a request about a client, with the members that were tried already.
    #[must_use]
    pub fn new(client: Option<&'a ClientId>, tried: &'a [MemberIndex]) -> Self {
        Self { client, tried }
    }
}

/// Picks the member that gets a request.
///
/// Synchronous and pure but for counters: no await, no allocation, no lock.
pub trait LoadBalancer: std::fmt::Debug + Send + Sync + 'static {
    /// Returns a member of the view that was not tried yet, or `None` when there is none.
    fn pick(&self, view: &ClusterView, request: &PickRequest<'_>) -> Option<MemberIndex>;
}
