//! The worker: the pipeline `screen → append → link → acknowledge` over whole batches.
//!
//! One file a stage. A stage takes the whole batch, calls its port once, and hands on what the next one needs.

mod attendance;
mod fetch;
mod link;
mod persist;
mod screen;

use std::sync::Arc;

use async_trait::async_trait;

pub use attendance::Attendance;

use crate::domain::{AppendOutcome, EventBatch, EventScreening, IngestOutcome, Recording, Timestamp};
use crate::error::{FetchError, IngestError};
use crate::port::{
    AdjacencyStore, Clock, EventStore, FetchAnswer, FetchQuery, FraudRegistry, SystemClock, WorkerNode,
};

/// Which parties of an event are screened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScreenedParties {
    /// The receiver of a transaction and the client of a withdrawal.
    #[default]
    Brief,
    /// Every party: also the sender of a transaction and the client of a deposit.
    Both,
}

/// Takes batches through the pipeline and answers fetches; implements [`WorkerNode`].
///
/// Safe to share: all state is behind its ports.
///
/// ```
/// use std::sync::Arc;
/// use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
/// use mini_platform_core::{ScreenedParties, Worker};
///
/// let worker = Worker::new(
///     Arc::new(MemoryEventStore::default()),
///     Arc::new(MemoryAdjacencyStore::default()),
///     Arc::new(MemoryFraudRegistry::default()),
/// )
/// .with_parties(ScreenedParties::Both);
/// # let _ = worker;
/// ```
pub struct Worker {
    events: Arc<dyn EventStore>,
    adjacency: Arc<dyn AdjacencyStore>,
    registry: Arc<dyn FraudRegistry>,
    clock: Arc<dyn Clock>,
    parties: ScreenedParties,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("parties", &self.parties).finish_non_exhaustive()
    }
}

impl Worker {
    /// Makes a worker on its three ports, with the operating system's clock.
    #[must_use]
    pub fn new(
        events: Arc<dyn EventStore>,
        adjacency: Arc<dyn AdjacencyStore>,
        registry: Arc<dyn FraudRegistry>,
    ) -> Self {
        Self {
            events,
            adjacency,
            registry,
            clock: Arc::new(SystemClock),
            parties: ScreenedParties::default(),
        }
    }

    /// Takes the time of recording from another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Chooses which parties are screened.
    #[must_use]
    pub fn with_parties(mut self, parties: ScreenedParties) -> Self {
        self.parties = parties;
        self
    }
}

#[async_trait]
impl WorkerNode for Worker {
    #[tracing::instrument(name = "worker.ingest", level = "debug", skip_all, fields(batch.size = batch.len()))]
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        let screenings = screen::screen(&*self.registry, self.parties, batch).await?;
        let Some(clear) = persist::clear_events(batch, &screenings) else {
            return Ok(screenings.into_iter().map(IngestOutcome::fraudulent).collect());
        };
        let recorded_at = self.clock.now();
        let appended = persist::append(&*self.events, &clear, recorded_at).await?;
        link::link(&*self.adjacency, &clear, &appended).await?;
        Ok(outcomes(screenings, &clear, &appended, recorded_at))
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        fetch::fetch(self, query).await
    }
}

/// Puts the outcomes of the clear events, of which the new ones are recorded at the time given, back between those of
/// the fraudulent ones.
fn outcomes(
    screenings: Vec<EventScreening>,
    clear: &EventBatch,
    appended: &[AppendOutcome],
    recorded_at: Timestamp,
) -> Vec<IngestOutcome> {
    let mut appended = clear.events().iter().zip(appended);
    let outcome = |screening: EventScreening| {
        if screening.is_hit() {
            return IngestOutcome::fraudulent(screening);
        }
        match appended.next() {
            Some((event, AppendOutcome::Stored)) => {
                let occurred_at = event.occurred_at().timestamp();
                IngestOutcome::stored(screening, Recording { occurred_at, recorded_at })
            }
            Some((_, AppendOutcome::Duplicate(recording))) => IngestOutcome::duplicate(screening, *recording),
            // The stage before has checked that there is one outcome an event.
            Some((_, AppendOutcome::Conflict)) | None => IngestOutcome::conflict(screening),
        }
    };
    screenings.into_iter().map(outcome).collect()
}
