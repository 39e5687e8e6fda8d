//! How many calls more than requests there may be.

use std::sync::atomic::{AtomicI64, Ordering};

/// What one request adds, in hundredths of a retry: at most 20 % extra calls, as in Finagle and linkerd.
const PER_REQUEST: i64 = 20;

/// What one retry costs.
const PER_RETRY: i64 = 100;

/// The most that is saved up: enough for the requests that a worker holds when it dies, and no more, so that a
/// calm hour does not pay for a storm.
const MAX_SAVED: i64 = 100 * PER_RETRY;

/// Allows retries in proportion to requests, so that an outage does not multiply its load.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicI64);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicI64::new(MAX_SAVED))
    }
}

impl RetryBudget {
    /// Takes in one request.
    pub(super) fn deposit(&self) {
        let add = |saved: i64| (saved < MAX_SAVED).then(|| (saved + PER_REQUEST).min(MAX_SAVED));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes one retry out of the budget, or says that it is used up.
    pub(super) fn withdraw(&self) -> bool {
        let take = |saved: i64| (saved >= PER_RETRY).then_some(saved - PER_RETRY);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_the_requests_in_the_long_run() {
        let budget = RetryBudget::default();
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
