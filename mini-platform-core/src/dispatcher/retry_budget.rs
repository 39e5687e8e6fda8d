//! How many calls more than requests there may be.

use std::sync::atomic::{AtomicI64, Ordering};

/// What one request adds, in hundredths of a retry: at most 20 % extra calls, as in Finagle and linkerd.
const PER_REQUEST: i64 = 20;

/// What one retry costs.
const PER_RETRY: i64 = 100;

/// How many retries are saved up at least: a few requests must not fail for want of a fifth of a retry each.
const MIN_SAVED: usize = 10;

/// Allows retries in proportion to requests, so that an outage does not multiply its load.
#[derive(Debug)]
pub(super) struct RetryBudget {
    saved: AtomicI64,
    max_saved: i64,
}

impl RetryBudget {
    /// Makes a full budget. At most one retry is saved up for each request that may be under way at once: enough for
    /// all that a worker holds when it dies, and no more, so that a calm hour does not pay for a storm.
    pub(super) fn new(max_in_flight: usize) -> Self {
        let max_saved =
            i64::try_from(max_in_flight.max(MIN_SAVED)).unwrap_or(i64::MAX).saturating_mul(PER_RETRY);
        Self { saved: AtomicI64::new(max_saved), max_saved }
    }

    /// Takes in one request.
    pub(super) fn deposit(&self) {
        let add = |saved: i64| (saved < self.max_saved).then(|| (saved + PER_REQUEST).min(self.max_saved));
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes one retry out of the budget, or says that it is used up.
    pub(super) fn withdraw(&self) -> bool {
        let take = |saved: i64| (saved >= PER_RETRY).then_some(saved - PER_RETRY);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_the_requests_in_the_long_run() {
        let budget = RetryBudget::new(100);
        let at_once = (0..1_000).filter(|_| budget.withdraw()).count();
        assert_eq!(at_once, 100, "what was saved up");
        let mut retries = 0;
        for _ in 0..10_000 {
            budget.deposit();
            retries += usize::from(budget.withdraw());
        }
        assert_eq!(retries, 2_000);
    }
}
