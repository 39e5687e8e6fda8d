//! Fraud lists, with their last versions.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use fjall::OwnedWriteBatch;
use futures_util::{StreamExt, stream};
use mini_platform_core::domain::{
    ClientId, ListEntry, ListInfo, ListVersion, MatchMode, Screening, Timestamp,
};
use mini_platform_core::error::{Fault, RegistryError};
use mini_platform_core::matching::{FraudIndex, FraudIndexBuilder};
use mini_platform_core::port::{Clock, EntryStream, FraudList, FraudRegistry, ReplaceOutcome};

use crate::error::Failure;
use crate::group::Answer;
use crate::key;
use crate::lists::{self, Lists};
use crate::record::{self, KeptList};
use crate::shared::Shared;
use crate::store::Store;
use crate::writer::{Job, Reply};

/// How many bytes of names go into one record of a list.
///
/// Bounds what a replacement holds beside the index, and is large enough that one fsync each does not count.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many entries are read back at once.
const READ_ENTRIES: usize = 1024;

const REPLACE: &str = "replace the fraud list";
const ROLL_BACK: &str = "roll the fraud list back";
const CONFIRM: &str = "confirm the fraud list";
const READ_BACK: &str = "read a fraud list back";

/// A [`FraudRegistry`] in the folder of an [`Embedded`](crate::Embedded). A clone costs a reference count.
///
/// Screening asks an index in memory, so it never waits for the disk or for a replacement.
#[derive(Clone)]
pub struct EmbeddedFraudRegistry {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mode: MatchMode,
    pub(crate) clock: Arc<dyn Clock>,
    /// Numbers the lists; a number is never used twice while its chunks may exist.
    pub(crate) next_number: Arc<AtomicU64>,
}

impl fmt::Debug for EmbeddedFraudRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedFraudRegistry").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// A change of the fraud lists.
pub(crate) enum ListJob {
    /// Keeps a chunk of a list that is on its way in.
    Stage { key: [u8; 12], value: Vec<u8>, reply: Reply<()> },
    /// Puts a list in force whose chunks are all there.
    Install { list: KeptList, index: Arc<FraudIndex>, reply: Reply<ReplaceOutcome> },
    /// Puts a kept list back in force.
    RollBack { list: KeptList, index: Arc<FraudIndex>, reply: Reply<Option<ListInfo>> },
    /// Notes that a version was confirmed.
    Confirm { version: ListVersion, at: Timestamp, reply: Reply<Option<ListInfo>> },
    /// Removes the chunks of a list that did not come into force.
    Discard { number: u64, chunks: u32 },
}

/// What becomes of a change.
pub(crate) enum ListDecision {
    Write,
    Install { info: ListInfo, dropped: Vec<KeptList> },
    Stale { newest: ListVersion },
    RollBack { info: ListInfo },
    Confirm { info: ListInfo },
    Unknown,
}

impl ListJob {
    /// Decides the job; also returns the lists that come into force.
    pub(crate) fn decide(&self, lists: &Lists) -> (ListDecision, Option<Lists>) {
        match self {
            Self::Stage { .. } | Self::Discard { .. } => (ListDecision::Write, None),
            Self::Install { list, index, .. } => match lists.newer_than(&list.version) {
                Some(newest) => (ListDecision::Stale { newest: newest.clone() }, None),
                None => {
                    let (next, dropped) = lists.with_new(list.clone(), Arc::clone(index));
                    (ListDecision::Install { info: next.info(list), dropped }, Some(next))
                }
            },
            // It may have been dropped while its index was made.
            Self::RollBack { list, index, .. } => match lists.with_old(list, Arc::clone(index)) {
                Some(next) => (ListDecision::RollBack { info: next.info(list) }, Some(next)),
                None => (ListDecision::Unknown, None),
            },
            Self::Confirm { version, at, .. } => {
                let next = lists.with_confirmed(version, *at);
                match next.as_ref().and_then(|next| Some(next.info(next.in_force()?))) {
                    Some(info) => (ListDecision::Confirm { info }, next),
                    None => (ListDecision::Unknown, None),
                }
            }
        }
    }

    /// Adds the chunks that come and go to a batch, and returns how to answer.
    pub(crate) fn write(self, decision: ListDecision, store: &Store, batch: &mut OwnedWriteBatch) -> Answer {
        match (self, decision) {
            (Self::Stage { key, value, reply }, _) => {
                batch.insert(&store.lists, key, value);
                Answer::new(reply, Ok(()))
            }
            (Self::Discard { number, chunks }, _) => {
                remove_chunks(store, batch, number, chunks);
                Answer::nobody()
            }
            (Self::Install { reply, .. }, ListDecision::Install { info, dropped }) => {
                for old in dropped {
                    remove_chunks(store, batch, old.number, old.chunks);
                }
                Answer::new(reply, Ok(ReplaceOutcome::Replaced(info)))
            }
            (Self::Install { list, reply, .. }, ListDecision::Stale { newest }) => {
                remove_chunks(store, batch, list.number, list.chunks);
                Answer::new(reply, Ok(ReplaceOutcome::Stale { newest }))
            }
            (Self::RollBack { reply, .. }, ListDecision::RollBack { info })
            | (Self::Confirm { reply, .. }, ListDecision::Confirm { info }) => {
                Answer::new(reply, Ok(Some(info)))
            }
            (Self::RollBack { reply, .. } | Self::Confirm { reply, .. }, _) => Answer::new(reply, Ok(None)),
            (Self::Install { .. }, _) => Answer::nobody(),
        }
    }
}

fn remove_chunks(store: &Store, batch: &mut OwnedWriteBatch, number: u64, chunks: u32) {
    for chunk in 0..chunks {
        batch.remove(&store.lists, key::list_chunk(number, chunk));
    }
}

/// A list on its way in: writes its chunks, and has them removed when it is dropped before it is whole.
struct Staging<'a> {
    shared: &'a Shared,
    number: u64,
    chunks: u32,
    pending: Vec<ListEntry>,
    pending_bytes: usize,
    done: bool,
}

impl<'a> Staging<'a> {
    fn new(shared: &'a Shared, number: u64) -> Self {
        Self { shared, number, chunks: 0, pending: Vec::new(), pending_bytes: 0, done: false }
    }

    async fn push(&mut self, entry: ListEntry) -> Result<(), RegistryError> {
        self.pending_bytes += entry.as_str().len();
        self.pending.push(entry);
        if self.pending_bytes >= CHUNK_BYTES { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<(), RegistryError> {
        let key = key::list_chunk(self.number, self.chunks);
        let value = record::write_chunk(&mem::take(&mut self.pending));
        self.pending_bytes = 0;
        let next = self.chunks.checked_add(1);
        self.chunks = next.ok_or_else(|| Failure::ListTooLarge("it has too many chunks").during(REPLACE))?;
        let job = |reply| Job::List(ListJob::Stage { key, value, reply });
        Ok(self.shared.write(REPLACE, job).await?)
    }

    /// Writes the rest and returns the number of chunks. From here on the writer looks after them.
    async fn finish(mut self) -> Result<u32, RegistryError> {
        if !self.pending.is_empty() {
            self.write().await?;
        }
        self.done = true;
        Ok(self.chunks)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.done && self.chunks > 0 {
            let discard = ListJob::Discard { number: self.number, chunks: self.chunks };
            // When the queue is full the chunks stay until the store is opened the next time.
            drop(self.shared.jobs.try_send(Job::List(discard)));
        }
    }
}

impl EmbeddedFraudRegistry {
    async fn load(
        &self,
        operation: &'static str,
        version: &ListVersion,
    ) -> Result<Option<(KeptList, FraudIndex)>, Fault> {
        let (version, mode) = (version.clone(), self.mode);
        self.shared.read(operation, move |store| lists::load(store, &version, mode)).await
    }

    /// Keeps and indexes the entries of a new list. It is not in force yet.
    async fn stage(&self, list: FraudList) -> Result<(KeptList, FraudIndex), RegistryError> {
        let FraudList { version, source, mut chunks } = list;
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut builder = FraudIndexBuilder::new(self.mode);
        let mut staging = Staging::new(&self.shared, number);
        while let Some(chunk) = chunks.next().await {
            for entry in chunk.map_err(RegistryError::Refused)? {
                lists::push(&mut builder, &entry).map_err(|failure| failure.during(REPLACE))?;
                staging.push(entry).await?;
            }
        }
        let chunks = staging.finish().await?;
        let index = builder.build();
        let entries = u64::try_from(index.len()).unwrap_or(u64::MAX);
        let loaded_at = self.clock.now();
        Ok((KeptList { number, chunks, version, entries, source, loaded_at }, index))
    }
}

#[async_trait]
impl FraudRegistry for EmbeddedFraudRegistry {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        let lists = self.shared.lists.load();
        match (lists.in_force(), &lists.index) {
            (Some(list), Some(index)) => Ok(index.screen(&list.version, subjects)),
            _ => Err(RegistryError::NoList),
        }
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        let lists = self.shared.lists.load();
        Ok(lists.in_force().map(|list| lists.info(list)))
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        let lists = self.shared.lists.load();
        Ok(lists.record.kept.iter().map(|list| lists.info(list)).collect())
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        if let Some(newest) = self.shared.lists.load().newer_than(&list.version) {
            return Ok(ReplaceOutcome::Stale { newest: newest.clone() });
        }
        let (list, index) = self.stage(list).await?;
        let job = |reply| Job::List(ListJob::Install { list, index: Arc::new(index), reply });
        Ok(self.shared.write(REPLACE, job).await?)
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        let unknown = || RegistryError::UnknownVersion(version.clone());
        let (list, index) = self.load(ROLL_BACK, version).await?.ok_or_else(unknown)?;
        let job = |reply| Job::List(ListJob::RollBack { list, index: Arc::new(index), reply });
        self.shared.write(ROLL_BACK, job).await?.ok_or_else(unknown)
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        let (version, at) = (version.clone(), self.clock.now());
        let job = |reply| Job::List(ListJob::Confirm { version, at, reply });
        Ok(self.shared.write(CONFIRM, job).await?)
    }

    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        let in_force = self.shared.lists.load().index_of(version).cloned();
        let index = match in_force {
            Some(index) => index,
            None => {
                let loaded = self.load(READ_BACK, version).await?;
                let (_, index) = loaded.ok_or_else(|| RegistryError::UnknownVersion(version.clone()))?;
                Arc::new(index)
            }
        };
        let places = stream::iter((0..index.len()).step_by(READ_ENTRIES));
        Ok(places.map(move |place| Ok(index.entries_from(place).take(READ_ENTRIES).collect())).boxed())
    }
}
