//! Keys, in an order that makes every query one or two ranges.
//!
//! A client id leads its keys, with its length in front so that no client's range holds another's keys, and a
//! role or kind follows:
//!
//! - `timeline`: client, role, time, event id
//! - `links`: client, kind, neighbour
//! - `lists`: list number, chunk number
//!
//! Keys of `events` are the bytes of the event id; keys of `clients`, where they stand in order, those of the
//! client id; keys of `parcels` and `contents` those of the parcel id.
//!
//! In front of a client's keys in `timeline` and `links` stands a hash of its id. Nobody asks there for clients in
//! order, and the engine's memtables hold the first four bytes of a key in place: when these differ, a step of a
//! search costs no cache miss. Names begin alike, their hashes do not.

use std::ops::Bound;

use mini_platform_core::domain::{EventPosition, EventQuery, NeighbourQuery, PartyRole, Timestamp};

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkKind {
    Sent,
    Received,
    Branch,
}

impl LinkKind {
    fn tag(self) -> u8 {
        match self {
            Self::Sent => 0,
            Self::Received => 1,
            Self::Branch => 2,
        }
    }
}

/// A range of keys.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn role_tag(role: PartyRole) -> u8 {
    match role {
        PartyRole::Sender => 0,
        PartyRole::Receiver => 1,
        PartyRole::Depositor => 2,
        PartyRole::Withdrawer => 3,
    }
}

/// What stands in a key beside the client's id, up to and with the tag.
const CLIENT_OVERHEAD: usize = 6;

/// FNV-1a, which must never change: it is on the disk.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Starts a key: a hash, the length of the client id less one, which fits a byte as ids have 1 to 256 bytes,
/// the id, and a tag.
fn push_client(key: &mut Vec<u8>, client: &str, tag: u8) {
    key.extend_from_slice(&hash(client).to_be_bytes());
    let length = u8::try_from(client.len().saturating_sub(1));
    debug_assert!(length.is_ok(), "a client id has at most 256 bytes");
    key.push(length.unwrap_or(u8::MAX));
    key.extend_from_slice(client.as_bytes());
    key.push(tag);
}

fn client_key(client: &str, tag: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(client.len() + 80);
    push_client(&mut key, client, tag);
    key
}

/// The bytes of a time, in its order.
fn time_bytes(at: Timestamp) -> [u8; 8] {
    (at.as_micros().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Writes the timeline key of one party of an event.
pub(crate) fn write_timeline(key: &mut Vec<u8>, client: &str, role: PartyRole, at: Timestamp, id: &str) {
    key.clear();
    push_client(key, client, role_tag(role));
    key.extend_from_slice(&time_bytes(at));
    key.extend_from_slice(id.as_bytes());
}

/// Returns what orders the keys of one client and role, as bytes: time, then event id.
pub(crate) fn timeline_order<'a>(key: &'a [u8], client: &str) -> Option<&'a [u8]> {
    key.get(client.len() + CLIENT_OVERHEAD..)
}

/// Returns the event id of a timeline key, as bytes.
pub(crate) fn timeline_event<'a>(key: &'a [u8], client: &str) -> Option<&'a [u8]> {
    key.get(client.len() + CLIENT_OVERHEAD + size_of::<i64>()..)
}

/// Returns the timeline keys that can answer a query about one role; `None` when none can.
pub(crate) fn timeline_range(query: &EventQuery, role: PartyRole) -> Option<KeyRange> {
    let client = query.client().as_str();
    let prefix = client_key(client, role_tag(role));
    let mut start = prefix.clone();
    if let Some(from) = query.range().from {
        start.extend_from_slice(&time_bytes(from));
    }
    let end_of_role = client_key(client, role_tag(role) + 1);
    let ends = [
        query.range().to.map(|to| with_time(&prefix, to)),
        query.after().map(|at| with_position(&prefix, at)),
    ];
    let end = ends.into_iter().flatten().fold(end_of_role, Ord::min);
    (start < end).then_some((Bound::Included(start), Bound::Excluded(end)))
}

fn with_time(prefix: &[u8], at: Timestamp) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.extend_from_slice(&time_bytes(at));
    key
}

fn with_position(prefix: &[u8], position: &EventPosition) -> Vec<u8> {
    let mut key = with_time(prefix, position.at);
    key.extend_from_slice(position.id.as_str().as_bytes());
    key
}

/// Writes the key of a link.
pub(crate) fn write_link(key: &mut Vec<u8>, client: &str, kind: LinkKind, neighbour: &str) {
    key.clear();
    push_client(key, client, kind.tag());
    key.extend_from_slice(neighbour.as_bytes());
}

/// Returns the neighbour of a link key of a client with an id of so many bytes.
pub(crate) fn link_neighbour(key: &[u8], client_bytes: usize) -> Option<&[u8]> {
    key.get(client_bytes + CLIENT_OVERHEAD..)
}

/// Returns the link keys that can answer a query.
pub(crate) fn link_range(query: &NeighbourQuery, kind: LinkKind) -> KeyRange {
    let client = query.client().as_str();
    let mut start = client_key(client, kind.tag());
    let end = client_key(client, kind.tag() + 1);
    if let Some(after) = query.after() {
        start.extend_from_slice(after.as_bytes());
    }
    // No neighbour is empty, so nothing lies at the bare start.
    (Bound::Excluded(start), Bound::Excluded(end))
}

/// A tag above those of all roles and kinds.
const PAST_ALL_TAGS: u8 = u8::MAX;

/// Returns where in `timeline` and in `links` the keys of a client end.
pub(crate) fn end_of_client(client: &str) -> Vec<u8> {
    client_key(client, PAST_ALL_TAGS)
}

/// Returns the client id of a key of `timeline` or `links`, as bytes.
pub(crate) fn client_of(key: &[u8]) -> Option<&[u8]> {
    let (length, rest) = key.get(size_of::<u32>()..)?.split_first()?;
    rest.get(..=usize::from(*length))
}

/// Returns the key of a chunk of a fraud list.
pub(crate) fn list_chunk(list: u64, chunk: u32) -> [u8; 12] {
    let mut key = [0; 12];
    let (first, second) = key.split_at_mut(8);
    first.copy_from_slice(&list.to_be_bytes());
    second.copy_from_slice(&chunk.to_be_bytes());
    key
}

/// Returns the list number of a chunk's key.
pub(crate) fn list_of_chunk(key: &[u8]) -> Option<u64> {
    key.first_chunk().map(|number| u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;

    use mini_platform_core::domain::{ClientId, EventFilter, TimeRange};

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    fn timeline(client: &str, role: PartyRole, micros: i64, id: &str) -> Vec<u8> {
        let mut key = Vec::new();
        write_timeline(&mut key, client, role, at(micros), id);
        key
    }

    fn contains((start, end): &KeyRange, key: &[u8]) -> bool {
        let range = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
        RangeBounds::<[u8]>::contains(&range, key)
    }

    #[test]
    fn timeline_keys_order_by_time_before_and_after_1970_and_then_by_id() {
        let role = PartyRole::Sender;
        let keys = [(-1, "z"), (0, "a"), (0, "b"), (1, "a"), (1 << 40, "a")]
            .map(|(t, id)| timeline("ann", role, t, id));
        assert!(keys.is_sorted());
    }

    #[test]
    fn a_range_never_holds_keys_of_a_client_with_a_longer_or_shorter_name() {
        let names = ["a", "aa", "a\u{1}", "b", "\u{10ffff}", "ab"].map(str::to_owned);
        let long = ["x".repeat(255), "x".repeat(256)];
        for client in names.iter().chain(&long) {
            let Ok(id) = ClientId::new(client) else { continue };
            let range =
                timeline_range(&EventQuery::new(id, EventFilter::Received), PartyRole::Receiver).unwrap();
            for other in names.iter().chain(&long) {
                for role in [PartyRole::Sender, PartyRole::Receiver, PartyRole::Depositor] {
                    let mine = other == client && role == PartyRole::Receiver;
                    assert_eq!(
                        contains(&range, &timeline(other, role, 0, "e")),
                        mine,
                        "{client:?} {other:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_range_holds_its_start_and_not_its_end() {
        let range = TimeRange { from: Some(at(10)), to: Some(at(20)) };
        let query = EventQuery::new(ClientId::new("ann").unwrap(), EventFilter::Sent).with_range(range);
        let keys = timeline_range(&query, PartyRole::Sender).unwrap();
        let inside = |micros| contains(&keys, &timeline("ann", PartyRole::Sender, micros, "e"));
        assert_eq!([9, 10, 19, 20].map(inside), [false, true, true, false]);
    }

    #[test]
    fn a_range_that_ends_before_it_starts_holds_nothing() {
        let range = TimeRange { from: Some(at(20)), to: Some(at(10)) };
        let query = EventQuery::new(ClientId::new("ann").unwrap(), EventFilter::Sent).with_range(range);
        assert_eq!(timeline_range(&query, PartyRole::Sender), None);
    }

    #[test]
    fn a_key_gives_back_what_it_was_made_of() {
        let key = timeline("ann", PartyRole::Sender, 7, "e1");
        assert_eq!(timeline_event(&key, "ann"), Some("e1".as_bytes()));
        assert_eq!(timeline_order(&key, "ann").map(<[u8]>::len), Some(10));
        assert_eq!(timeline_event(&[1, 2], "ann"), None);
    }

    #[test]
    fn a_key_names_its_client_and_lies_before_the_end_of_it() {
        for name in ["a", "ann", &"x".repeat(256)] {
            let key = timeline(name, PartyRole::Withdrawer, i64::MAX / 1_000_000, "~");
            assert_eq!(client_of(&key), Some(name.as_bytes()));
            assert!(key < end_of_client(name), "{name}");
        }
        assert_eq!(client_of(b"hash\x03ann"), None, "an id that is cut");
        assert_eq!(client_of(b"hash"), None);
    }

    #[test]
    fn the_form_of_keys_on_the_disk_stays_as_it_is() {
        let key = timeline("ann", PartyRole::Receiver, 1, "e1");
        let expected: &[u8] = b"\x15\x29\xcc\x18\x02ann\x01\x80\0\0\0\0\0\0\x01e1";
        assert_eq!(key, expected);
    }

    #[test]
    fn links_of_one_kind_never_show_up_in_the_range_of_the_other() {
        let mut key = Vec::new();
        write_link(&mut key, "ann", LinkKind::Branch, "Praha");
        let query = NeighbourQuery::new(ClientId::new("ann").unwrap());
        assert!(contains(&link_range(&query, LinkKind::Branch), &key));
        for other in [LinkKind::Sent, LinkKind::Received] {
            assert!(!contains(&link_range(&query, other), &key));
        }
        assert_eq!(link_neighbour(&key, 3), Some("Praha".as_bytes()));
    }
}
