//! An immutable index of a fraud list.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::normalize;
use crate::domain::{ClientId, ListEntry, ListVersion, MatchMode, Screening, Verdict};

/// Where an entry's texts lie: its key from `start`, and after it the published name, unless that is the same.
#[derive(Debug, Clone, Copy)]
struct Slot {
    start: u32,
    key_len: u16,
    name_len: u16,
}

/// The names of one version of a fraud list, ready to be asked.
///
/// All texts lie in one buffer and the table holds 4-byte slot numbers, so an entry costs about 20 bytes beyond
/// its texts. Immutable: share it behind an `Arc` and swap the whole.
#[derive(Debug)]
pub struct FraudIndex {
    mode: MatchMode,
    texts: String,
    slots: Vec<Slot>,
    table: HashTable<u32>,
    hasher: RandomState,
}

impl FraudIndex {
    /// Returns the entry that a name matches, if any.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ListEntry> {
        let mut scratch = String::new();
        self.find_with(name, &mut scratch)
    }

    /// Like [`FraudIndex::find`], with a buffer that many calls share.
    #[must_use]
    pub fn find_with(&self, name: &str, scratch: &mut String) -> Option<ListEntry> {
        let slot = self.lookup(self.key_of(name, scratch))?;
        ListEntry::new(self.name(slot)).ok()
    }

    /// Screens names against this index, which is that of the given version.
    #[must_use]
    pub fn screen(&self, version: &ListVersion, subjects: &[ClientId]) -> Screening {
        let mut scratch = String::new();
        let verdict = |subject: &ClientId| match self.find_with(subject.as_str(), &mut scratch) {
            Some(entry) => Verdict::Hit { entry },
            None => Verdict::Clear,
        };
        Screening { version: version.clone(), verdicts: subjects.iter().map(verdict).collect() }
    }

    /// Returns the entries, as their publisher wrote them, from a place on in the order they came.
    pub fn entries_from(&self, place: usize) -> impl Iterator<Item = ListEntry> + '_ {
        let slots = self.slots.get(place..).unwrap_or_default();
        slots.iter().filter_map(|slot| ListEntry::new(self.name(*slot)).ok())
    }

    /// Returns how many different names are in the index.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the bytes that the index takes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.texts.capacity() + self.slots.capacity() * size_of::<Slot>() + self.table.allocation_size()
    }

    fn key_of<'a>(&self, name: &'a str, scratch: &'a mut String) -> &'a str {
        match self.mode {
            MatchMode::Exact => name,
            MatchMode::Normalized => {
                scratch.clear();
                normalize(name, scratch);
                scratch
            }
        }
    }

    fn lookup(&self, key: &str) -> Option<Slot> {
        let found = self.table.find(self.hasher.hash_one(key), |&number| self.key(number) == key)?;
        self.slots.get(*found as usize).copied()
    }

    fn key(&self, number: u32) -> &str {
        let slot = self.slots.get(number as usize);
        slot.and_then(|slot| text(&self.texts, slot.start as usize, slot.key_len)).unwrap_or_default()
    }

    fn name(&self, slot: Slot) -> &str {
        let (start, len) = match slot.name_len {
            0 => (slot.start as usize, slot.key_len),
            len => (slot.start as usize + usize::from(slot.key_len), len),
        };
        text(&self.texts, start, len).unwrap_or_default()
    }
}

fn text(texts: &str, start: usize, len: u16) -> Option<&str> {
    texts.get(start..start + usize::from(len))
}

/// The texts of all entries together pass 4 GiB, which is more than an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the names of a fraud list take at most 4 GiB")]
pub struct IndexFull;

/// Gathers entries for a [`FraudIndex`].
#[derive(Debug)]
pub struct FraudIndexBuilder(FraudIndex);

impl FraudIndexBuilder {
    /// Starts an empty index.
    #[must_use]
    pub fn new(mode: MatchMode) -> Self {
        Self(FraudIndex {
            mode,
            texts: String::new(),
            slots: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::default(),
        })
    }

    /// Adds an entry; one that equals an earlier one under the match mode is dropped.
    ///
    /// # Errors
    /// The names take more than 4 GiB; the index stays as it was.
    pub fn push(&mut self, entry: &ListEntry) -> Result<(), IndexFull> {
        let Self(index) = self;
        let mark = index.texts.len();
        match index.mode {
            MatchMode::Exact => index.texts.push_str(entry.as_str()),
            MatchMode::Normalized => normalize(entry.as_str(), &mut index.texts),
        }
        let key_len = index.texts.len() - mark;
        if index.texts.get(mark..) != Some(entry.as_str()) {
            index.texts.push_str(entry.as_str());
        }
        let added = index.add_slot(mark, key_len);
        if !matches!(added, Ok(true)) {
            self.0.texts.truncate(mark);
        }
        added.map(|_| ())
    }

    /// Finishes the index.
    #[must_use]
    pub fn build(self) -> FraudIndex {
        let Self(mut index) = self;
        index.texts.shrink_to_fit();
        index.slots.shrink_to_fit();
        index
    }
}

impl FraudIndex {
    /// Adds the slot of the texts from `start` on; `false` when the key is there already.
    fn add_slot(&mut self, start: usize, key_len: usize) -> Result<bool, IndexFull> {
        let name_len = self.texts.len() - start - key_len;
        let slot = Slot {
            start: u32::try_from(start).map_err(|_| IndexFull)?,
            key_len: u16::try_from(key_len).map_err(|_| IndexFull)?,
            name_len: u16::try_from(name_len).map_err(|_| IndexFull)?,
        };
        let number = u32::try_from(self.slots.len()).map_err(|_| IndexFull)?;
        let key = self.texts.get(start..start + key_len).unwrap_or_default();
        let hash = self.hasher.hash_one(key);
        if self.table.find(hash, |&other| self.key(other) == key).is_some() {
            return Ok(false);
        }
        self.slots.push(slot);
        let Self { table, texts, slots, hasher, .. } = self;
        table.insert_unique(hash, number, |&other| {
            let slot = slots.get(other as usize);
            let key = slot.and_then(|slot| text(texts, slot.start as usize, slot.key_len));
            hasher.hash_one(key.unwrap_or_default())
        });
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(mode: MatchMode, names: &[&str]) -> FraudIndex {
        let mut builder = FraudIndexBuilder::new(mode);
        for name in names {
            builder.push(&ListEntry::new(name).unwrap()).unwrap();
        }
        builder.build()
    }

    fn found(index: &FraudIndex, name: &str) -> Option<String> {
        index.find(name).map(|entry| entry.as_str().to_owned())
    }

    #[test]
    fn a_hit_names_the_entry_as_it_was_published() {
        let index = index(MatchMode::Normalized, &["MALKEVICH,  Alexander", "plain"]);
        assert_eq!(found(&index, "malkevich, alexander").as_deref(), Some("MALKEVICH,  Alexander"));
        assert_eq!(found(&index, "PLAIN").as_deref(), Some("plain"));
        assert_eq!(found(&index, "malkevich"), None);
    }

    #[test]
    fn an_exact_index_compares_bytes() {
        let index = index(MatchMode::Exact, &["Ann"]);
        assert_eq!(found(&index, "Ann").as_deref(), Some("Ann"));
        assert_eq!(found(&index, "ann"), None);
    }

    #[test]
    fn equal_entries_count_once_and_the_first_spelling_stays() {
        let index = index(MatchMode::Normalized, &["Ann", "ANN", "Bob"]);
        assert_eq!(index.len(), 2);
        assert_eq!(found(&index, "aNN").as_deref(), Some("Ann"));
    }

    #[test]
    fn every_one_of_many_entries_is_found() {
        let names: Vec<String> = (0..10_000).map(|n| format!("Name {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let index = index(MatchMode::Normalized, &names);
        assert_eq!(index.len(), names.len());
        assert!(names.iter().all(|name| found(&index, &name.to_uppercase()).as_deref() == Some(name)));
    }
}
