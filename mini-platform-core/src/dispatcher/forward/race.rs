//! One request on its way to an answer: which try comes next, and which one wins.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::Forwarder;
use super::tries::{Ended, MAX_TRIES, Tries};
use crate::deadline;
use crate::dispatcher::MemberIndex;
use crate::dispatcher::balancer::PickRequest;
use crate::dispatcher::member::{InFlight, Member};
use crate::domain::ClientId;
use crate::error::{DispatchError, FetchError, IngestError, Retry};
use crate::telemetry::{DISPATCHER_HEDGES, DISPATCHER_RETRIES};

/// What there is to know of an error of a member.
pub(super) trait MemberError {
    /// Says whether the same request may do better later.
    fn may_pass(&self) -> bool;

    /// Says whether the member itself could not be reached.
    fn is_unreachable(&self) -> bool;

    /// Says that this was the last error of a request.
    fn exhausted(self) -> DispatchError;
}

impl MemberError for IngestError {
    fn may_pass(&self) -> bool {
        self.retry() != Retry::Never
    }

    fn is_unreachable(&self) -> bool {
        self.is_unreachable()
    }

    fn exhausted(self) -> DispatchError {
        DispatchError::Ingest(self)
    }
}

impl MemberError for FetchError {
    fn may_pass(&self) -> bool {
        self.retry() != Retry::Never
    }

    fn is_unreachable(&self) -> bool {
        self.is_unreachable()
    }

    fn exhausted(self) -> DispatchError {
        DispatchError::Fetch(self)
    }
}

/// Why one more try is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extra {
    /// The last one failed.
    Retry,
    /// The last one is slow.
    Hedge,
}

/// One request: the tries that were made for it, and what may still be done.
pub(super) struct Race<'a, T, E, C> {
    forwarder: &'a Forwarder,
    client: Option<&'a ClientId>,
    call: C,
    tries: Tries<'a, T, E>,
    /// When the last try gets company, unless that was decided.
    hedge_at: Option<Instant>,
}

impl<'a, T, E, C> Race<'a, T, E, C>
where
    E: MemberError,
    C: Fn(Arc<Member>) -> BoxFuture<'a, Result<T, E>>,
{
    pub(super) fn new(forwarder: &'a Forwarder, client: Option<&'a ClientId>, call: C) -> Self {
        Self { forwarder, client, call, tries: Tries::default(), hedge_at: None }
    }

    /// Calls members until one answers, or none is left. Whatever the error of one, another may do better: it may be
    /// of another version, or have another way to the backend.
    ///
    /// Of several errors the caller gets the last, but not one that cannot pass if another one can.
    pub(super) async fn run(&mut self) -> Result<T, DispatchError> {
        self.forwarder.retries.deposit();
        let now = Instant::now();
        let member = self.pick(now).ok_or(DispatchError::NoWorkers)?;
        self.start(member, now);
        let mut earlier = None;
        loop {
            let Some(ended) = self.tries.next_end_before(self.hedge_at).await else {
                self.hedge_at = None;
                self.start_another(Extra::Hedge);
                continue;
            };
            match self.take_in(ended) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let last = earlier.take().filter(|_| !error.may_pass()).unwrap_or(error);
                    if !self.start_another(Extra::Retry) && self.tries.none_is_under_way() {
                        return Err(last.exhausted());
                    }
                    earlier = Some(last).filter(E::may_pass);
                }
            }
        }
    }

    /// Gives up on what is under way, because the time is up.
    pub(super) fn time_out(&mut self) {
        self.tries.give_up_on_first(MAX_TRIES, self.forwarder.fair_share());
    }

    /// Counts the end of a try. A good answer ends the others: those that started before it were too slow.
    fn take_in(&mut self, ended: Ended<T, E>) -> Result<T, E> {
        match &ended.answer {
            Ok(_) => {
                ended.in_flight.member().regain_contact();
                ended.in_flight.succeed();
                self.tries.give_up_on_first(ended.order, self.forwarder.fair_share());
            }
            Err(error) => {
                if error.is_unreachable() {
                    ended.in_flight.member().lose_contact();
                }
                ended.in_flight.fail();
            }
        }
        ended.answer
    }

    /// Starts one more try, if there is a member for it and the budget allows it.
    fn start_another(&mut self, extra: Extra) -> bool {
        let now = Instant::now();
        if self.tries.are_used_up() {
            return false;
        }
        let Some(member) = self.pick(now) else { return false };
        // When a try failed, a member that may fail is better than none. A slow one may still answer.
        let of_use = extra == Extra::Retry || !member.is_ejected(now);
        if !of_use || !self.forwarder.retries.withdraw() {
            return false;
        }
        metrics::counter!(match extra {
            Extra::Retry => DISPATCHER_RETRIES,
            Extra::Hedge => DISPATCHER_HEDGES,
        })
        .increment(1);
        self.start(member, now);
        true
    }

    /// Picks from the members of this moment: one that joined since the last try may be the only one left.
    fn pick(&self, now: Instant) -> Option<Arc<Member>> {
        let view = self.forwarder.cluster.view();
        let mut places = [MemberIndex(0); MAX_TRIES];
        let tried = self.tries.places_in(&view, &mut places);
        let request = PickRequest::new(self.client, tried, now);
        let index = self.forwarder.balancer.pick(&view, &request)?;
        view.get(index).map(Arc::clone)
    }

    fn start(&mut self, member: Arc<Member>, now: Instant) {
        let in_flight = InFlight::start(Arc::clone(&member), Arc::clone(&self.forwarder.cluster), now);
        self.tries.start(Arc::clone(&member), in_flight, (self.call)(member));
        self.hedge_at = deadline::remaining().map(|left| now + left / 2);
    }
}
