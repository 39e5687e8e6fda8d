//! Making stores anew from the long-term log.
//!
//! [`Replayer`] appends every event that a record says is stored, under the times of the record, and links it as a
//! worker does. So empty stores come to answer what those answered that the records tell of; stores that hold the
//! events already stay as they are.

mod window;

use std::fmt;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::domain::{AppendOutcome, Edge, EventBatch, EventId, LogRecord, Outcome, Timestamp};
use crate::error::{Fault, FaultKind, LogError, StoreError};
use crate::port::{AdjacencyStore, EventStore, LogReader};
use window::Window;

/// How many batches are appended at once: a batch holds what was recorded at the same time, so some hold one event,
/// and stores share the cost of a sync or of a round trip between those that come together.
pub const DEFAULT_CONCURRENCY: usize = 64;

/// Why a replay ended before the end of the log. What was replayed stays, and another one does the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log could not be read on.
    #[error("the long-term log cannot be read")]
    Log(#[source] LogError),
    /// Events could not be stored.
    #[error("an event of the log could not be stored")]
    Append(#[source] StoreError),
    /// Events were stored, but not linked.
    #[error("an event of the log could not be linked")]
    Link(#[source] StoreError),
}

/// What a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Records that were read.
    pub records: u64,
    /// Events that the store did not hold.
    pub stored: u64,
    /// Events that the store held already, from before or from an earlier record.
    pub duplicate: u64,
    /// Events in whose place the store holds another one of the same id. They are left out.
    pub conflict: u64,
    /// Records of events that were not stored: fraudulent ones and conflicts.
    pub skipped: u64,
    /// Whether all of the log was replayed: it was not told to stop before the end.
    pub is_complete: bool,
}

/// How far a replay is.
#[derive(Debug)]
pub struct ReplayStep<'a> {
    /// What came of it so far.
    pub report: &'a ReplayReport,
    /// The events since the last step in whose place the store holds another one.
    pub conflicts: &'a [EventId],
}

/// Replays a long-term log into an event store and an adjacency store.
///
/// Workers may go on meanwhile: an event that both bring is stored once.
///
/// ```
/// # use std::sync::Arc;
/// use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryLog};
/// use mini_platform_core::replay::Replayer;
/// # use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mini_platform_core::replay::ReplayError> {
/// let replayer =
///     Replayer::new(Arc::new(MemoryEventStore::default()), Arc::new(MemoryAdjacencyStore::default()));
/// let stop = CancellationToken::new();
/// let report = replayer.run(&MemoryLog::default(), &stop, |_| {}).await?;
/// assert!(report.is_complete && report.records == 0);
/// # Ok(())
/// # }
/// ```
pub struct Replayer {
    events: Arc<dyn EventStore>,
    adjacency: Arc<dyn AdjacencyStore>,
    concurrency: usize,
}

impl fmt::Debug for Replayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayer").field("concurrency", &self.concurrency).finish_non_exhaustive()
    }
}

impl Replayer {
    /// Makes a replayer of the two stores.
    ///
    /// It does not retry: wrap the stores in [`Retrying`](crate::decorate::Retrying).
    #[must_use]
    pub fn new(events: Arc<dyn EventStore>, adjacency: Arc<dyn AdjacencyStore>) -> Self {
        Self { events, adjacency, concurrency: DEFAULT_CONCURRENCY }
    }

    /// Sets how many batches are appended at once, at least one.
    #[must_use]
    pub fn with_concurrency(mut self, batches: usize) -> Self {
        self.concurrency = batches.max(1);
        self
    }

    /// Replays a log from its beginning, and tells how far it is now and then.
    ///
    /// Told to stop, it finishes what it has begun and answers a report that is not complete. Dropping the future
    /// instead can leave events without their links, which the next run mends.
    ///
    /// # Errors
    /// The log or a store failed. Everything before is replayed.
    pub async fn run(
        &self,
        log: &dyn LogReader,
        stop: &CancellationToken,
        mut on_step: impl FnMut(ReplayStep<'_>),
    ) -> Result<ReplayReport, ReplayError> {
        let mut report = ReplayReport::default();
        let records = log.records().await.map_err(ReplayError::Log)?.take_until(stop.cancelled());
        let mut records = std::pin::pin!(records);
        let mut window = Window::default();
        loop {
            let next = records.try_next().await;
            let Ok(Some(record)) = next else {
                self.replay(window, &mut report, &mut on_step).await?;
                report.is_complete = !stop.is_cancelled();
                return next.map(|_| report).map_err(ReplayError::Log);
            };
            report.records += 1;
            let Some(event) = stored(record) else {
                report.skipped += 1;
                continue;
            };
            if let Err((event, recorded_at)) = window.push(event) {
                self.replay(std::mem::take(&mut window), &mut report, &mut on_step).await?;
                // It fits into an empty one.
                drop(window.push((event, recorded_at)));
            }
        }
    }

    /// Appends and links what a window holds.
    async fn replay(
        &self,
        window: Window,
        report: &mut ReplayReport,
        on_step: &mut impl FnMut(ReplayStep<'_>),
    ) -> Result<(), ReplayError> {
        let appends = window.into_batches().map(|(recorded_at, batch)| self.append(batch, recorded_at));
        let appended: Vec<_> = stream::iter(appends).buffer_unordered(self.concurrency).try_collect().await?;
        let (mut edges, mut conflicts) = (Vec::new(), Vec::new());
        for (batch, outcomes) in &appended {
            edges.extend(Edge::implied_by_appended(batch, outcomes));
            for (event, outcome) in batch.events().iter().zip(outcomes) {
                match outcome {
                    AppendOutcome::Stored => report.stored += 1,
                    AppendOutcome::Duplicate(_) => report.duplicate += 1,
                    AppendOutcome::Conflict => {
                        report.conflict += 1;
                        conflicts.push(event.id().clone());
                    }
                }
            }
        }
        if !edges.is_empty() {
            self.adjacency.link(&edges).await.map_err(ReplayError::Link)?;
        }
        on_step(ReplayStep { report, conflicts: &conflicts });
        Ok(())
    }

    async fn append(
        &self,
        batch: EventBatch,
        recorded_at: Timestamp,
    ) -> Result<(EventBatch, Vec<AppendOutcome>), ReplayError> {
        let outcomes = self.events.append(&batch, recorded_at).await.map_err(ReplayError::Append)?;
        if outcomes.len() != batch.len() {
            let fault = Fault::new("event store", "answer one outcome an event", FaultKind::Corrupt);
            return Err(ReplayError::Append(fault.into()));
        }
        Ok((batch, outcomes))
    }
}

/// Returns the event of a record that says that it is stored, and when it was.
fn stored(record: LogRecord) -> Option<window::Recorded> {
    match record.outcome {
        Outcome::Stored | Outcome::Duplicate => {
            Some((record.event, record.recorded_at.unwrap_or(record.finished_at)))
        }
        Outcome::Fraudulent | Outcome::Conflict => None,
    }
}
