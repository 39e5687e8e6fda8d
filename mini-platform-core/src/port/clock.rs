//! The wall clock.

use std::time::UNIX_EPOCH;

use crate::domain::Timestamp;

/// Tells the time of day.
///
/// Components hold an `Arc<dyn Clock>`, so that tests decide what time it is. Durations are measured with
/// `tokio::time`, not with this.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let now = std::time::SystemTime::now();
        now.duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|elapsed| i64::try_from(elapsed.as_micros()).ok())
            .and_then(|micros| Timestamp::from_micros(micros).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
