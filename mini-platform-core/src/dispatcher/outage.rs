//! Whether anything is finished at the moment.
//!
//! When every batch fails, each would wait for the whole timeout before it is parked, and the next ones behind it. So
//! after a few in a row the rest is parked at once, but for a trial now and then. One that is finished, also out of the
//! parking lot, ends it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many batches in a row fail before it is an outage. One or two may have met the same restart.
const FAILURES: u32 = 3;

#[derive(Debug)]
pub(super) struct Outage {
    state: Mutex<State>,
    trial_every: Duration,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When the outage began and the next trial is due; `None` while things are finished.
    ongoing: Option<Ongoing>,
}

#[derive(Debug, Clone, Copy)]
struct Ongoing {
    since: Instant,
    next_trial: Instant,
}

impl Outage {
    pub(super) fn new(trial_every: Duration) -> Self {
        Self { state: Mutex::default(), trial_every }
    }

    /// Says whether there is an outage.
    pub(super) fn is_on(&self) -> bool {
        self.lock().ongoing.is_some()
    }

    /// Says whether a batch is not to be tried. While it is an outage, one in a while is: the trial.
    pub(super) fn diverts(&self, now: Instant) -> bool {
        match &mut self.lock().ongoing {
            None => false,
            Some(ongoing) if now >= ongoing.next_trial => {
                ongoing.next_trial = now + self.trial_every;
                false
            }
            Some(_) => true,
        }
    }

    /// Takes in that a batch was finished.
    pub(super) fn finished(&self, now: Instant) {
        let mut state = self.lock();
        state.failures = 0;
        if let Some(Ongoing { since, .. }) = state.ongoing.take() {
            let lasted_ms = now.saturating_duration_since(since).as_millis();
            tracing::info!(duration_ms = %lasted_ms, "batches are finished again");
        }
    }

    /// Takes in that a batch could not be finished.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES && state.ongoing.is_none() {
            state.ongoing = Some(Ongoing { since: now, next_trial: now + self.trial_every });
            tracing::warn!("nothing is finished at the moment; what comes is parked without being tried");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    #[test]
    fn a_few_failures_in_a_row_are_an_outage_and_one_success_ends_it() {
        let (outage, now) = (Outage::new(EVERY), Instant::now());
        for _ in 1..FAILURES {
            outage.failed(now);
        }
        outage.finished(now);
        for _ in 1..FAILURES {
            outage.failed(now);
            assert!(!outage.is_on() && !outage.diverts(now), "failures between successes are no outage");
        }
        outage.failed(now);
        assert!(outage.is_on() && outage.diverts(now));
        outage.finished(now);
        assert!(!outage.is_on() && !outage.diverts(now));
    }

    #[test]
    fn while_it_lasts_one_batch_in_a_while_is_tried() {
        let (outage, now) = (Outage::new(EVERY), Instant::now());
        for _ in 0..FAILURES {
            outage.failed(now);
        }
        let tried = (0..5_000).filter(|ms| !outage.diverts(now + Duration::from_millis(*ms))).count();
        assert_eq!(tried, 4, "a trial a second, the first one second after it began");
    }
}
