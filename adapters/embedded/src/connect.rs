//! Opening and closing.

use std::fmt;
use std::future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use arc_swap::{ArcSwap, ArcSwapOption};
use fjall::OwnedWriteBatch;
use mini_platform_core::domain::{LotLimits, MatchMode};
use mini_platform_core::port::Clock;
use tokio::sync::{mpsc, watch};
use tokio::task;

use crate::adjacency_store::EmbeddedAdjacencyStore;
use crate::config::EmbeddedConfig;
use crate::error::OpenError;
use crate::event_store::EmbeddedEventStore;
use crate::folder::Folder;
use crate::fraud_registry::EmbeddedFraudRegistry;
use crate::lists::{self, Lists};
use crate::newest::NewestLinks;
use crate::parking_lot::{self, EmbeddedParkingLot};
use crate::shared::Shared;
use crate::store::Store;
use crate::writer::{Commit, Job, MAX_QUEUED_JOBS, Writer};

/// An open folder: event store, adjacency store, fraud registry and parking lot on one database.
///
/// One process has a folder open at a time. Close it with [`Embedded::close`]; a drop does the same, and makes
/// the dropping thread wait. Handles that outlive it answer faults.
pub struct Embedded {
    dir: PathBuf,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
    next_list: Arc<AtomicU64>,
    match_mode: Mutex<Option<MatchMode>>,
    parking_lot: Mutex<Option<(LotLimits, EmbeddedParkingLot)>>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the folder, making it if it is missing. Waits for the disk: milliseconds after a clean close; after
    /// a crash as long as it takes to replay the journal, at most about a second.
    ///
    /// # Errors
    /// The folder is in use, cannot be used, or holds data that cannot be read.
    pub fn open(config: &EmbeddedConfig) -> Result<Self, OpenError> {
        Self::open_with(config, Box::new(OwnedWriteBatch::commit))
    }

    /// Opens the folder with a way of committing; tests give one that fails.
    pub(crate) fn open_with(config: &EmbeddedConfig, commit: Commit) -> Result<Self, OpenError> {
        let dir = config.dir().to_owned();
        let store = Store::open(Folder::lock(&dir)?, config)?;
        let failed = |failure| OpenError::of(dir.clone(), failure);
        let record = store.read_lists(&store.snapshot()).map_err(failed)?;
        store.remove_unlisted_chunks(&record).map_err(failed)?;
        let newest = NewestLinks::new(store.read_newest_link().map_err(failed)?);
        let next_list = record.kept.iter().map(|list| list.number + 1).max().unwrap_or_default();
        let confirmed = store.read_list_confirmed().map_err(failed)?;
        let lists = Arc::new(ArcSwap::from_pointee(Lists { record, index: None, confirmed }));
        let (jobs, queue) = mpsc::channel(MAX_QUEUED_JOBS);
        let stop = Arc::new(AtomicBool::new(false));
        let (tell_broken, broken) = watch::channel(false);
        let store = Arc::new(store);
        let writer = Writer::new(Arc::clone(&store), queue, Arc::clone(&lists), Arc::clone(&stop), newest);
        let writer = writer
            .start(commit, tell_broken)
            .map_err(|source| OpenError::Engine { dir: dir.clone(), source: source.into() })?;
        Ok(Self {
            dir,
            shared: Arc::new(Shared { store: ArcSwapOption::new(Some(store)), jobs, lists, broken }),
            stop,
            writer: Some(writer),
            clock: config.clock(),
            next_list: Arc::new(AtomicU64::new(next_list)),
            match_mode: Mutex::default(),
            parking_lot: Mutex::default(),
        })
    }

    /// Returns the event store.
    #[must_use]
    pub fn event_store(&self) -> EmbeddedEventStore {
        EmbeddedEventStore { shared: Arc::clone(&self.shared) }
    }

    /// Returns the adjacency store.
    #[must_use]
    pub fn adjacency(&self) -> EmbeddedAdjacencyStore {
        EmbeddedAdjacencyStore { shared: Arc::clone(&self.shared) }
    }

    /// Returns the fraud registry. The first call reads the list in force and indexes it, about a second for a
    /// million names.
    ///
    /// # Errors
    /// The list cannot be read, or an earlier call asked for another match mode.
    pub fn registry(&self, mode: MatchMode) -> Result<EmbeddedFraudRegistry, OpenError> {
        let mut used = self.match_mode.lock().unwrap_or_else(PoisonError::into_inner);
        match *used {
            Some(used) if used != mode => return Err(OpenError::MatchModeInUse(used)),
            Some(_) => {}
            None => self.load_list_in_force(mode)?,
        }
        *used = Some(mode);
        Ok(EmbeddedFraudRegistry {
            shared: Arc::clone(&self.shared),
            mode,
            clock: Arc::clone(&self.clock),
            next_number: Arc::clone(&self.next_list),
        })
    }

    /// Indexes the list in force. Comes before the first registry, so nobody changes the lists meanwhile.
    fn load_list_in_force(&self, mode: MatchMode) -> Result<(), OpenError> {
        let lists = self.shared.lists.load_full();
        let mut record = lists.record.clone();
        let in_force = record.in_force;
        let list = record.kept.iter_mut().find(|list| Some(list.number) == in_force);
        let (Some(list), Some(store)) = (list, self.shared.store.load_full()) else { return Ok(()) };
        let index = lists::load_index(&store, &store.snapshot(), list, mode)
            .map_err(|failure| OpenError::of(self.dir.clone(), failure))?;
        // How many names are different depends on the mode.
        list.entries = u64::try_from(index.len()).unwrap_or(u64::MAX);
        let next = Lists { record, index: Some(Arc::new(index)), confirmed: lists.confirmed };
        self.shared.lists.store(Arc::new(next));
        Ok(())
    }

    /// Returns the parking lot. The first call reads what is known of the parcels, without their contents, in a time that
    /// grows with their number.
    ///
    /// # Errors
    /// The parcels cannot be read, or an earlier call asked for other limits.
    pub fn parking_lot(&self, limits: LotLimits) -> Result<EmbeddedParkingLot, OpenError> {
        let mut used = self.parking_lot.lock().unwrap_or_else(PoisonError::into_inner);
        match &*used {
            Some((used, lot)) if *used == limits => return Ok(lot.clone()),
            Some((used, _)) => return Err(OpenError::LimitsInUse(*used)),
            None => {}
        }
        let records = match self.shared.store.load_full() {
            Some(store) => parking_lot::read_records(&store)
                .map_err(|failure| OpenError::of(self.dir.clone(), failure))?,
            None => Vec::new(),
        };
        let lot = EmbeddedParkingLot::new(Arc::clone(&self.shared), Arc::clone(&self.clock), limits, records);
        *used = Some((limits, lot.clone()));
        Ok(lot)
    }

    /// Waits until the store takes no write any more although nobody closed it: a write failed, or a thread died.
    ///
    /// Only another open helps then, so a program that sees the end of this should end with an error and be started
    /// again. The future never ends for a store that is closed before.
    pub fn broken(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut broken, stop) = (self.shared.broken.clone(), Arc::clone(&self.stop));
        async move {
            let writer_is_gone = broken.wait_for(|broken| *broken).await.is_err();
            if writer_is_gone && stop.load(Ordering::Acquire) {
                future::pending::<()>().await;
            }
        }
    }

    /// Finishes what is queued, writes everything into tables, so that the next open is quick, and gives the
    /// folder free as soon as no read is in flight any more.
    ///
    /// Dropping the future lets it go on in the background.
    pub async fn close(mut self) {
        self.tell_to_stop();
        // Fails only when the runtime shuts down, which runs the task's drop and thereby the same steps.
        drop(task::spawn_blocking(move || self.wait_for_end()).await);
    }

    fn tell_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        // A queue that is full has something to wake the writer already.
        drop(self.shared.jobs.try_send(Job::Wake));
    }

    fn wait_for_end(&mut self) {
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer died");
        }
        drop(self.shared.store.swap(None));
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.tell_to_stop();
        self.wait_for_end();
    }
}
