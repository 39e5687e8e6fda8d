//! The order of a stream's requests: those that share an id are taken in one after the other, others at once.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::v1;

/// The latest requests of a stream.
#[derive(Debug)]
pub(super) struct Turns {
    /// How many of them can be under way.
    most: usize,
    hasher: RandomState,
    latest: VecDeque<(Ids, CancellationToken)>,
}

/// The place of a request in its stream. It is over when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// Cancelled when an earlier request is over.
    after: Vec<CancellationToken>,
    _over: DropGuard,
}

impl Turns {
    /// Orders the requests of a stream, of which at most so many are under way.
    pub(super) fn new(most: usize) -> Self {
        Self { most, hasher: RandomState::new(), latest: VecDeque::with_capacity(most) }
    }

    /// Gives the next request its place.
    pub(super) fn next(&mut self, submissions: &[v1::Submission]) -> Turn {
        let ids = Ids::of(submissions, &self.hasher);
        let earlier = self.latest.iter().filter(|(earlier, _)| earlier.share_any(&ids));
        let after = earlier.map(|(_, over)| over.clone()).collect();
        if self.latest.len() == self.most {
            self.latest.pop_front();
        }
        let over = CancellationToken::new();
        self.latest.push_back((ids, over.clone()));
        Turn { after, _over: over.drop_guard() }
    }
}

impl Turn {
    /// Waits until it is the request's turn.
    pub(super) async fn wait(&self) {
        for earlier in &self.after {
            earlier.cancelled().await;
        }
    }
}

/// Stands for the ids of a request: their hashes, sorted. Two that collide by chance wait in vain, and no more.
#[derive(Debug)]
struct Ids(Vec<u64>);

impl Ids {
    fn of(submissions: &[v1::Submission], hasher: &RandomState) -> Self {
        let given = submissions.iter().filter(|submission| !submission.id.is_empty());
        let mut ids: Vec<u64> = given.map(|submission| hasher.hash_one(&submission.id)).collect();
        ids.sort_unstable();
        Self(ids)
    }

    fn share_any(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(our), Some(their)) = (ours.peek(), theirs.peek()) {
            match our.cmp(their) {
                Ordering::Equal => return true,
                Ordering::Less => ours.next(),
                Ordering::Greater => theirs.next(),
            };
        }
        false
    }
}
