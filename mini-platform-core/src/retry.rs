//! How often and after which pauses a call is made again.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::error::Retry;

/// How often a call is made at most, the first time included.
///
/// Five cover a connection that broke, a server that restarts behind it and a primary that is elected.
const DEFAULT_MAX_ATTEMPTS: u32 = 5;

/// The longest first pause: about a round trip within a data centre and a slow reply.
const DEFAULT_BASE: Duration = Duration::from_millis(20);

/// The longest pause that we choose: what an election or a restart takes, so that its end is not overslept.
const DEFAULT_CAP: Duration = Duration::from_secs(1);

/// The time after which no call is made again: callers wait for about a second, and a batch that takes longer is
/// better given to somebody else.
const DEFAULT_BUDGET: Duration = Duration::from_secs(2);

/// Bounds the retries of one call: how often, after which pauses, and for how long altogether.
///
/// A pause is chosen at random between nothing and a limit that doubles from `base` to `cap` (full jitter), so that
/// callers that failed together do not come back together. A pause that the backend asks for is kept to, if it fits
/// into the budget, with up to `base` on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    max_attempts: u32,
    base: Duration,
    cap: Duration,
    budget: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            base: DEFAULT_BASE,
            cap: DEFAULT_CAP,
            budget: DEFAULT_BUDGET,
        }
    }
}

impl RetryPolicy {
    /// Sets how often a call is made at most, the first time included; 5 by default.
    #[must_use]
    pub fn with_max_attempts(mut self, max: u32) -> Self {
        self.max_attempts = max;
        self
    }

    /// Sets the longest first pause; 20 ms by default.
    #[must_use]
    pub fn with_base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the longest pause; 1 s by default.
    #[must_use]
    pub fn with_cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets the time, counted from the first call on, after which no call is made again; 2 s by default.
    ///
    /// A call that is under way is not cut short.
    #[must_use]
    pub fn with_budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }
}

/// The retries of one call.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: RetryPolicy,
    started: Instant,
    attempts: u32,
}

impl Backoff {
    /// Starts with the first call.
    pub(crate) fn start(policy: RetryPolicy) -> Self {
        Self { policy, started: Instant::now(), attempts: 1 }
    }

    /// Returns the pause before the next call, or `None` when there is none.
    pub(crate) fn pause(&mut self, retry: Retry, jitter: &mut Rng) -> Option<Duration> {
        let pause = match retry {
            Retry::Never => return None,
            Retry::Backoff => self.limit().mul_f64(jitter.f64()),
            Retry::After(pause) => pause.saturating_add(self.policy.base.mul_f64(jitter.f64())),
        };
        let is_within_budget = self.started.elapsed().saturating_add(pause) < self.policy.budget;
        if self.attempts >= self.policy.max_attempts || !is_within_budget {
            return None;
        }
        self.attempts += 1;
        Some(pause)
    }

    fn limit(&self) -> Duration {
        let doublings = 2_u32.saturating_pow(self.attempts - 1);
        self.policy.base.saturating_mul(doublings).min(self.policy.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(policy: RetryPolicy, retry: Retry, seed: u64) -> Vec<Duration> {
        let (mut backoff, mut jitter) = (Backoff::start(policy), Rng::with_seed(seed));
        std::iter::from_fn(|| backoff.pause(retry, &mut jitter)).collect()
    }

    fn patient() -> RetryPolicy {
        RetryPolicy::default().with_budget(Duration::MAX)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_lies_anywhere_below_a_limit_that_doubles_up_to_the_cap() {
        let policy = patient().with_max_attempts(9);
        let limits = [20, 40, 80, 160, 320, 640, 1000, 1000].map(Duration::from_millis);
        let runs: Vec<_> = (0..200).map(|seed| pauses(policy, Retry::Backoff, seed)).collect();
        for (place, limit) in limits.into_iter().enumerate() {
            let (low, high) = (limit / 10, limit * 9 / 10);
            assert!(runs.iter().all(|run| run[place] <= limit), "pause {place} is at most {limit:?}");
            assert!(runs.iter().any(|run| run[place] < low), "pause {place} may be short");
            assert!(runs.iter().any(|run| run[place] > high), "pause {place} may be long");
        }
        assert!(runs.iter().all(|run| run.len() == limits.len()), "the first call is no retry");
    }

    #[tokio::test(start_paused = true)]
    async fn one_seed_makes_the_same_pauses_every_time() {
        assert_eq!(pauses(patient(), Retry::Backoff, 7), pauses(patient(), Retry::Backoff, 7));
        assert_ne!(pauses(patient(), Retry::Backoff, 7), pauses(patient(), Retry::Backoff, 8));
    }

    #[tokio::test(start_paused = true)]
    async fn no_number_overflows() {
        let policy = patient().with_max_attempts(100).with_base(Duration::MAX).with_cap(Duration::MAX / 2);
        assert_eq!(pauses(policy.with_base(Duration::from_secs(1)), Retry::Backoff, 1).len(), 99);
        let hint = Retry::After(Duration::MAX);
        assert!(
            pauses(policy.with_base(Duration::from_secs(1)), hint, 1).is_empty(),
            "no budget is that long"
        );
        assert!(pauses(policy.with_max_attempts(0), Retry::Backoff, 1).is_empty());
    }
}
