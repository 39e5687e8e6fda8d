//! Chance that a seed decides.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;

/// A source of chance. Whoever draws at another time than before changes what later draws are, so what should not
/// depend on one another has its own.
pub(crate) struct Chance(Mutex<Rng>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::with_seed(seed)))
    }

    /// Makes another source, which goes on by itself.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.seed())
    }

    pub(crate) fn seed(&self) -> u64 {
        self.0.lock().unwrap().u64(..)
    }

    /// Whether something happens that does so in this share of cases.
    pub(crate) fn hits(&self, share: f64) -> bool {
        self.share() < share
    }

    pub(crate) fn share(&self) -> f64 {
        self.0.lock().unwrap().f64()
    }

    pub(crate) fn between(&self, range: RangeInclusive<u64>) -> u64 {
        self.0.lock().unwrap().u64(range)
    }

    pub(crate) fn below(&self, count: usize) -> usize {
        self.0.lock().unwrap().usize(..count)
    }

    pub(crate) fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    pub(crate) fn pick<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}
