//! What is known of the requests behind the events of a batch.

use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;

use crate::domain::{ParcelId, Timestamp, TraceContext};
use crate::port::Clock;
use crate::trace;

/// When a request came, and which trace it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) at: Timestamp,
    pub(super) trace: TraceContext,
}

/// The requests of a batch.
#[derive(Debug, Clone)]
pub(super) enum Requests {
    /// All events came with one.
    One(Request),
    /// Each event came with its own, and this is the first and the rest, in order.
    Each(Request, Vec<Request>),
}

impl Requests {
    /// Makes the requests of events that came one by one; `None` of none.
    pub(super) fn each(requests: impl IntoIterator<Item = Request>) -> Option<Self> {
        let mut requests = requests.into_iter();
        requests.next().map(|first| Self::Each(first, requests.collect()))
    }

    /// Returns the request of the event at a place of the batch.
    pub(super) fn of(&self, place: usize) -> Request {
        match self {
            Self::One(request) => *request,
            Self::Each(first, rest) => {
                place.checked_sub(1).and_then(|place| rest.get(place)).copied().unwrap_or(*first)
            }
        }
    }
}

/// Says what time it is, and makes what has to be new.
#[derive(Clone)]
pub(super) struct Origin {
    clock: Arc<dyn Clock>,
    random: Arc<Mutex<Rng>>,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}

impl Origin {
    pub(super) fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, random: Arc::new(Mutex::new(Rng::with_seed(seed))) }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes in a request that comes now: of the trace that is worked on, or of a new one.
    pub(super) fn request(&self) -> Request {
        Request { at: self.now(), trace: trace::current().unwrap_or_else(|| self.fresh_trace()) }
    }

    pub(super) fn fresh_trace(&self) -> TraceContext {
        loop {
            let (trace, parent) = self.random(|random| (random.u128(..), random.u64(..)));
            if let Some(trace) = TraceContext::new(trace, parent) {
                return trace;
            }
        }
    }

    pub(super) fn fresh_parcel_id(&self) -> ParcelId {
        let mut random = [0; 10];
        self.random(|rng| rng.fill(&mut random));
        ParcelId::new(self.now(), random)
    }

    pub(super) fn random<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
