//! Whom to pick.
//!
//! To add a policy: make a file here, implement [`LoadBalancer`] on a type whose state is atomics, take members
//! from [`Candidates`] only, test the law that it keeps, and name it in the configuration (`dispatch.policy`).

mod candidates;
mod least_in_flight;
mod p2c_ewma;
mod rendezvous;
mod round_robin;

#[cfg(all(test, feature = "mock"))]
mod simulation;

use tokio::time::Instant;

pub use candidates::Candidates;
pub use least_in_flight::LeastInFlight;
pub use p2c_ewma::P2cEwma;
pub use rendezvous::Rendezvous;
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
    /// The time of the pick.
    pub now: Instant,
}

impl<'a> PickRequest<'a> {
    /// Makes a request about a client, with the members that were tried already.
    #[must_use]
    pub fn new(client: Option<&'a ClientId>, tried: &'a [MemberIndex], now: Instant) -> Self {
        Self { client, tried, now }
    }
}

/// Picks the member that gets a request.
///
/// Synchronous and pure but for counters: no await, no allocation, no lock.
pub trait LoadBalancer: std::fmt::Debug + Send + Sync + 'static {
    /// Returns a member of the view that was not tried yet, or `None` when there is none.
    fn pick(&self, view: &ClusterView, request: &PickRequest<'_>) -> Option<MemberIndex>;
}
