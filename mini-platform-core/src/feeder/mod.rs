//! The feeder: brings fraud lists from their sources into the registry.
//!
//! [`Feeder`] looks at its sources again and again. When one has changed, it decodes them ([`format`](mod@format)),
//! checks that the result may come into force (`guard.rs`), and hands it to the registry, which puts it in force
//! as a whole or not at all. Where the bytes come from is up to a [`FraudSource`](crate::port::FraudSource).
//!
//! A list is refused, and the list in force stays, when it is empty, no list (see [`ListError`] for every reason),
//! or too much smaller than the list in force ([`ListShrunk`]).

mod decoding;
mod error;
pub mod format;
mod guard;
mod journal;
mod list_source;
mod memory;
mod meter;
mod preview;
mod ratio;
mod refusal;
mod union;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::RefreshError;
pub use format::{
    DEFAULT_COLUMN, DEFAULT_MAX_BYTES, DEFAULT_MAX_ENTRIES, DecodeOptions, DecodeTally, ListDecoder,
    ListError, ListFormat, ListLimits, UnknownListFormat,
};
pub use guard::ListShrunk;
pub use list_source::ListSource;
pub use preview::{Preview, PreviewVerdict};
pub use ratio::{InvalidRatio, Ratio};
pub use refusal::Refusal;

use crate::domain::{ListInfo, ListVersion, MatchMode};
use crate::error::{Fault, FaultKind, RegistryError, SourceError};
use crate::port::{Clock, FraudList, FraudRegistry, RawList, ReplaceOutcome, SystemClock};
use decoding::Decoding;
use guard::{EntryChunks, Guard, Guarded};
use journal::Journal;
use memory::{Held, Memory};
use meter::Meter;
use union::union_version;

/// How long the feeder waits between two looks, unless another time is set.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// The shortest time between two looks, so that no setting makes the feeder spin.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// How long one refresh may take, unless another time is set: a gibibyte at two megabytes a second.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// How a refresh ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refresh {
    /// The registry has the newest list already.
    Unchanged,
    /// A new list is in force.
    Replaced {
        /// What the registry says of it.
        list: ListInfo,
        /// How many malformed lines were skipped.
        malformed: u64,
    },
    /// The sources have an older list than the registry ever held; it stays out.
    Stale {
        /// The newest publication that the registry ever held.
        newest: ListVersion,
    },
}

/// Keeps the registry's list the one that its sources publish.
///
/// The list is the union of all sources. A refresh reads them only when one has changed, and never undoes a
/// rollback: what was in force once does not come back by itself. Use it within a Tokio runtime.
///
/// ```
/// # use std::sync::Arc;
/// use mini_platform_core::feeder::{Feeder, ListSource};
/// use mini_platform_core::memory::MemoryFraudRegistry;
/// # use mini_platform_core::port::FraudSource;
///
/// # fn feeder(sanctions: Arc<dyn FraudSource>, own: Arc<dyn FraudSource>) -> Feeder {
/// Feeder::new(Arc::new(MemoryFraudRegistry::default()), ListSource::new(sanctions))
///     .with_source(ListSource::new(own))
///     .with_interval(std::time::Duration::from_secs(60))
/// # }
/// ```
pub struct Feeder {
    registry: Arc<dyn FraudRegistry>,
    sources: Vec<ListSource>,
    limits: ListLimits,
    max_shrink: Ratio,
    interval: Duration,
    timeout: Duration,
    jitter: Ratio,
    rng: Rng,
    memory: Option<Memory>,
    meter: Meter,
}

impl fmt::Debug for Feeder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeder")
            .field("sources", &self.sources)
            .field("limits", &self.limits)
            .field("max_shrink", &self.max_shrink)
            .field("interval", &self.interval)
            .field("jitter", &self.jitter)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Feeder {
    /// Makes a feeder of one registry and one source.
    #[must_use]
    pub fn new(registry: Arc<dyn FraudRegistry>, source: ListSource) -> Self {
        Self {
            registry,
            sources: vec![source],
            limits: ListLimits::default(),
            max_shrink: Ratio::HALF,
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            jitter: Ratio::NOTHING,
            rng: Rng::with_seed(0),
            memory: None,
            meter: Meter::new(Arc::new(SystemClock)),
        }
    }

    /// Adds a source; the list is the union of all. None of them may be empty.
    #[must_use]
    pub fn with_source(mut self, source: ListSource) -> Self {
        self.sources.push(source);
        self
    }

    /// Sets how large and how dirty the content of each source may be.
    #[must_use]
    pub fn with_limits(mut self, limits: ListLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets which share of the names in force a new list may lose, one half by default; 1 allows any loss.
    #[must_use]
    pub fn with_max_shrink(mut self, max: Ratio) -> Self {
        self.max_shrink = max;
        self
    }

    /// Lets a new list be smaller than the list in force by any number of names, but not empty.
    #[must_use]
    pub fn with_allow_shrink(self) -> Self {
        self.with_max_shrink(Ratio::ALL)
    }

    /// Sets how long [`Feeder::run`] waits between two looks; at least [`MIN_INTERVAL`].
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(MIN_INTERVAL);
        self
    }

    /// Shortens each pause by up to a share of the interval, at random, so that several feeders do not march in step.
    ///
    /// The interval stays the longest pause. Give every process its own seed.
    #[must_use]
    pub fn with_jitter(mut self, share: Ratio, seed: u64) -> Self {
        self.jitter = share;
        self.rng = Rng::with_seed(seed);
        self
    }

    /// Takes the time that metrics tell the list's age by from another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.meter = Meter::new(clock);
        self
    }

    /// Sets how long one refresh may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Looks at the sources until told to stop; logs one line for each change of state.
    ///
    /// Looks first, waits then. No failure ends it. A refresh that is under way at the end is given up, which
    /// leaves the old list in force, or the new one.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut journal = Journal::default();
        loop {
            let started = Instant::now();
            let Some(result) = shutdown.run_until_cancelled(self.refresh()).await else { return };
            journal.note(&result, started.elapsed());
            let pause = self.pause();
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    fn pause(&mut self) -> Duration {
        let share = self.jitter.get().mul_add(-self.rng.f64(), 1.0);
        self.interval.mul_f64(share).max(MIN_INTERVAL)
    }

    /// Looks at the sources once and puts their list in force if it is newer; else confirms the list in force, also
    /// when that is an older one that an operator has rolled back to.
    ///
    /// Sources that have not changed are not read, and what was refused is not read again before the sources or
    /// the registry change. Dropping the future leaves the old list in force, or the new one.
    ///
    /// # Errors
    /// The list is refused, or the sources or the registry failed. The list in force stays.
    #[tracing::instrument(name = "feeder.refresh", level = "debug", skip_all)]
    pub async fn refresh(&mut self) -> Result<Refresh, RefreshError> {
        let (timeout, started) = (self.timeout, Instant::now());
        let result = tokio::time::timeout(timeout, self.refresh_once()).await;
        let result = result.unwrap_or(Err(RefreshError::TimedOut(timeout)));
        self.meter.note(&result, started.elapsed());
        result
    }

    /// Tells what a refresh would do, without doing it: reads the sources and the list in force whole, passes the
    /// same guards, and compares. `mode` is the registry's. Holds both lists in memory.
    ///
    /// # Errors
    /// The sources or the registry failed. A list that would be refused is an answer, not an error.
    pub async fn preview(&self, mode: MatchMode) -> Result<Preview, RefreshError> {
        let preview = tokio::time::timeout(self.timeout, preview::preview(self, mode)).await;
        preview.unwrap_or(Err(RefreshError::TimedOut(self.timeout)))
    }

    async fn refresh_once(&mut self) -> Result<Refresh, RefreshError> {
        let (held, list) = self.look().await?;
        let entries = list.as_ref().map_or(0, |list| list.entries);
        let in_force = held.in_force.clone();
        self.meter.saw(list);
        let refresh = self.update(held, entries).await?;
        if let (Refresh::Unchanged, Some(version)) = (&refresh, in_force) {
            // Whoever put another list in force meanwhile has that confirmed at the next look.
            if let Some(list) = self.registry.confirm(&version).await? {
                self.meter.saw(Some(list));
            }
        }
        Ok(refresh)
    }

    /// Looks at the sources, and puts their list in force if it is newer than what the registry holds.
    async fn update(&mut self, held: Held, entries_in_force: u64) -> Result<Refresh, RefreshError> {
        let known = self.known_parts(&held);
        let Some(lists) = self.fetch(&known).await? else {
            return self.memory.as_ref().map_or(Ok(Refresh::Unchanged), Memory::repeat);
        };
        let parts = lists.iter().map(|list| list.version.clone()).collect();
        let version = version_of(&lists)?;
        let result = if held.newest.as_ref() == Some(&version) {
            Ok(Refresh::Unchanged)
        } else {
            self.replace(version, lists, entries_in_force).await
        };
        if let Some(memory) = Memory::of(parts, held, &result) {
            self.memory = Some(memory);
        }
        result
    }

    /// Returns which versions the registry holds, and what it knows of the one in force.
    async fn look(&self) -> Result<(Held, Option<ListInfo>), RegistryError> {
        let in_force = self.registry.in_force().await?;
        let newest = self.registry.history().await?.into_iter().next().map(|list| list.version);
        Ok((Held { in_force: in_force.as_ref().map(|list| list.version.clone()), newest }, in_force))
    }

    /// Returns the version of each source that needs no look again; nothing when all have to be read.
    fn known_parts(&mut self, held: &Held) -> Vec<ListVersion> {
        self.memory = self.memory.take().filter(|memory| memory.held == *held);
        match (&self.memory, &held.newest, self.sources.as_slice()) {
            (Some(memory), _, _) => memory.parts.clone(),
            // After a start: the version of a single source is that of its list.
            (None, Some(newest), [_]) => vec![newest.clone()],
            _ => Vec::new(),
        }
    }

    /// Returns the lists of all sources, or `None` when none has changed.
    async fn fetch(&self, known: &[ListVersion]) -> Result<Option<Vec<RawList>>, SourceError> {
        let mut fetched = Vec::with_capacity(self.sources.len());
        for (index, source) in self.sources.iter().enumerate() {
            fetched.push(source.fetch(known.get(index).cloned()).await?);
        }
        if fetched.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut lists = Vec::with_capacity(fetched.len());
        for (source, list) in self.sources.iter().zip(fetched) {
            let list = match list {
                Some(list) => Some(list),
                None => source.fetch(None).await?,
            };
            lists.extend(list);
        }
        Ok(Some(lists))
    }

    async fn replace(
        &self,
        version: ListVersion,
        lists: Vec<RawList>,
        entries_in_force: u64,
    ) -> Result<Refresh, RefreshError> {
        let place = self.place();
        let malformed = Arc::new(AtomicU64::new(0));
        let guard = Guard::new(entries_in_force, self.max_shrink);
        let chunks = Guarded::new(self.decode(lists, &malformed), guard, place.clone()).boxed();
        match self.registry.replace(FraudList { version, source: place, chunks }).await? {
            ReplaceOutcome::Replaced(list) => {
                Ok(Refresh::Replaced { list, malformed: malformed.load(Ordering::Relaxed) })
            }
            ReplaceOutcome::Stale { newest } => Ok(Refresh::Stale { newest }),
        }
    }

    fn place(&self) -> String {
        let places: Vec<String> = self.sources.iter().map(ListSource::place).collect();
        places.join(" + ")
    }

    /// Decodes one list after the other, each from when its turn comes.
    fn decode(&self, lists: Vec<RawList>, malformed: &Arc<AtomicU64>) -> EntryChunks {
        let parts: Vec<_> = self
            .sources
            .iter()
            .zip(lists)
            .map(|(source, list)| (list, source.options(self.limits), source.place()))
            .collect();
        let malformed = Arc::clone(malformed);
        stream::iter(parts)
            .flat_map(move |(list, options, place)| {
                Decoding::start(list, &options, place, Arc::clone(&malformed))
            })
            .boxed()
    }
}

fn version_of(lists: &[RawList]) -> Result<ListVersion, RefreshError> {
    let parts: Vec<ListVersion> = lists.iter().map(|list| list.version.clone()).collect();
    union_version(&parts).ok_or_else(|| {
        let fault = Fault::new("feeder", "combine the versions of its sources", FaultKind::Internal);
        RefreshError::Source(fault.into())
    })
}
