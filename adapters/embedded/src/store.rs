//! The storage engine: its keyspaces and its settings.

use std::thread;
use std::time::Duration;

use fjall::config::FilterPolicy;
use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot,
};

use mini_platform_core::domain::Timestamp;

use crate::clients;
use crate::config::EmbeddedConfig;
use crate::error::{Failure, OpenError};
use crate::folder::Folder;
use crate::key;
use crate::lists::Lists;
use crate::record::{self, ListsRecord};

/// The form of the whole database, kept in it.
const FORMAT: u8 = 3;

/// The form without the keyspace `clients`, which is added when it is met.
const FORMAT_WITHOUT_CLIENTS: u8 = 1;

/// The form without the keyspaces of parcels. A program that knows no more than this form must not go on in a folder
/// where acknowledged events wait.
const FORMAT_WITHOUT_PARCELS: u8 = 2;
const FORMAT_KEY: &str = "format";
const LISTS_KEY: &str = "lists";
/// Apart from the lists, which the first folders have without it.
const LIST_CONFIRMED_KEY: &str = "list confirmed";
const NEWEST_LINK_KEY: &str = "newest link";

/// How much a keyspace gathers in memory before it writes a table, in bytes.
///
/// Up to [`MAX_SEALED`] + 1 of them are in memory for each of the six large keyspaces.
const MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;

/// The least that is worth a table when nobody writes.
const IDLE_MEMTABLE_BYTES: u64 = 512 * 1024;

/// The same for keyspaces that see few writes.
const SMALL_MEMTABLE_BYTES: u64 = 1024 * 1024;

/// The least that the engine takes. It starts to write out keyspaces that hold old journals back at this size.
const MAX_JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// One thread writes tables and compacts them. With more, the engine's spare thread spins while another compacts.
const ENGINE_THREADS: usize = 1;

/// How many full memtables of a keyspace may wait to become tables before writes wait. The engine itself stops
/// at 4, in steps of 100 ms and without looking whether its thread is still alive.
const MAX_SEALED: usize = 3;

/// How many clients are written down at once when a folder gets the keyspace `clients`.
const CLIENTS_PER_COMMIT: usize = 10_000;

/// How long to wait between two looks at the engine's work.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// An open database. Fields are dropped in order: the engine first, the folder's lock last.
pub(crate) struct Store {
    pub(crate) events: Keyspace,
    pub(crate) timeline: Keyspace,
    pub(crate) links: Keyspace,
    pub(crate) clients: Keyspace,
    pub(crate) lists: Keyspace,
    /// All of a parcel but its content, which is most of it and never changes.
    pub(crate) parcels: Keyspace,
    pub(crate) contents: Keyspace,
    meta: Keyspace,
    db: Database,
    folder: Folder,
}

impl Store {
    /// Opens the database of a folder that is locked, and replays its journal.
    pub(crate) fn open(folder: Folder, config: &EmbeddedConfig) -> Result<Self, OpenError> {
        let dir = || config.dir().to_owned();
        folder.clear_unfinished_store().map_err(|source| OpenError::Folder { dir: dir(), source })?;
        let store = Self::open_engine(folder, config.cache_bytes())
            .map_err(|error| OpenError::of(dir(), Failure::from(error)))?;
        store.check_format(config)?;
        Ok(store)
    }

    fn open_engine(folder: Folder, cache_bytes: u64) -> fjall::Result<Self> {
        let db = Database::builder(folder.store())
            .cache_size(cache_bytes)
            .max_journaling_size(MAX_JOURNAL_BYTES)
            .worker_threads(ENGINE_THREADS)
            .open()?;
        Ok(Self {
            events: db.keyspace("events", || options(MEMTABLE_BYTES))?,
            timeline: db.keyspace("timeline", || ranges_only(MEMTABLE_BYTES))?,
            links: db.keyspace("links", || options(MEMTABLE_BYTES))?,
            clients: db.keyspace("clients", || ranges_only(MEMTABLE_BYTES))?,
            lists: db.keyspace("lists", || ranges_only(SMALL_MEMTABLE_BYTES))?,
            parcels: db.keyspace("parcels", || ranges_only(MEMTABLE_BYTES))?,
            contents: db.keyspace("contents", || options(MEMTABLE_BYTES))?,
            meta: db.keyspace("meta", || ranges_only(SMALL_MEMTABLE_BYTES))?,
            db,
            folder,
        })
    }

    fn check_format(&self, config: &EmbeddedConfig) -> Result<(), OpenError> {
        let dir = || config.dir().to_owned();
        let failed = |error| OpenError::of(dir(), Failure::from(error));
        match self.meta.get(FORMAT_KEY).map_err(failed)?.as_deref() {
            Some([FORMAT]) => Ok(()),
            Some([FORMAT_WITHOUT_CLIENTS]) => {
                self.add_clients().map_err(|failure| OpenError::of(dir(), failure))
            }
            Some([FORMAT_WITHOUT_PARCELS]) | None => self.put_format().map_err(failed),
            Some(other) => {
                let found = other.first().copied().unwrap_or_default();
                Err(OpenError::Format { dir: dir(), found, expected: FORMAT })
            }
        }
    }

    fn put_format(&self) -> fjall::Result<()> {
        let mut batch = self.batch(1);
        batch.insert(&self.meta, FORMAT_KEY, [FORMAT]);
        batch.commit()
    }

    /// Writes down which clients there are. What is cut short is done again at the next start.
    fn add_clients(&self) -> Result<(), Failure> {
        tracing::info!("the index of clients is made, once");
        let snapshot = self.snapshot();
        let mut clients = clients::by_key(&snapshot, &self.timeline, None);
        loop {
            self.wait_for_room()?;
            let mut batch = self.batch(CLIENTS_PER_COMMIT);
            for client in clients.by_ref().take(CLIENTS_PER_COMMIT) {
                batch.insert(&self.clients, client?.as_str(), []);
            }
            if batch.is_empty() {
                return Ok(self.put_format()?);
            }
            batch.commit()?;
            self.seal_full_memtables()?;
        }
    }

    /// Starts a batch that is durable when its commit answers.
    pub(crate) fn batch(&self, capacity: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.db.clone(), capacity).durability(Some(PersistMode::SyncData))
    }

    /// Returns a view that later writes do not change.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }

    /// Reads which fraud lists there are.
    pub(crate) fn read_lists(&self, snapshot: &Snapshot) -> Result<ListsRecord, Failure> {
        match snapshot.get(&self.meta, LISTS_KEY)? {
            Some(bytes) => Ok(record::read_lists(&bytes)?),
            None => Ok(ListsRecord::default()),
        }
    }

    /// Reads when a fraud list was last confirmed.
    pub(crate) fn read_list_confirmed(&self) -> Result<Option<Timestamp>, Failure> {
        self.read_time(LIST_CONFIRMED_KEY)
    }

    /// Adds to a batch which fraud lists there are.
    pub(crate) fn put_lists(&self, batch: &mut OwnedWriteBatch, lists: &Lists) {
        batch.insert(&self.meta, LISTS_KEY, record::write_lists(&lists.record));
        if let Some(at) = lists.confirmed_at() {
            batch.insert(&self.meta, LIST_CONFIRMED_KEY, record::write_time(at));
        }
    }

    /// Reads the latest time of all links.
    pub(crate) fn read_newest_link(&self) -> Result<Option<Timestamp>, Failure> {
        self.read_time(NEWEST_LINK_KEY)
    }

    fn read_time(&self, key: &str) -> Result<Option<Timestamp>, Failure> {
        let bytes = self.meta.get(key)?;
        Ok(bytes.map(|bytes| record::read_time(&bytes)).transpose()?)
    }

    /// Adds to a batch the latest time of all links.
    pub(crate) fn put_newest_link(&self, batch: &mut OwnedWriteBatch, at: Timestamp) {
        batch.insert(&self.meta, NEWEST_LINK_KEY, record::write_time(at));
    }

    /// Removes the chunks of lists that are not kept: a crash in the middle of a replacement leaves them.
    pub(crate) fn remove_unlisted_chunks(&self, lists: &ListsRecord) -> Result<(), Failure> {
        let mut next = Some(0);
        while let Some(number) = next {
            let from = self.lists.range(key::list_chunk(number, 0)..).next();
            let found = from.map(fjall::Guard::key).transpose()?;
            let Some(number) = found.as_deref().and_then(key::list_of_chunk) else { break };
            if !lists.kept.iter().any(|list| list.number == number) {
                tracing::info!("a fraud list whose loading was cut short is removed");
                self.remove_chunks(number)?;
            }
            next = number.checked_add(1);
        }
        Ok(())
    }

    fn remove_chunks(&self, number: u64) -> Result<(), Failure> {
        let mut batch = self.batch(0);
        for chunk in self.lists.prefix(number.to_be_bytes()) {
            batch.remove(&self.lists, chunk.key()?);
        }
        Ok(batch.commit()?)
    }

    /// The keyspaces that take much, and fill memtables.
    fn large_keyspaces(&self) -> [&Keyspace; 6] {
        [&self.events, &self.timeline, &self.links, &self.clients, &self.parcels, &self.contents]
    }

    fn keyspaces(&self) -> impl Iterator<Item = &Keyspace> {
        self.large_keyspaces().into_iter().chain([&self.lists, &self.meta])
    }

    /// Waits until the engine has room for a batch.
    pub(crate) fn wait_for_room(&self) -> fjall::Result<()> {
        while self.keyspaces().any(|keyspace| keyspace.sealed_memtable_count() >= MAX_SEALED) {
            self.pause()?;
        }
        Ok(())
    }

    /// Seals memtables that are full, so that [`Store::wait_for_room`] sees them.
    ///
    /// The engine would do so by itself, but on the thread that writes and compacts tables: while that compacts,
    /// a memtable would grow without bound.
    pub(crate) fn seal_full_memtables(&self) -> fjall::Result<()> {
        self.seal_memtables(MEMTABLE_BYTES)
    }

    /// Seals memtables that hold much, to give their memory back while nobody writes.
    pub(crate) fn seal_large_memtables(&self) -> fjall::Result<()> {
        self.seal_memtables(IDLE_MEMTABLE_BYTES)
    }

    fn seal_memtables(&self, least_bytes: u64) -> fjall::Result<()> {
        for keyspace in self.large_keyspaces() {
            if keyspace.tree.active_memtable().size() >= least_bytes {
                keyspace.rotate_memtable()?;
            }
        }
        Ok(())
    }

    /// Waits a moment for the engine's thread, unless that has failed.
    fn pause(&self) -> fjall::Result<()> {
        // The cheapest call that answers `Poisoned`.
        self.db.persist(PersistMode::Buffer)?;
        thread::sleep(LOOK_AGAIN);
        Ok(())
    }

    /// Sees to it that full journals can go: one stays as long as any keyspace has data of it in memory only,
    /// and keyspaces with few writes hardly ever fill a memtable.
    ///
    /// `seen` is what the last call answered: the number of journals.
    pub(crate) fn release_journals(&self, seen: usize) -> fjall::Result<usize> {
        let journals = self.db.journal_count();
        if journals > seen {
            for keyspace in self.keyspaces() {
                keyspace.rotate_memtable()?;
            }
        }
        Ok(journals)
    }

    /// Writes everything into tables, so that the next start has nothing to replay. No writes may follow.
    pub(crate) fn finish(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::SyncAll)?;
        for keyspace in self.keyspaces() {
            keyspace.rotate_memtable()?;
        }
        while self.keyspaces().any(|keyspace| keyspace.sealed_memtable_count() > 0) {
            self.pause()?;
        }
        self.folder.set_everything_is_in_tables();
        Ok(())
    }
}

fn options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes)
}

/// Settings of a keyspace that is never asked for a single absent key, so filters would be for nothing.
fn ranges_only(memtable_bytes: u64) -> KeyspaceCreateOptions {
    options(memtable_bytes).filter_policy(FilterPolicy::disabled())
}
