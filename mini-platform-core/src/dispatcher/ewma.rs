//! How slow a member was of late: an average that jumps up at once and comes down slowly.
//!
//! The algorithm is Finagle's Peak EWMA: a latency above the average replaces it, one below moves it by how much
//! time has passed. Differs in that it needs no lock: average and time share one 64-bit word.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a bad latency is remembered: after this time it counts for a third. As in Finagle and linkerd.
pub(super) const DECAY: Duration = Duration::from_secs(10);

/// Bits of a nanosecond count that are dropped for a tick: 65.5 µs, far below what a decay of seconds can tell.
const TICK_BITS: u32 = 16;

const TICKS_PER_SECOND: f32 = 1e9 / (1 << TICK_BITS) as f32;

/// A time since the member joined, in steps that fit half a word. Wraps after 78 hours: a member that was silent
/// for that long is taken for one that was silent for less, and forgets a little slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tick(u32);

impl Tick {
    pub(super) fn at(since_start: Duration) -> Self {
        let seconds = since_start.as_secs().wrapping_mul(1_000_000_000);
        let nanos = seconds.wrapping_add(u64::from(since_start.subsec_nanos()));
        Self((nanos >> TICK_BITS) as u32)
    }

    /// Seconds from an earlier tick to this one; 0 when the other is later.
    pub(super) fn seconds_since(self, earlier: Self) -> f32 {
        let ticks = self.0.wrapping_sub(earlier.0);
        if ticks > u32::MAX / 2 { 0.0 } else { ticks as f32 / TICKS_PER_SECOND }
    }

    pub(super) fn as_bits(self) -> u32 {
        self.0
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// A latency average in seconds; 0 until the first observation.
#[derive(Debug, Default)]
pub(super) struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// Takes in how long a request took.
    pub(super) fn observe(&self, now: Tick, latency: Duration) {
        let latency = latency.as_secs_f32();
        let update = |word| {
            let (average, at) = unpack(word);
            let kept = decay(now.seconds_since(at));
            let next = if latency > average { latency } else { average * kept + latency * (1.0 - kept) };
            Some(pack(next, now))
        };
        // The update never declines, so neither does this.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// Takes in that a request took so long without an answer. Counts if it is above what is known; of nothing known
    /// it makes nothing.
    pub(super) fn observe_at_least(&self, now: Tick, latency: Duration) {
        let latency = latency.as_secs_f32();
        let update = |word| {
            let (average, at) = unpack(word);
            let known = average * decay(now.seconds_since(at));
            (known > 0.0 && latency > known).then(|| pack(latency, now))
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// Returns the average as it has faded by now, in seconds.
    pub(super) fn seconds(&self, now: Tick) -> f32 {
        let (average, at) = unpack(self.0.load(Ordering::Relaxed));
        average * decay(now.seconds_since(at))
    }
}

/// What is left of a latency after so many seconds, to a few parts in ten thousand.
fn decay(seconds: f32) -> f32 {
    let halvings = (seconds * HALVINGS_PER_SECOND).min(MAX_HALVINGS);
    let whole = halvings as u32;
    let part = halvings - whole as f32;
    f32::from_bits((127 - whole) << 23) * two_to_minus(part)
}

/// How often a latency is halved in a second.
const HALVINGS_PER_SECOND: f32 = std::f32::consts::LOG2_E / DECAY.as_secs() as f32;

/// After so many halvings next to nothing is left, and more would leave the range of a float.
const MAX_HALVINGS: f32 = 100.0;

/// Returns `2^-x` for 0 to 1, by the first terms of its series: a call of `exp` would be the dearest part of a pick.
fn two_to_minus(x: f32) -> f32 {
    let y = x * std::f32::consts::LN_2;
    1.0 - y * (1.0 - y / 2.0 * (1.0 - y / 3.0 * (1.0 - y / 4.0 * (1.0 - y / 5.0))))
}

fn pack(average: f32, at: Tick) -> u64 {
    u64::from(average.to_bits()) << 32 | u64::from(at.as_bits())
}

fn unpack(word: u64) -> (f32, Tick) {
    (f32::from_bits((word >> 32) as u32), Tick::from_bits((word & u64::from(u32::MAX)) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(millis: u64) -> Tick {
        Tick::at(Duration::from_millis(millis))
    }

    fn assert_near(actual: f32, expected: f32) {
        assert!((actual - expected).abs() < expected * 0.01 + 1e-6, "{actual} is not near {expected}");
    }

    #[test]
    fn a_peak_counts_at_once() {
        let ewma = PeakEwma::default();
        ewma.observe(tick(0), Duration::from_millis(10));
        ewma.observe(tick(1), Duration::from_secs(2));
        assert_near(ewma.seconds(tick(1)), 2.0);
    }

    #[test]
    fn good_news_count_by_the_time_that_passed() {
        let ewma = PeakEwma::default();
        ewma.observe(tick(0), Duration::from_secs(1));
        ewma.observe(tick(1), Duration::ZERO);
        assert_near(ewma.seconds(tick(1)), 1.0);
        ewma.observe(tick(10_001), Duration::ZERO);
        assert_near(ewma.seconds(tick(10_001)), 1.0 / std::f32::consts::E);
    }

    #[test]
    fn silence_fades() {
        let ewma = PeakEwma::default();
        ewma.observe(tick(0), Duration::from_secs(1));
        assert_near(ewma.seconds(tick(20_000)), std::f32::consts::E.powi(-2));
    }

    #[test]
    fn the_quick_exponential_is_near_the_true_one() {
        for millis in (0..200_000).step_by(7) {
            let (seconds, true_one) = (millis as f32 / 1_000.0, (f64::from(millis) / -10_000.0).exp());
            let off = f64::from(decay(seconds)) / true_one - 1.0;
            assert!(off.abs() < 3e-4, "{off} at {seconds} s");
        }
        assert!(decay(f32::MAX) >= 0.0 && decay(f32::MAX) < 1e-29);
    }

    #[test]
    fn a_clock_that_wraps_or_steps_back_does_no_harm() {
        let (late, wrapped) = (Tick::from_bits(u32::MAX), Tick::from_bits(9));
        assert_near(wrapped.seconds_since(late), 10.0 / TICKS_PER_SECOND);
        assert!(late.seconds_since(wrapped) == 0.0, "an earlier time is no time ago");
    }

    #[test]
    fn racing_observations_keep_the_peak() {
        let ewma = PeakEwma::default();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let ewma = &ewma;
                scope.spawn(move || {
                    for n in 0..1_000 {
                        ewma.observe(tick(0), Duration::from_millis(thread * 1_000 + n));
                    }
                });
            }
        });
        assert_near(ewma.seconds(tick(0)), 3.999);
    }
}
