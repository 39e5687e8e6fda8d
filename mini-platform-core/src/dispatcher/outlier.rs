//! Who is suspect: members that stand out by failing get no picks for a while.
//!
//! Two rules, as in Envoy: several failures in a row while others succeed, and a success rate far below that of the
//! others. When a backend that all share fails, all fail alike and nobody is ejected. The time grows with every
//! ejection and shrinks with good behaviour. At most half of the members are ejected; if that leaves nobody to pick,
//! ejection is ignored (see [`candidates`](super::balancer::candidates)).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::member::Member;
use crate::telemetry::DISPATCHER_EJECTIONS;

/// When a member is ejected, and for how long. Start from the default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutlierPolicy {
    /// How many failures in a row eject a member, at least 2. Default 5, as in Envoy.
    pub consecutive_failures: u32,
    /// A member is ejected when its success rate is below this share of the members' median. Default 0.8.
    pub success_rate: f32,
    /// Over which time success rates are counted. Default 10 s.
    pub interval: Duration,
    /// How many requests of an interval make a success rate. Default 50: with fewer, chance decides.
    pub min_requests: u32,
    /// How long the first ejection lasts; the n-th lasts n times as long. Default 5 s: about the time in which a
    /// worker restarts.
    pub base_ejection: Duration,
    /// The longest ejection. Default 5 minutes.
    pub max_ejection: Duration,
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_rate: 0.8,
            interval: Duration::from_secs(10),
            min_requests: 50,
            base_ejection: Duration::from_secs(5),
            max_ejection: Duration::from_secs(300),
        }
    }
}

/// Success rates of fewer members say nothing about who stands out.
const MIN_MEMBERS: usize = 3;

/// How a member did of late.
#[derive(Debug, Default)]
pub(super) struct FailureRecord {
    in_a_row: AtomicU32,
    /// How many requests all members had answered when its failures in a row began.
    others_at_first: AtomicU64,
    succeeded: AtomicU32,
    failed: AtomicU32,
    times_ejected: AtomicU32,
}

/// The age of a member, in nanoseconds, until which it gets no picks; 0 when it was never ejected.
#[derive(Debug, Default)]
pub(super) struct Ejection(AtomicU64);

impl Ejection {
    /// Says whether it lasts still, at an age that is not asked for in vain.
    pub(super) fn lasts(&self, age: impl Fn() -> Duration) -> bool {
        let until = self.0.load(Ordering::Relaxed);
        until != 0 && nanos(age()) < until
    }

    pub(super) fn start(&self, until: Duration) {
        self.0.store(nanos(until), Ordering::Relaxed);
    }
}

impl FailureRecord {
    fn note_success(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Takes in a failure. Says whether it ends a run of so many while the others answered, if they had answered so
    /// many requests by now.
    fn note_failure(&self, limit: u32, others: u64) -> bool {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let run = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1) % limit;
        if run == 1 {
            self.others_at_first.store(others, Ordering::Relaxed);
        }
        run == 0 && others > self.others_at_first.load(Ordering::Relaxed)
    }

    /// Ends an interval, and returns its success rate if there were enough requests.
    fn take_rate(&self, min_requests: u32) -> Option<f32> {
        let succeeded = self.succeeded.swap(0, Ordering::Relaxed);
        let failed = self.failed.swap(0, Ordering::Relaxed);
        let total = succeeded.saturating_add(failed);
        (total >= min_requests.max(1)).then(|| succeeded as f32 / total as f32)
    }

    /// Counts an ejection and returns how long it lasts.
    fn count_ejection(&self, policy: &OutlierPolicy) -> Duration {
        let times = self.times_ejected.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // What it was ejected for is not held against it once more at the end of the interval.
        for count in [&self.in_a_row, &self.succeeded, &self.failed] {
            count.store(0, Ordering::Relaxed);
        }
        policy.base_ejection.saturating_mul(times).min(policy.max_ejection)
    }

    fn forgive(&self) {
        let less = |times: u32| times.checked_sub(1);
        // None at zero, which stays.
        let _ = self.times_ejected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

fn nanos(age: Duration) -> u64 {
    u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
}

/// Watches the outcomes of all members.
#[derive(Debug)]
pub(super) struct Outliers {
    policy: OutlierPolicy,
    started_at: Instant,
    /// When the interval ends, in nanoseconds since the start.
    next_sweep: AtomicU64,
    /// How many requests all members answered.
    answered: AtomicU64,
    ejecting: Mutex<()>,
}

impl Outliers {
    pub(super) fn new(policy: OutlierPolicy, now: Instant) -> Self {
        let next_sweep = AtomicU64::new(nanos(policy.interval));
        Self { policy, started_at: now, next_sweep, answered: AtomicU64::new(0), ejecting: Mutex::default() }
    }

    /// Takes in the outcome of one request of one of the members.
    pub(super) fn note(&self, member: &Member, succeeded: bool, members: &[Arc<Member>], now: Instant) {
        if succeeded {
            self.answered.fetch_add(1, Ordering::Relaxed);
            member.failures().note_success();
        } else {
            let answered = self.answered.load(Ordering::Relaxed);
            if member.failures().note_failure(self.policy.consecutive_failures.max(2), answered) {
                self.eject(member, members, now);
            }
        }
        if self.interval_is_over(now) {
            self.sweep(members, now);
        }
    }

    fn interval_is_over(&self, now: Instant) -> bool {
        let now = nanos(now.saturating_duration_since(self.started_at));
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = now.saturating_add(nanos(self.policy.interval));
        now >= due
            && self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Compares success rates, and ejects who is far below the others.
    fn sweep(&self, members: &[Arc<Member>], now: Instant) {
        let mut rates = Vec::with_capacity(members.len());
        for member in members {
            match member.failures().take_rate(self.policy.min_requests) {
                Some(rate) => rates.push((rate, member)),
                None => self.forgive(member, now),
            }
        }
        rates.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        let Some((median, _)) = rates.get(rates.len() / 2) else { return };
        let least = median * self.policy.success_rate;
        let judged = rates.len() >= MIN_MEMBERS;
        for (rate, member) in &rates {
            if judged && *rate < least {
                self.eject(member, members, now);
            } else {
                self.forgive(member, now);
            }
        }
    }

    /// Takes in that a member did well for an interval.
    fn forgive(&self, member: &Member, now: Instant) {
        if !member.stood_out(now) {
            member.failures().forgive();
        }
    }

    fn eject(&self, member: &Member, members: &[Arc<Member>], now: Instant) {
        let _one_at_a_time = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        // Who is only out of contact did not stand out, and may do so when it is back.
        let ejected = members.iter().filter(|member| member.stood_out(now)).count();
        if !member.stood_out(now) && (ejected + 1) * 2 <= members.len() {
            member.eject(now, member.failures().count_ejection(&self.policy));
            metrics::counter!(DISPATCHER_EJECTIONS).increment(1);
            tracing::warn!(worker.id = member.id().as_str(), "a worker stands out by failing and is ejected");
        }
    }
}
