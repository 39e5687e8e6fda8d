//! The fraud lists as readers see them: which there are, and the index of the one in force.

use std::sync::Arc;

use fjall::{Readable, Snapshot};
use mini_platform_core::domain::{ListInfo, ListVersion, MatchMode, Timestamp};
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
    /// When a list was last confirmed, if that was noted.
    pub(crate) confirmed: Option<Timestamp>,
}

impl Lists {
    /// Returns the list in force.
    pub(crate) fn in_force(&self) -> Option<&KeptList> {
        let number = self.record.in_force?;
        self.record.kept.iter().find(|list| list.number == number)
    }

    /// Returns when a list was last confirmed, or loaded if that was later.
    pub(crate) fn confirmed_at(&self) -> Option<Timestamp> {
        self.record.kept.iter().map(|list| list.loaded_at).chain(self.confirmed).max()
    }

    /// Returns what is known of a kept list.
    pub(crate) fn info(&self, list: &KeptList) -> ListInfo {
        let KeptList { version, entries, source, loaded_at, .. } = list.clone();
        let confirmed_at = self.confirmed_at().filter(|_| self.record.in_force == Some(list.number));
        ListInfo { version, entries, source, loaded_at, confirmed_at: confirmed_at.unwrap_or(loaded_at) }
    }

    /// Whether a version was published no later than the newest that was ever held.
    pub(crate) fn newer_than(&self, version: &ListVersion) -> Option<&ListVersion> {
        self.record.newest.as_ref().filter(|newest| version <= *newest)
    }

    /// Returns the index of a version if that is the one in force.
    pub(crate) fn index_of(&self, version: &ListVersion) -> Option<&Arc<FraudIndex>> {
        self.index.as_ref().filter(|_| self.in_force().is_some_and(|list| list.version == *version))
    }

    /// Returns the state after a new list, and the lists that are no longer kept.
    pub(crate) fn with_new(&self, list: KeptList, index: Arc<FraudIndex>) -> (Self, Vec<KeptList>) {
        let mut record = self.record.clone();
        record.newest = Some(list.version.clone());
        record.in_force = Some(list.number);
        record.kept.insert(0, list);
        let dropped = record.kept.split_off(KEPT_VERSIONS.min(record.kept.len()));
        // Noted before lists are dropped: one of them may have been loaded last by a clock that went back.
        (Self { record, index: Some(index), confirmed: self.confirmed_at() }, dropped)
    }

    /// Returns the state after a return to a list; `None` when it is not kept.
    pub(crate) fn with_old(&self, list: &KeptList, index: Arc<FraudIndex>) -> Option<Self> {
        if !self.record.kept.iter().any(|kept| kept.number == list.number) {
            return None;
        }
        let record = ListsRecord { in_force: Some(list.number), ..self.record.clone() };
        Some(Self { record, index: Some(index), confirmed: self.confirmed })
    }

    /// Returns the state after a version was confirmed; `None` when it is not in force.
    pub(crate) fn with_confirmed(&self, version: &ListVersion, at: Timestamp) -> Option<Self> {
        self.in_force().filter(|list| list.version == *version)?;
        let confirmed = self.confirmed_at().max(Some(at));
        Some(Self { record: self.record.clone(), index: self.index.clone(), confirmed })
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
    let Some(list) = kept.into_iter().find(|list| list.version == *version) else { return Ok(None) };
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
