//! The tries of one request: at most [`MAX_TRIES`], and [`MAX_UNDER_WAY`] at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use crate::dispatcher::member::{InFlight, Member};
use crate::dispatcher::{ClusterView, MemberIndex};

/// The most members that are tried for one request. Several that ended together refuse at once, which costs next to
/// nothing; the budget bounds what it costs otherwise.
pub(super) const MAX_TRIES: usize = 8;

/// The most members that work on one request at once: more would multiply load when it hurts most.
const MAX_UNDER_WAY: usize = 3;

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
    members: [Option<Arc<Member>>; MAX_TRIES],
    started: usize,
    under_way: [Option<Try<'a, T, E>>; MAX_TRIES],
}

impl<T, E> Default for Tries<'_, T, E> {
    fn default() -> Self {
        Self { members: [const { None }; MAX_TRIES], started: 0, under_way: [const { None }; MAX_TRIES] }
    }
}

impl<'a, T, E> Tries<'a, T, E> {
    /// Returns the places that the members which were tried have in a view, put down in `places`.
    pub(super) fn places_in<'p>(
        &self,
        view: &ClusterView,
        places: &'p mut [MemberIndex; MAX_TRIES],
    ) -> &'p [MemberIndex] {
        let place = |tried: &Arc<Member>| view.members().iter().position(|member| Arc::ptr_eq(member, tried));
        let mut count = 0;
        for (found, to) in self.members.iter().flatten().filter_map(place).zip(&mut *places) {
            *to = MemberIndex(found);
            count += 1;
        }
        places.get(..count).unwrap_or_default()
    }

    /// Says whether no further try may be started for now.
    pub(super) fn are_used_up(&self) -> bool {
        self.started == MAX_TRIES || self.under_way.iter().flatten().count() == MAX_UNDER_WAY
    }

    pub(super) fn none_is_under_way(&self) -> bool {
        self.under_way.iter().all(Option::is_none)
    }

    /// Adds a try; beyond the last one nothing happens.
    pub(super) fn start(
        &mut self,
        member: Arc<Member>,
        in_flight: InFlight,
        answer: BoxFuture<'a, Result<T, E>>,
    ) {
        let places = self.members.get_mut(self.started).zip(self.under_way.get_mut(self.started));
        if let Some((tried, under_way)) = places {
            *tried = Some(member);
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
