//! What every handle shares: the way to the writer and to the data.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use mini_platform_core::error::Fault;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;

use crate::error::Failure;
use crate::lists::Lists;
use crate::store::Store;
use crate::writer::{Job, Reply};

/// The inside of an open `Embedded` and of its handles.
pub(crate) struct Shared {
    /// `None` once closed.
    pub(crate) store: ArcSwapOption<Store>,
    pub(crate) jobs: mpsc::Sender<Job>,
    /// Stored by the writer only, once it runs.
    pub(crate) lists: Arc<ArcSwap<Lists>>,
    /// Whether a commit failed. Its sender goes away with the writer.
    pub(crate) broken: watch::Receiver<bool>,
}

impl Shared {
    /// Hands a job to the writer and waits for its answer, which comes after the fsync.
    pub(crate) async fn write<T>(
        &self,
        operation: &'static str,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(job(reply)).await;
        sent.map_err(|_| Failure::Closed.during(operation))?;
        answered(operation, answer).await
    }

    /// Fails when a commit failed. It is known before anybody is answered.
    pub(crate) fn unbroken(&self) -> Result<(), Failure> {
        if *self.broken.borrow() { Err(Failure::Broken) } else { Ok(()) }
    }

    /// Waits for room in the writer's queue. What takes it then is sent at once, and stays in order with what else is
    /// decided under the caller's lock.
    pub(crate) async fn room(&self, operation: &'static str) -> Result<mpsc::Permit<'_, Job>, Fault> {
        self.jobs.reserve().await.map_err(|_| Failure::Closed.during(operation))
    }

    /// Reads on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Store) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = self.store.load_full().ok_or_else(|| Failure::Closed.during(operation))?;
        let answer = task::spawn_blocking(move || read(&store)).await;
        // A task that is gone was cancelled by a runtime that shuts down, or died.
        answer.unwrap_or(Err(Failure::Closed)).map_err(|failure| failure.during(operation))
    }
}

/// Waits for the writer's answer to a job.
pub(crate) async fn answered<T>(
    operation: &'static str,
    answer: oneshot::Receiver<Result<T, Failure>>,
) -> Result<T, Fault> {
    // A writer that is gone leaves the reply unsent.
    let answer = answer.await.unwrap_or(Err(Failure::Closed));
    answer.map_err(|failure| failure.during(operation))
}
