//! What makes most reads of links needless.
//!
//! A link keeps its latest time, so writing one means to read it first, and three in four reads of the writer
//! would be these. But events mostly come in the order of their times. When an edge is later than every edge
//! that was ever linked under any key of its bucket, it is later than what its own key holds, if that holds
//! anything, and can be written unread. A link that is removed takes nothing back here: a time that was once linked
//! is still as late as what its key may hold.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use mini_platform_core::domain::Timestamp;

/// How many buckets there are: so many that the edges of the batches in flight, whose times are mingled, hardly
/// ever share one, in half a mebibyte.
const BUCKETS: usize = 1 << 16;

/// The latest times that were linked, by bucket of keys.
#[derive(Debug)]
pub(crate) struct NewestLinks {
    /// The latest time of all links; `None` when there are none.
    newest: Option<Timestamp>,
    buckets: Vec<Option<Timestamp>>,
    hasher: RandomState,
}

impl NewestLinks {
    /// Starts with the latest time of all links that are stored, which any bucket may hold.
    pub(crate) fn new(newest: Option<Timestamp>) -> Self {
        Self { newest, buckets: vec![newest; BUCKETS], hasher: RandomState::default() }
    }

    /// Returns the latest time of all links.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Takes an edge in, and says whether it is surely later than all that was linked under its key.
    pub(crate) fn push(&mut self, key: &[u8], at: Timestamp) -> bool {
        self.newest = self.newest.max(Some(at));
        let place = usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % BUCKETS;
        let Some(bucket) = self.buckets.get_mut(place) else { return false };
        let is_newer = bucket.is_none_or(|newest| at > newest);
        *bucket = (*bucket).max(Some(at));
        is_newer
    }
}

#[cfg(test)]
mod tests {
    use mini_platform_core::testkit::at;

    use super::*;

    #[test]
    fn only_what_is_later_than_everything_under_its_key_is_surely_newer() {
        let mut newest = NewestLinks::new(None);
        let pushed = [5, 6, 6, 4, 7].map(|seconds| newest.push(b"key", at(seconds)));
        assert_eq!(pushed, [true, true, false, false, true]);
        assert_eq!(newest.newest(), Some(at(7)));
    }

    #[test]
    fn nothing_is_surely_newer_than_what_was_stored_before() {
        let mut newest = NewestLinks::new(Some(at(5)));
        for (key, seconds, is_newer) in [("a", 4, false), ("b", 5, false), ("c", 6, true)] {
            assert_eq!(newest.push(key.as_bytes(), at(seconds)), is_newer, "{key}");
        }
    }

    #[test]
    fn a_later_edge_of_another_bucket_does_not_matter() {
        let mut newest = NewestLinks::new(None);
        newest.push(b"other", at(9));
        let newer = (0..100_u8).filter(|key| newest.push(&[*key], at(1))).count();
        assert!(newer >= 90, "hardly any key shares a bucket: {newer}");
    }
}
