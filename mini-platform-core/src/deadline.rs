//! How much time a request has left, for whoever works on it.
//!
//! A task-local value, so that ports need no argument for it: the dispatcher sets it, the gRPC client sends what is
//! left of it along, and the server on the other side sets it again.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::error::Elapsed;

/// What stands for a limit that no clock can reach.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Works for at most `limit`, and for at most as long as the work around it may take.
///
/// When the time is up the work is dropped where it stands.
///
/// # Errors
/// The time is up.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let now = Instant::now();
    let own = now.checked_add(limit).unwrap_or_else(|| now + LONGEST);
    let deadline = DEADLINE.try_with(|outer| own.min(*outer)).unwrap_or(own);
    tokio::time::timeout_at(deadline, DEADLINE.scope(deadline, work)).await
}

/// Takes the limit of the work around it along to another task, where it is told but not enforced.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let deadline = DEADLINE.try_with(|deadline| *deadline).ok();
    async move {
        match deadline {
            Some(deadline) => told(deadline, work).await,
            None => work.await,
        }
    }
}

/// Tells work when its time is up, without enforcing it.
pub(crate) async fn told<F: Future>(deadline: Instant, work: F) -> F::Output {
    DEADLINE.scope(deadline, work).await
}

/// Returns how much time is left for the work that asks; `None` without a limit.
#[must_use]
pub fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_within_work_has_no_more_time_than_the_outer_one() {
        let left = within(Duration::from_secs(1), async {
            tokio::time::advance(Duration::from_millis(400)).await;
            within(Duration::from_secs(5), async { remaining() }).await
        });
        assert_eq!(left.await.ok().and_then(Result::ok).flatten(), Some(Duration::from_millis(600)));
        assert_eq!(remaining(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_when_its_time_is_up() {
        let start = Instant::now();
        assert!(within(Duration::from_secs(1), std::future::pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
