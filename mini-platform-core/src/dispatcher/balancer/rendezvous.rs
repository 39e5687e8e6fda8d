//! The same member for the same client, as long as it is not overloaded.

use std::hash::Hasher;

use super::{Candidates, LoadBalancer, PickRequest};
use crate::dispatcher::{ClusterView, Member, MemberIndex};
use crate::domain::ClientId;

/// Keeps each client on one member (highest random weight: Thaler and Ravishankar 1998), unless that holds more
/// than a quarter above the mean of all (bounded loads: Mirrokni, Thorup, Zadimoghaddam 2016): then the client's
/// next one. Without a client it picks by load alone. Looks at every member.
///
/// When to use it: workers that keep something warm a client.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Rendezvous {}

/// A member holds at most this many quarters of the mean.
const QUARTERS_OF_MEAN: usize = 5;

impl LoadBalancer for Rendezvous {
    fn pick(&self, view: &ClusterView, request: &PickRequest<'_>) -> Option<MemberIndex> {
        let candidates = Candidates::new(view, request);
        let (mut members, mut in_flight) = (0_usize, 0_usize);
        for (_, member) in candidates.starting_at(0) {
            members += 1;
            in_flight += member.in_flight();
        }
        // With the request that is to be placed; rounded up, so that there is always room somewhere.
        let limit = (QUARTERS_OF_MEAN * (in_flight + 1)).div_ceil(4 * members.max(1));
        let within = candidates.starting_at(0).filter(|(_, member)| member.in_flight() < limit);
        let home = request.client.map(mark).and_then(|client| {
            within.max_by_key(|(_, member)| weight(client, member)).map(|(index, _)| index)
        });
        // Requests that start meanwhile can fill all of them up to the limit.
        let least = || candidates.starting_at(0).min_by_key(|(_, member)| member.in_flight());
        home.or_else(|| least().map(|(index, _)| index))
    }
}

fn mark(client: &ClientId) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(client.as_str().as_bytes());
    hasher.finish()
}

/// Stable between processes and versions, so that several dispatchers agree.
fn weight(client: u64, member: &Member) -> u64 {
    // The last bytes of FNV hardly reach the high bits, and members differ in their last bytes: mixed as in SplitMix64.
    let mut z = client ^ member.mark().rotate_left(32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
