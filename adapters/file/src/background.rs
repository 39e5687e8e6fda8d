//! Waiting for the disk without making others wait.

use crate::error::Failure;

/// Runs what waits for the disk on a thread that may.
pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    // Fails only when the runtime shuts down.
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::Closed)
}
