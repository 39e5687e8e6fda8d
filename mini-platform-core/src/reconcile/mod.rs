//! Comparing the links of clients with their stored events, and repairing them while the platform runs.
//!
//! Links are a projection of the events. They can lag behind them (a crash between append and link), be lost with
//! their backend, or be damaged. [`Reconciler`] names every difference, and in [`Mode::Repair`] makes the links what
//! the events imply; with no links at all to begin with, that is a rebuild.
//!
//! One file a concern: what is read of a client (`read.rs`), what differs (`difference.rs`), what is done about it
//! (`client.rs`), all clients (here), what came of it (`report.rs`).

mod client;
mod difference;
mod read;
mod report;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_core::Stream;
use futures_util::StreamExt;
use hashbrown::HashSet;
use tokio_util::sync::CancellationToken;

pub use difference::{Difference, DifferenceKind, Neighbour};
pub use report::{DifferenceCounts, ReconcileReport};

use crate::domain::{ClientId, ClientQuery, MAX_PAGE_SIZE, PageSize};
use crate::error::StoreError;
use crate::port::{AdjacencyStore, Clock, EventStore, SystemClock};
use crate::telemetry::{RECONCILE_CLIENTS, RECONCILE_DIFFERENCES, RECONCILE_REPAIRS};
use client::Reconciled;

/// How many clients are compared at once: reads wait for the network most of the time, and each client takes the
/// memory of its own neighbours only.
pub const DEFAULT_CONCURRENCY: usize = 32;

/// How long an event may be stored without its links before a report calls that a difference, unless another time
/// is set: a worker links what it has stored at once, so this is several of its longest calls.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(5);

/// How many clients without events are remembered, so that a store that answers one twice does not make it count
/// twice. Eight megabytes; beyond it, repetitions count.
const REMEMBERED: usize = 1 << 20;

/// Whether differences are only named, or repaired as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Changes nothing.
    Report,
    /// Makes the links what the stored events imply.
    Repair,
}

/// Compares all links with all stored events.
///
/// Workers may go on meanwhile. A link that no event implies is removed only if it still holds what was seen; should
/// a worker have renewed it to the very same time at that moment, it is put back. An event that is just on its way to
/// its links is no difference to [`Mode::Report`]; [`Mode::Repair`] links it, which changes nothing, and counts it.
///
/// ```
/// # use std::sync::Arc;
/// use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore};
/// use mini_platform_core::reconcile::{Mode, Reconciler};
/// # use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mini_platform_core::error::StoreError> {
/// let reconciler = Reconciler::new(
///     Arc::new(MemoryEventStore::default()),
///     Arc::new(MemoryAdjacencyStore::default()),
/// );
/// let stop = CancellationToken::new();
/// let report = reconciler.run(Mode::Report, &stop, |difference| println!("{}", difference.kind.as_str())).await?;
/// assert!(report.is_complete && report.differences.total() == 0);
/// # Ok(())
/// # }
/// ```
pub struct Reconciler {
    events: Arc<dyn EventStore>,
    adjacency: Arc<dyn AdjacencyStore>,
    clock: Arc<dyn Clock>,
    concurrency: usize,
    settle: Duration,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler")
            .field("concurrency", &self.concurrency)
            .field("settle", &self.settle)
            .finish_non_exhaustive()
    }
}

impl Reconciler {
    /// Makes a reconciler of the two stores, with the operating system's clock.
    ///
    /// It does not retry: wrap the stores in [`Retrying`](crate::decorate::Retrying).
    #[must_use]
    pub fn new(events: Arc<dyn EventStore>, adjacency: Arc<dyn AdjacencyStore>) -> Self {
        Self {
            events,
            adjacency,
            clock: Arc::new(SystemClock),
            concurrency: DEFAULT_CONCURRENCY,
            settle: DEFAULT_SETTLE,
        }
    }

    /// Takes the time that tells which events are recent from another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how many clients are compared at once, at least one.
    #[must_use]
    pub fn with_concurrency(mut self, clients: usize) -> Self {
        self.concurrency = clients.max(1);
        self
    }

    /// Sets how long an event may be stored without its links before [`Mode::Report`] calls that a difference.
    #[must_use]
    pub fn with_settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// Compares every client and hands each difference to `on_difference`, after its repair in [`Mode::Repair`].
    ///
    /// Told to stop, it finishes the clients that it has begun and answers a report that is not complete. Dropping
    /// the future instead can leave a client half repaired, which the next run mends.
    ///
    /// # Errors
    /// A store failed. The clients that were begun are finished first, as far as they do not fail, too.
    pub async fn run(
        &self,
        mode: Mode,
        stop: &CancellationToken,
        mut on_difference: impl FnMut(&Difference),
    ) -> Result<ReconcileReport, StoreError> {
        let mut report = ReconcileReport::default();
        self.compare(self.clients_with_events(), mode, stop, &mut report, &mut on_difference).await?;
        let mut seen = Seen::default();
        let linked = self.clients_with_links_only().filter(move |client| {
            let is_new = client.as_ref().map_or(true, |client| seen.is_new(client));
            std::future::ready(is_new)
        });
        self.compare(linked, mode, stop, &mut report, &mut on_difference).await?;
        report.is_complete = !stop.is_cancelled();
        Ok(report)
    }

    async fn compare(
        &self,
        clients: impl Stream<Item = Result<ClientId, StoreError>> + Send,
        mode: Mode,
        stop: &CancellationToken,
        report: &mut ReconcileReport,
        on_difference: &mut impl FnMut(&Difference),
    ) -> Result<(), StoreError> {
        // Of its own, so that a failure stops what follows without stopping the caller.
        let stop = stop.child_token();
        let compared = clients
            .take_until(stop.cancelled())
            .map(|client| async move { self.reconcile(client?, mode).await })
            .buffer_unordered(self.concurrency);
        let mut compared = std::pin::pin!(compared);
        let mut failed = None;
        while let Some(result) = compared.next().await {
            match result {
                Ok(client) => note(&client, report, on_difference),
                Err(error) => {
                    stop.cancel();
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn clients_with_events(&self) -> impl Stream<Item = Result<ClientId, StoreError>> + Send + '_ {
        read::pages(move |token| async move {
            let query = read::continued(clients(), ClientQuery::with_token, token.as_ref())?;
            self.events.clients(&query).await
        })
    }

    fn clients_with_links_only(&self) -> impl Stream<Item = Result<ClientId, StoreError>> + Send + '_ {
        let linked = read::pages(move |token| async move {
            let query = read::continued(clients(), ClientQuery::with_token, token.as_ref())?;
            self.adjacency.clients(&query).await
        });
        let without_events = linked.map(move |client| async move {
            let client = client?;
            Ok(if read::has_events(&*self.events, &client).await? { None } else { Some(client) })
        });
        without_events
            .buffer_unordered(self.concurrency)
            .filter_map(|client| std::future::ready(client.transpose()))
    }
}

fn clients() -> ClientQuery {
    ClientQuery::default().with_size(largest_page())
}

fn largest_page() -> PageSize {
    PageSize::new(MAX_PAGE_SIZE).unwrap_or_default()
}

fn note(client: &Reconciled, report: &mut ReconcileReport, on_difference: &mut impl FnMut(&Difference)) {
    report.add(client);
    metrics::counter!(RECONCILE_CLIENTS).increment(1);
    for difference in &client.differences {
        metrics::counter!(RECONCILE_DIFFERENCES, "kind" => difference.kind.as_str()).increment(1);
        if client.is_repaired {
            metrics::counter!(RECONCILE_REPAIRS).increment(1);
        }
        on_difference(difference);
    }
}

/// Remembers clients, by their hash.
#[derive(Debug, Default)]
struct Seen {
    hashes: HashSet<u64, RandomState>,
    hasher: RandomState,
}

impl Seen {
    fn is_new(&mut self, client: &ClientId) -> bool {
        let hash = self.hasher.hash_one(client);
        if self.hashes.len() < REMEMBERED { self.hashes.insert(hash) } else { !self.hashes.contains(&hash) }
    }
}
