//! The record of which fraud lists there are, and what becomes of it. Pure: nothing here talks to Redis.

use mini_platform_core::domain::{ListInfo, ListVersion, Timestamp};
use mini_platform_core::port::KEPT_VERSIONS;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::keys::{Slot, slots};

/// The form of the record, and of the names beside it. Another one is not touched.
const FORMAT: u8 = 1;

/// Which lists there are. One JSON text in Redis, so that it is replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lists {
    format: u8,
    /// The newest publication that was ever in force.
    newest: Option<ListVersion>,
    /// The list that is in force, by its load.
    in_force: Option<String>,
    /// Newest publication first.
    kept: Vec<KeptList>,
}

/// A list that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptList {
    /// Where its names lie.
    pub(crate) slot: Slot,
    /// Names the replacement that brought it, of all that there ever were.
    pub(crate) load: String,
    /// The sum of its names; see [`checksum`].
    pub(crate) checksum: u64,
    pub(crate) version: ListVersion,
    pub(crate) entries: u64,
    pub(crate) source: String,
    pub(crate) loaded_at: Timestamp,
}

/// A list whose names are written, before it has a place.
#[derive(Debug, Clone)]
pub(crate) struct NewList {
    pub(crate) load: String,
    pub(crate) checksum: u64,
    pub(crate) info: ListInfo,
}

impl Default for Lists {
    fn default() -> Self {
        Self { format: FORMAT, newest: None, in_force: None, kept: Vec::new() }
    }
}

/// What a new list does to the record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Installed {
    Stale {
        newest: ListVersion,
    },
    /// `freed` are the places whose names are dropped; the new list's own is the last.
    Next {
        lists: Box<Lists>,
        slot: Slot,
        freed: Vec<Slot>,
    },
}

impl Lists {
    pub(crate) fn read(raw: Option<&[u8]>) -> Result<Self, Failure> {
        let Some(raw) = raw else { return Ok(Self::default()) };
        let lists: Self = serde_json::from_slice(raw).map_err(|_| Failure::Corrupt(UNREADABLE))?;
        let fits =
            lists.format == FORMAT && lists.kept.iter().all(|list| slots().any(|slot| slot == list.slot));
        if fits { Ok(lists) } else { Err(Failure::Corrupt(UNREADABLE)) }
    }

    pub(crate) fn write(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self)
            .map_err(|_| Failure::Internal("the record of the fraud lists cannot be written"))
    }

    pub(crate) fn in_force(&self) -> Option<&KeptList> {
        self.by_load(self.in_force.as_deref()?)
    }

    pub(crate) fn kept(&self) -> &[KeptList] {
        &self.kept
    }

    pub(crate) fn find(&self, version: &ListVersion) -> Option<&KeptList> {
        self.kept.iter().find(|list| list.version == *version)
    }

    pub(crate) fn by_load(&self, load: &str) -> Option<&KeptList> {
        self.kept.iter().find(|list| list.load == load)
    }

    /// Returns the newest publication when a version is not newer, so that it may not come into force.
    ///
    /// The list in force may come again when names of it are lost: else it could be mended by no one.
    pub(crate) fn refuses(
        &self,
        version: &ListVersion,
        is_whole: impl Fn(&KeptList) -> bool,
    ) -> Option<&ListVersion> {
        let newest = self.newest.as_ref()?;
        let mends = || self.in_force().is_some_and(|list| list.version == *version && !is_whole(list));
        (version <= newest && !mends()).then_some(newest)
    }

    /// Returns the record with a new list in force. Kept lists that lost names are dropped.
    pub(crate) fn install(&self, new: NewList, is_whole: impl Fn(&KeptList) -> bool) -> Installed {
        if let Some(newest) = self.refuses(&new.info.version, &is_whole) {
            return Installed::Stale { newest: newest.clone() };
        }
        let mut kept: Vec<KeptList> = self.kept.iter().filter(|list| is_whole(list)).cloned().collect();
        kept.truncate(KEPT_VERSIONS - 1);
        let is_free = |slot: &Slot| kept.iter().all(|list| list.slot != *slot);
        let mut freed: Vec<Slot> = slots().filter(is_free).collect();
        // One list fewer is kept than there are places.
        let slot = freed.pop().unwrap_or_default();
        freed.push(slot);
        let NewList { load, checksum, info } = new;
        let ListInfo { version, entries, source, loaded_at, .. } = info;
        let newest = self.newest.clone().max(Some(version.clone()));
        kept.push(KeptList { slot, load: load.clone(), checksum, version, entries, source, loaded_at });
        kept.sort_by(|one, other| other.version.cmp(&one.version));
        let lists = Box::new(Self { format: FORMAT, newest, in_force: Some(load), kept });
        Installed::Next { lists, slot, freed }
    }

    /// Returns when a list was last confirmed, or loaded if that was later; `noted` is the time beside the record.
    pub(crate) fn confirmed_at(&self, noted: Option<Timestamp>) -> Option<Timestamp> {
        self.kept.iter().map(|list| list.loaded_at).chain(noted).max()
    }

    /// Returns what is known of a kept list.
    pub(crate) fn info(&self, list: &KeptList, noted: Option<Timestamp>) -> ListInfo {
        let KeptList { version, entries, source, loaded_at, .. } = list.clone();
        let is_in_force = self.in_force.as_ref() == Some(&list.load);
        let confirmed_at = self.confirmed_at(noted).filter(|_| is_in_force).unwrap_or(loaded_at);
        ListInfo { version, entries, source, loaded_at, confirmed_at }
    }

    /// Returns the record with a kept list back in force.
    pub(crate) fn with_in_force(&self, list: &KeptList) -> Self {
        Self { in_force: Some(list.load.clone()), ..self.clone() }
    }
}

const UNREADABLE: &str = "the record of the fraud lists is damaged or of another program version; \
                          delete its key and feed the list again";

/// Adds a name and its published spelling to the sum of a list's names. The order does not matter, so that the
/// names can be read back in any order and yet be known to be all, each once.
pub(crate) fn checksum(sum: u64, key: &[u8], published: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(key);
    // No UTF-8 text holds this byte.
    hasher.write(&[0xff]);
    hasher.write(published);
    sum.wrapping_add(hasher.finish())
}

#[cfg(test)]
mod tests {
    use mini_platform_core::testkit::{at, list_version};

    use super::*;

    fn new(published_at: i64) -> NewList {
        let info = ListInfo {
            version: list_version(published_at),
            entries: 1,
            source: "test".to_owned(),
            loaded_at: at(0),
            confirmed_at: at(0),
        };
        NewList { load: format!("load{published_at}"), checksum: 7, info }
    }

    fn whole(_: &KeptList) -> bool {
        true
    }

    fn installed(lists: &Lists, published_at: i64) -> Lists {
        match lists.install(new(published_at), whole) {
            Installed::Next { lists, .. } => *lists,
            stale @ Installed::Stale { .. } => panic!("{published_at} is newer: {stale:?}"),
        }
    }

    fn versions(lists: &Lists) -> Vec<ListVersion> {
        lists.kept().iter().map(|list| list.version.clone()).collect()
    }

    #[test]
    fn a_record_survives_its_text_form() {
        let lists = installed(&installed(&Lists::default(), 1), 2);
        assert_eq!(Lists::read(Some(&lists.write().unwrap())), Ok(lists));
        assert_eq!(Lists::read(None), Ok(Lists::default()));
    }

    #[test]
    fn a_record_of_lists_is_read_as_it_was_always_written() {
        let list =
            r#""load":"a","checksum":7,"version":"1970-01-01T00:00:01Z_v1","entries":2,"source":"file:x""#;
        let kept = format!(r#"{{"slot":0,{list},"loaded_at":5000000}}"#);
        let record = format!(r#"{{"format":1,"newest":null,"in_force":"a","kept":[{kept}]}}"#);
        let lists = Lists::read(Some(record.as_bytes())).unwrap();
        let info = lists.info(lists.in_force().unwrap(), None);
        assert_eq!((info.entries, info.source.as_str()), (2, "file:x"));
        assert_eq!((info.loaded_at, info.confirmed_at), (at(5), at(5)));
        assert_eq!(String::from_utf8(lists.write().unwrap()).unwrap(), record);
    }

    #[test]
    fn another_format_or_place_is_not_touched() {
        let lists = installed(&Lists::default(), 1);
        for damaged in [
            b"{}".to_vec(),
            serde_json::to_vec(&Lists { format: 2, ..lists.clone() }).unwrap(),
            serde_json::to_vec(&Lists { kept: vec![KeptList { slot: 9, ..lists.kept[0].clone() }], ..lists })
                .unwrap(),
        ] {
            assert_eq!(Lists::read(Some(&damaged)), Err(Failure::Corrupt(UNREADABLE)));
        }
    }

    #[test]
    fn the_oldest_list_makes_room_and_its_place_is_used_again() {
        let mut lists = Lists::default();
        for published_at in 1..=9 {
            lists = installed(&lists, published_at);
            let mut slots: Vec<Slot> = lists.kept().iter().map(|list| list.slot).collect();
            slots.sort_unstable();
            slots.dedup();
            assert_eq!(slots.len(), lists.kept().len(), "every list has a place of its own");
        }
        assert_eq!(versions(&lists), [9, 8, 7, 6, 5].map(list_version));
        assert_eq!(lists.in_force().unwrap().version, list_version(9));
    }

    #[test]
    fn what_is_not_newer_than_all_that_was_is_stale_even_after_a_rollback() {
        let lists = installed(&installed(&Lists::default(), 1), 2);
        let back = lists.with_in_force(lists.find(&list_version(1)).unwrap());
        assert_eq!(back.in_force().unwrap().version, list_version(1));
        for published_at in [1, 2] {
            let answer = back.install(new(published_at), whole);
            assert_eq!(answer, Installed::Stale { newest: list_version(2) });
        }
    }

    #[test]
    fn a_list_in_force_that_lost_names_may_come_again_and_no_other_old_one() {
        let lists = installed(&installed(&Lists::default(), 1), 2);
        let lost = |list: &KeptList| list.version != list_version(2);
        assert_eq!(lists.install(new(1), lost), Installed::Stale { newest: list_version(2) });
        let mended = NewList { load: "again".to_owned(), ..new(2) };
        let Installed::Next { lists, .. } = lists.install(mended, lost) else { panic!("it is mended") };
        assert_eq!(lists.in_force().unwrap().load, "again");
        assert_eq!(versions(&lists), [2, 1].map(list_version));
    }

    #[test]
    fn kept_lists_that_lost_names_are_dropped_by_the_next_list() {
        let lists = installed(&installed(&Lists::default(), 1), 2);
        let lost = lists.find(&list_version(1)).unwrap().slot;
        let answer = lists.install(new(3), |list| list.version != list_version(1));
        let Installed::Next { lists, freed, .. } = answer else { panic!("it is newer") };
        assert_eq!(versions(&lists), [3, 2].map(list_version));
        assert!(freed.contains(&lost), "its names are removed");
    }

    #[test]
    fn a_checksum_does_not_depend_on_the_order_and_tells_names_apart() {
        let sum = |names: &[(&str, &str)]| {
            names.iter().fold(0, |sum, (key, name)| checksum(sum, key.as_bytes(), name.as_bytes()))
        };
        assert_eq!(sum(&[("a", "A"), ("b", "B")]), sum(&[("b", "B"), ("a", "A")]));
        assert_ne!(sum(&[("a", "A"), ("b", "B")]), sum(&[("a", "A"), ("a", "A")]));
        assert_ne!(sum(&[("ab", "c")]), sum(&[("a", "bc")]));
    }
}
