//! Clocks that a test moves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Timestamp;
use crate::port::Clock;

/// A [`Clock`] that stands still until it is moved; as fine as the real one.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// Makes a clock that shows a time.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Sets the clock, also back.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = now;
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.saturating_add(duration);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A clock that goes with tokio's time, also while that is paused, and can be set wrong.
#[derive(Debug)]
pub struct VirtualClock {
    started: Instant,
    start: Timestamp,
    jump_micros: AtomicI64,
}

impl VirtualClock {
    /// Makes a clock that shows a time now.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { started: Instant::now(), start, jump_micros: AtomicI64::new(0) }
    }

    /// Makes the clock show so much more, or less, than it should.
    pub fn jump(&self, micros: i64) {
        self.jump_micros.store(micros, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let now = self.start.saturating_add(self.started.elapsed());
        let jumped = now.as_micros().saturating_add(self.jump_micros.load(Ordering::SeqCst));
        Timestamp::from_micros(jumped).unwrap_or(now)
    }
}
