//! The fraud lists as readers see them: which there are, and the index of the one in force.

use std::sync::Arc;

use fjall::{Readable, Snapshot};
use mini_platform_core::domain::{ListInfo, ListVersion, MatchMode};
use mini_platform_core::matching::{FraudIndex, FraudIndexBuilder};
use mini_platform_core::port::KEPT_VERSIONS;

use crate::error::{BadRecord, Failure};
use crate::key;
use crate::record::{self, KeptList, ListsRecord};
use crate::store::Store;

/// One state of the lists. Readers hold one for the length of a call, so that all verdicts come from it.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) record: ListsRecord,
    pub(crate) index: Option<Arc<FraudIndex>>,
}

impl Lists {
    /// Returns what is known of the list in force.
    pub(crate) fn in_force(&self) -> Option<&ListInfo> {
        let number = self.record.in_force?;
        self.record.kept.iter().find(|list| list.number == number).map(|list| &list.info)
    }

    /// Whether a version was published no later than the newest that was ever held.
    pub(crate) fn newer_than(&self, version: &ListVersion) -> Option<&ListVersion> {
        self.record.newest.as_ref().filter(|newest| version <= *newest)
    }

    /// Returns the index of a version if that is the one in force.
    pub(crate) fn index_of(&self, version: &ListVersion) -> Option<&Arc<FraudIndex>> {
        self.index.as_ref().filter(|_| self.in_force().is_some_and(|info| info.version == *version))
    }

    /// Returns the state after a new list, and the lists that are no longer kept.
    pub(crate) fn with_new(&self, list: KeptList, index: Arc<FraudIndex>) -> (Self, Vec<KeptList>) {
        let mut record = self.record.clone();
        record.newest = Some(list.info.version.clone());
        record.in_force = Some(list.number);
        record.kept.insert(0, list);
        let dropped = record.kept.split_off(KEPT_VERSIONS.min(record.kept.len()));
        (Self { record, index: Some(index) }, dropped)
    }

    /// Returns the state after a return to a list; `None` when it is not kept.
    pub(crate) fn with_old(&self, list: &KeptList, index: Arc<FraudIndex>) -> Option<Self> {
        if !self.record.kept.iter().any(|kept| kept.number == list.number) {
            return None;
        }
        let record = ListsRecord { in_force: Some(list.number), ..self.record.clone() };
        Some(Self { record, index: Some(index) })
    }
}

/// Reads the kept list of a version and makes its index; `None` when the version is not kept.
///
/// Reads one state of the store, so that a list is there as a whole or not at all, whatever is dropped meanwhile.
pub(crate) fn load(
    store: &Store,
    version: &ListVersion,
    mode: MatchMode,
) -> Result<Option<(KeptList, FraudIndex)>, Failure> {
    let snapshot = store.snapshot();
    let kept = store.read_lists(&snapshot)?.kept;
    let Some(list) = kept.into_iter().find(|list| list.info.version == *version) else { return Ok(None) };
    let index = load_index(store, &snapshot, &list, mode)?;
    Ok(Some((list, index)))
}

/// Reads a kept list and makes its index.
pub(crate) fn load_index(
    store: &Store,
    snapshot: &Snapshot,
    list: &KeptList,
    mode: MatchMode,
) -> Result<FraudIndex, Failure> {
    let mut builder = FraudIndexBuilder::new(mode);
    for number in 0..list.chunks {
        let chunk = snapshot.get(&store.lists, key::list_chunk(list.number, number))?;
        let missing = BadRecord { keyspace: "lists", reason: "a chunk of a list is missing" };
        for entry in record::read_chunk(&chunk.ok_or(missing)?)? {
            push(&mut builder, &entry)?;
        }
    }
    Ok(builder.build())
}

/// Adds an entry to an index.
pub(crate) fn push(
    builder: &mut FraudIndexBuilder,
    entry: &mini_platform_core::domain::ListEntry,
) -> Result<(), Failure> {
    builder.push(entry).map_err(|_| Failure::ListTooLarge("its names take more than an index holds"))
}
