//! Notices when an exchange stands still.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::ClientError;

/// How long neither side may move a byte before an exchange counts as stalled.
///
/// Far above any deadline of the platform, which parks or refuses what it cannot finish.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Counts the steps of one exchange, in both directions.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<AtomicU64>);

impl Activity {
    /// Notes that something moved.
    pub(super) fn mark(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for `work`, as long as something moves.
    ///
    /// # Errors
    /// Nothing moved for [`STALLED_AFTER`].
    pub(super) async fn watch<F: Future>(&self, work: F) -> Result<F::Output, ClientError> {
        let mut work = pin!(work);
        loop {
            let before = self.0.load(Ordering::Relaxed);
            if let Ok(output) = timeout(STALLED_AFTER, &mut work).await {
                self.mark();
                return Ok(output);
            }
            if self.0.load(Ordering::Relaxed) == before {
                return Err(ClientError::Stalled { after: STALLED_AFTER });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_exchange_in_which_nothing_moves_is_given_up() {
        let started = Instant::now();
        let outcome = Activity::default().watch(pending::<()>()).await;
        assert!(matches!(outcome, Err(ClientError::Stalled { .. })));
        assert_eq!(started.elapsed().as_secs(), STALLED_AFTER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_long_while_the_request_is_being_read() {
        let activity = Activity::default();
        let sending = activity.clone();
        let send = async move {
            for _ in 0..10 {
                sleep(STALLED_AFTER / 2).await;
                sending.mark();
            }
        };
        let (answer, ()) = tokio::join!(activity.watch(sleep(STALLED_AFTER * 5)), send);
        assert!(answer.is_ok());
    }
}
