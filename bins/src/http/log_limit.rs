//! Log lines that must not flood the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// Lets one line through now and then, and counts the others.
#[derive(Debug)]
pub(super) struct LogLimit {
    start: Instant,
    /// When the next line may pass, in milliseconds since the start.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl LogLimit {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), next: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Returns how many lines were held back since the last one that passed, or `None` to hold back this one too.
    pub(super) fn pass(&self) -> Option<u64> {
        let now = millis(self.start.elapsed());
        let next = self.next.load(Ordering::Relaxed);
        let after = now.saturating_add(millis(PAUSE));
        let passes = now >= next
            && self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if passes {
            Some(self.held_back.swap(0, Ordering::Relaxed))
        } else {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_passes_a_second_and_says_how_many_did_not() {
        let limit = LogLimit::new();
        assert_eq!([limit.pass(), limit.pass(), limit.pass()], [Some(0), None, None]);
        tokio::time::advance(PAUSE).await;
        assert_eq!([limit.pass(), limit.pass()], [Some(2), None]);
    }
}
