//! The tries of one request, at most [`MAX_TRIES`].

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use crate::dispatcher::MemberIndex;
use crate::dispatcher::member::InFlight;

/// The most members that are tried for one request: more tries would multiply load when it hurts most.
pub(super) const MAX_TRIES: usize = 3;

/// A call of one member that has not answered yet.
struct Try<'a, T, E> {
    in_flight: InFlight,
    answer: BoxFuture<'a, Result<T, E>>,
}

/// A try that came to its end.
pub(super) struct Ended<T, E> {
    /// How many tries started before it.
    pub(super) order: usize,
    pub(super) in_flight: InFlight,
    pub(super) answer: Result<T, E>,
}

/// The members that were tried, in order, and what is still under way at them. Dropping it abandons that.
pub(super) struct Tries<'a, T, E> {
    members: [MemberIndex; MAX_TRIES],
    started: usize,
    under_way: [Option<Try<'a, T, E>>; MAX_TRIES],
}

impl<T, E> Default for Tries<'_, T, E> {
    fn default() -> Self {
        Self { members: [MemberIndex(0); MAX_TRIES], started: 0, under_way: [const { None }; MAX_TRIES] }
    }
}

impl<'a, T, E> Tries<'a, T, E> {
    /// Returns the members that were tried.
    pub(super) fn members(&self) -> &[MemberIndex] {
        self.members.get(..self.started).unwrap_or_default()
    }

    pub(super) fn are_used_up(&self) -> bool {
        self.started == MAX_TRIES
    }

    pub(super) fn none_is_under_way(&self) -> bool {
        self.under_way.iter().all(Option::is_none)
    }

    /// Adds a try; beyond the last one nothing happens.
    pub(super) fn start(
        &mut self,
        index: MemberIndex,
        in_flight: InFlight,
        answer: BoxFuture<'a, Result<T, E>>,
    ) {
        let places = self.members.get_mut(self.started).zip(self.under_way.get_mut(self.started));
        if let Some((member, under_way)) = places {
            *member = index;
            *under_way = Some(Try { in_flight, answer });
            self.started += 1;
        }
    }

    /// Waits for the next try to end; `None` when the time comes first.
    pub(super) async fn next_end_before(&mut self, time: Option<Instant>) -> Option<Ended<T, E>> {
        match time {
            Some(time) => timeout_at(time, self.next_end()).await.ok(),
            None => Some(self.next_end().await),
        }
    }

    /// Waits for the next try to end: of several, the one that started first.
    async fn next_end(&mut self) -> Ended<T, E> {
        poll_fn(|context| {
            for (order, place) in self.under_way.iter_mut().enumerate() {
                let Some(under_way) = place else { continue };
                if let Poll::Ready(answer) = under_way.answer.poll_unpin(context)
                    && let Some(Try { in_flight, .. }) = place.take()
                {
                    return Poll::Ready(Ended { order, in_flight, answer });
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Gives up on the first so many tries. Those that had a fair share of time failed by being slow.
    pub(super) fn give_up_on_first(&mut self, count: usize, fair_share: Duration) {
        for Try { in_flight, .. } in self.under_way.iter_mut().take(count).filter_map(Option::take) {
            if in_flight.elapsed() >= fair_share {
                in_flight.fail();
            }
        }
    }
}
