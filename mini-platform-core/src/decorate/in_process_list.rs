//! A copy of the fraud list in the process, so that screening needs no round trip.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::domain::{ClientId, ListInfo, ListVersion, MatchMode, Screening};
use crate::error::{Fault, FaultKind, RegistryError};
use crate::matching::{FraudIndex, FraudIndexBuilder};
use crate::port::{EntryStream, FraudList, FraudRegistry, ReplaceOutcome};
use crate::telemetry::{
    LIST_COPY_BYTES, LIST_COPY_ENTRIES, LIST_COPY_FRESH, LIST_COPY_LOAD_DURATION, LIST_COPY_LOADS,
    LIST_COPY_SCREENINGS,
};

/// How often the registry is asked for its version within the bound: a look may fail, and its successor too, before
/// the copy is too old.
const LOOKS_WITHIN_BOUND: u32 = 4;

/// The shortest pause between two looks, so that no bound makes it spin.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// The pause after a list that could not be loaded: loading is expensive, and the registry screens meanwhile.
const PAUSE_AFTER_FAILED_LOAD: Duration = Duration::from_secs(5);

/// How long a load may go without a new chunk. Adapters time their own calls out earlier.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// A [`FraudRegistry`] that screens against a copy of another's list in force.
///
/// An answer that the copy gives at an instant `t` is that of a list that was in force at some moment within
/// `max_staleness` before `t`. That is: the copy answers for less than `max_staleness` from just before a question
/// for the version in force was sent, and got the copy's version for an answer. After that, without a list, and
/// until the first load, every screening asks the inner registry, and fails with it. So the loss of the registry
/// stops screening after `max_staleness`, and a change of the list is seen everywhere after `max_staleness`.
///
/// Whoever changes the list through this value sees the change at once: the copy answers again only when it has been
/// confirmed after the change.
///
/// Somebody has to [`run`](InProcessList::run) it, else it is never confirmed. It holds one index, and while it
/// loads a second one.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use mini_platform_core::domain::MatchMode;
/// use mini_platform_core::decorate::InProcessList;
/// # use mini_platform_core::memory::MemoryFraudRegistry;
/// # use tokio_util::sync::CancellationToken;
///
/// # async fn start(shutdown: CancellationToken) {
/// # let redis = Arc::new(MemoryFraudRegistry::default());
/// let list = Arc::new(InProcessList::new(redis, MatchMode::Normalized, Duration::from_secs(1)));
/// let keeper = Arc::clone(&list);
/// let keeping = tokio::spawn(async move { keeper.run(shutdown).await });
/// # }
/// ```
pub struct InProcessList {
    inner: Arc<dyn FraudRegistry>,
    mode: MatchMode,
    max_staleness: Duration,
    copy: ArcSwapOption<Copy>,
    /// Counts the changes that went through here. A look that began before one of them confirms nothing.
    changes: Mutex<u64>,
    changed: Notify,
}

/// One version of the list, indexed.
#[derive(Debug)]
struct Loaded {
    info: ListInfo,
    index: FraudIndex,
}

/// What the process knows of the list; replaced as a whole.
#[derive(Debug)]
struct Copy {
    list: Arc<Loaded>,
    /// The instant from which on the copy's age counts; `None` when its list may be out of force.
    confirmed: Option<Instant>,
}

impl fmt::Debug for InProcessList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessList")
            .field("mode", &self.mode)
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}

/// Why a look did not confirm a copy.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the list in force cannot be told")]
    Ask(#[source] RegistryError),
    #[error("the list in force cannot be loaded")]
    Load(#[source] RegistryError),
}

impl InProcessList {
    /// Wraps a registry that compares names in `mode`.
    #[must_use]
    pub fn new(inner: Arc<dyn FraudRegistry>, mode: MatchMode, max_staleness: Duration) -> Self {
        Self {
            inner,
            mode,
            max_staleness,
            copy: ArcSwapOption::empty(),
            changes: Mutex::new(0),
            changed: Notify::new(),
        }
    }

    /// Keeps the copy confirmed and up to date until told to stop; logs one line for each change of state.
    ///
    /// No failure ends it. Run it once: a second one only adds load.
    pub async fn run(&self, shutdown: CancellationToken) {
        let pause = (self.max_staleness / LOOKS_WITHIN_BOUND).max(MIN_PAUSE);
        let mut journal = Journal::default();
        loop {
            let Some(looked) = shutdown.run_until_cancelled(self.look_watched(&mut journal)).await else {
                return;
            };
            journal.note(self.is_fresh(), looked.as_ref().err());
            let pause = if matches!(looked, Err(LookError::Load(_))) {
                pause.max(PAUSE_AFTER_FAILED_LOAD)
            } else {
                pause
            };
            // Elapsed or woken: either way it is time to look again.
            let waited = shutdown.run_until_cancelled(timeout(pause, self.changed.notified())).await;
            if waited.is_none() {
                return;
            }
        }
    }

    /// Whether a screening at this moment would be answered by the copy.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.copy.load().as_ref().is_some_and(|copy| self.may_answer(copy))
    }

    /// Looks, and notes when the copy grows too old meanwhile.
    async fn look_watched(&self, journal: &mut Journal) -> Result<(), LookError> {
        let mut look = pin!(self.look());
        if let Some(expires) = self.expires() {
            if let Ok(looked) = timeout_at(expires, &mut look).await {
                return looked;
            }
            journal.note(self.is_fresh(), None);
        }
        look.await
    }

    /// Confirms the copy, after loading it if the list in force is another one. Cancel-safe.
    async fn look(&self) -> Result<(), LookError> {
        let mut candidate = self.copy.load().as_ref().map(|copy| Arc::clone(&copy.list));
        let mut failed: Option<(ListInfo, RegistryError)> = None;
        loop {
            let (changes, asked) = (*self.lock_changes(), Instant::now());
            let Some(info) = self.ask().await.map_err(LookError::Ask)? else {
                self.put(None, changes);
                return Ok(());
            };
            if let Some(list) = candidate.take_if(|list| is_same_list(&list.info, &info)) {
                self.put(Some(Copy { list, confirmed: Some(asked) }), changes);
                return Ok(());
            }
            // Given up before the next one is loaded: there are two indexes at most.
            candidate = None;
            match failed.take() {
                Some((unloadable, error)) if is_same_list(&unloadable, &info) => {
                    return Err(LookError::Load(error));
                }
                _ => {}
            }
            // Asked again after the load, which may take longer than the bound, and during which the list may change.
            match self.load(&info).await {
                Ok(index) => candidate = Some(Arc::new(Loaded { info, index })),
                Err(error) => failed = Some((info, error)),
            }
        }
    }

    async fn ask(&self) -> Result<Option<ListInfo>, RegistryError> {
        // An answer that takes longer would come too late to confirm anything.
        timeout(self.max_staleness.max(MIN_PAUSE), self.inner.in_force())
            .await
            .unwrap_or_else(|_| Err(fault("tell the list in force", FaultKind::Timeout)))
    }

    async fn load(&self, info: &ListInfo) -> Result<FraudIndex, RegistryError> {
        let started = Instant::now();
        let loaded = self.index(info).await;
        let result = if loaded.is_ok() { "loaded" } else { "failed" };
        metrics::counter!(LIST_COPY_LOADS, "result" => result).increment(1);
        metrics::histogram!(LIST_COPY_LOAD_DURATION).record(started.elapsed());
        loaded
    }

    async fn index(&self, info: &ListInfo) -> Result<FraudIndex, RegistryError> {
        let silent = |_| fault("stream the fraud list", FaultKind::Timeout);
        let mut chunks = timeout(MAX_SILENCE, self.inner.entries(&info.version)).await.map_err(silent)??;
        let (mut builder, mut streamed) = (FraudIndexBuilder::new(self.mode), 0_u64);
        while let Some(chunk) = timeout(MAX_SILENCE, chunks.next()).await.map_err(silent)? {
            let chunk = chunk?;
            streamed = streamed.saturating_add(chunk.len() as u64);
            if streamed > info.entries {
                return Err(fault("stream as many entries as it counts", FaultKind::Corrupt));
            }
            for entry in &chunk {
                builder.push(entry).map_err(|full| {
                    Fault::new(BACKEND, "hold the fraud list", FaultKind::Internal).with_source(full)
                })?;
            }
            // A chunk takes about a millisecond to index; others want to run.
            tokio::task::yield_now().await;
        }
        let index = builder.build();
        if index.len() as u64 == info.entries {
            Ok(index)
        } else {
            Err(fault("stream as many entries as it counts", FaultKind::Corrupt))
        }
    }

    fn lock_changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what a look found in the place of the copy, unless the list was changed since the look began.
    fn put(&self, copy: Option<Copy>, changes: u64) {
        let current = self.lock_changes();
        if *current == changes {
            let list = copy.as_ref().map(|copy| &copy.list.index);
            metrics::gauge!(LIST_COPY_ENTRIES).set(list.map_or(0, FraudIndex::len) as f64);
            metrics::gauge!(LIST_COPY_BYTES).set(list.map_or(0, FraudIndex::heap_bytes) as f64);
            self.copy.store(copy.map(Arc::new));
        }
    }

    /// Makes every screening ask the registry until a look that begins after this.
    fn distrust(&self) {
        let mut changes = self.lock_changes();
        *changes += 1;
        if let Some(copy) = self.copy.load_full() {
            self.copy.store(Some(Arc::new(Copy { list: Arc::clone(&copy.list), confirmed: None })));
        }
        self.changed.notify_one();
    }

    fn expires(&self) -> Option<Instant> {
        let confirmed = self.copy.load().as_ref()?.confirmed?;
        confirmed.checked_add(self.max_staleness)
    }

    fn may_answer(&self, copy: &Copy) -> bool {
        copy.confirmed.is_some_and(|confirmed| confirmed.elapsed() < self.max_staleness)
    }
}

/// Whether a registry speaks of the same names both times, whenever they were confirmed.
fn is_same_list(one: &ListInfo, other: &ListInfo) -> bool {
    (&one.version, one.entries, one.loaded_at) == (&other.version, other.entries, other.loaded_at)
}

const BACKEND: &str = "fraud registry";

fn fault(operation: &'static str, kind: FaultKind) -> RegistryError {
    Fault::new(BACKEND, operation, kind).into()
}

/// Distrusts the copy when a change of the list ends, also when its outcome is unknown or it is given up.
struct Change<'a>(&'a InProcessList);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.distrust();
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FraudRegistry for InProcessList {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        let copy = self.copy.load_full();
        if let Some(copy) = copy.filter(|copy| self.may_answer(copy)) {
            metrics::counter!(LIST_COPY_SCREENINGS, "answered_by" => "copy").increment(1);
            return Ok(copy.list.index.screen(&copy.list.info.version, subjects));
        }
        metrics::counter!(LIST_COPY_SCREENINGS, "answered_by" => "registry").increment(1);
        self.inner.screen(subjects).await
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        self.inner.in_force().await
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        self.inner.history().await
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        let _change = Change(self);
        self.inner.replace(list).await
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        let _change = Change(self);
        self.inner.rollback(version).await
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        self.inner.confirm(version).await
    }

    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        self.inner.entries(version).await
    }
}

/// One log line a change between fresh and stale.
#[derive(Debug, Default)]
struct Journal {
    was_fresh: Option<bool>,
}

impl Journal {
    fn note(&mut self, is_fresh: bool, error: Option<&LookError>) {
        metrics::gauge!(LIST_COPY_FRESH).set(if is_fresh { 1.0 } else { 0.0 });
        if self.was_fresh == Some(is_fresh) {
            return;
        }
        let is_first = self.was_fresh.replace(is_fresh).is_none();
        let error = error.map(|error| error as &dyn std::error::Error);
        match (is_fresh, is_first) {
            (true, _) => tracing::info!("screening uses the copy of the fraud list in this process"),
            (false, true) => {
                tracing::info!(error, "screening asks the registry until there is a copy of its list");
            }
            (false, false) => tracing::warn!(
                error,
                "the copy of the fraud list is too old or may be out of force, so screening asks the registry"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFraudRegistry;
    use crate::telemetry::probe::{Logs, Metrics};
    use crate::testkit::{client, fraud_list};

    #[tokio::test(start_paused = true)]
    async fn every_change_between_fresh_and_stale_is_told_once() {
        let (metrics, logs) = (Metrics::default(), Logs::default());
        let _recording = metrics::set_default_local_recorder(&metrics);
        let _logging = tracing::subscriber::set_default(logs.clone());
        let registry = Arc::new(MemoryFraudRegistry::default());
        let list =
            InProcessList::new(Arc::clone(&registry) as _, MatchMode::default(), Duration::from_secs(1));
        let asks = async || {
            let _ = list.screen(&[client("ann")]).await;
            metrics.get(LIST_COPY_FRESH)
        };
        let stop = CancellationToken::new();
        let told = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(
                (asks().await, logs.count("until there is a copy"), logs.count("message")),
                (0.0, 1, 1)
            );
            registry.replace(fraud_list(1, &["bad", "worse"])).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(
                (asks().await, logs.count("INFO message=screening uses"), logs.count("message")),
                (1.0, 1, 2)
            );
            list.rollback(&crate::testkit::list_version(7)).await.unwrap_err();
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!((asks().await, logs.count("message")), (1.0, 2), "a change of ours is no fault");
            stop.cancel();
        };
        tokio::join!(list.run(stop.clone()), told);
        assert_eq!(
            (metrics.get(LIST_COPY_ENTRIES), metrics.labelled(LIST_COPY_LOADS, "result", "loaded")),
            (2.0, 1.0)
        );
        assert!(metrics.get(LIST_COPY_BYTES) > 0.0 && metrics.get(LIST_COPY_LOAD_DURATION) > 0.0);
        let answered = |by| metrics.labelled(LIST_COPY_SCREENINGS, "answered_by", by);
        assert_eq!((answered("registry"), answered("copy")), (1.0, 2.0));
        assert_eq!(logs.count("bad"), 0);
    }

    #[test]
    fn only_a_change_is_told() {
        let logs = Logs::default();
        let _logging = tracing::subscriber::set_default(logs.clone());
        let mut journal = Journal::default();
        for (is_fresh, lines, level) in [
            (false, 1, "INFO"),
            (false, 1, "INFO"),
            (true, 2, "INFO"),
            (true, 2, "INFO"),
            (false, 3, "WARN"),
            (true, 4, "INFO"),
        ] {
            journal.note(is_fresh, None);
            assert_eq!(logs.count("message"), lines);
            assert!(logs.count(level) > 0);
        }
        assert_eq!(logs.count("WARN"), 1);
    }
}
