//! The better of two random members.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Candidates, LoadBalancer, PickRequest};
use crate::dispatcher::{ClusterView, Member, MemberIndex};

/// How often chance is asked for a place that holds a candidate, before all places are looked at in turn. With
/// half of many members ejected, one pick in 28 gets there.
const DRAWS: usize = 8;

/// Picks the better of two members drawn by chance, by [`Load::is_better_than`](crate::dispatcher::Load).
///
/// Two random choices are nearly as good as looking at all (Mitzenmacher, *The Power of Two Choices in Randomized
/// Load Balancing*, 2001), cost the same for any number of members, and do not send everybody to the same best
/// one. When to use it: nearly always.
#[derive(Debug)]
pub struct P2cEwma {
    seed: AtomicU64,
}

impl P2cEwma {
    /// Makes a policy whose chance starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed: AtomicU64::new(seed) }
    }

    /// Returns a random number: SplitMix64 (Steele, Lea, Flood 2014), whose state is one atomic addition.
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.seed.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Returns a place below `count`: the high bits of a product, which needs no division.
fn place(random: u32, count: usize) -> usize {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    ((u64::from(random) * u64::from(count)) >> 32) as usize
}

impl LoadBalancer for P2cEwma {
    fn pick(&self, view: &ClusterView, request: &PickRequest<'_>) -> Option<MemberIndex> {
        let candidates = Candidates::new(view, request);
        let count = candidates.places();
        let (mut first, mut start) = (None::<(MemberIndex, &Member)>, 0);
        for _ in 0..DRAWS / 2 {
            let random = self.random();
            for half in [random as u32, (random >> 32) as u32] {
                start = place(half, count);
                match (candidates.at(start), first) {
                    (Some(drawn), None) => first = Some(drawn),
                    (Some(drawn), Some(first)) if drawn.0 != first.0 => {
                        return Some(better(first, drawn, request));
                    }
                    _ => {}
                }
            }
        }
        let mut rest = candidates.starting_at(start);
        let first = first.or_else(|| rest.next())?;
        let second = rest.find(|(index, _)| *index != first.0);
        Some(second.map_or(first.0, |second| better(first, second, request)))
    }
}

fn better(
    one: (MemberIndex, &Member),
    other: (MemberIndex, &Member),
    request: &PickRequest<'_>,
) -> MemberIndex {
    if other.1.load(request.now).is_better_than(one.1.load(request.now)) { other.0 } else { one.0 }
}
