//! A link as a member of its client's set.
//!
//! ```text
//! kind (1 byte) | neighbour | 0 | side (1 byte) | microseconds since 1970, sign bit flipped (8 bytes, big-endian)
//! ```
//!
//! Ids have no control characters, so the zero ends the neighbour and sorts it before all that it is the start
//! of: the byte order of members is that of neighbours. The sides of a neighbour lie side by side.

use mini_platform_core::domain::{ClientId, Edge, Side, Timestamp};

const END: u8 = 0;
const TIME_BYTES: usize = 8;
const SIGN: u64 = 1 << 63;

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Branch = b'b',
    Interaction = b'i',
}

/// A member, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub(super) neighbour: &'a str,
    /// On which side the client stood; a branch has none.
    pub(super) side: Option<Side>,
    pub(super) at: Timestamp,
}

impl<'a> Member<'a> {
    /// Answers `None` for what is none.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (rest, time) = bytes.split_last_chunk::<TIME_BYTES>()?;
        let [_, neighbour @ .., END, side] = rest else { return None };
        let side = match side {
            b's' => Some(Side::Sent),
            b'r' => Some(Side::Received),
            b'-' => None,
            _ => return None,
        };
        let micros = (u64::from_be_bytes(*time) ^ SIGN).cast_signed();
        let at = Timestamp::from_micros(micros).ok()?;
        Some(Self { neighbour: std::str::from_utf8(neighbour).ok()?, side, at })
    }
}

/// Makes the member of an edge, and says whose it is.
pub(super) fn of_edge(edge: &Edge) -> (&ClientId, Vec<u8>) {
    match edge {
        Edge::Interaction { client, counterparty, side, at } => {
            let side = match side {
                Side::Sent => b's',
                Side::Received => b'r',
            };
            (client, write(Kind::Interaction, counterparty.as_str(), side, *at))
        }
        Edge::Branch { client, branch, at } => (client, write(Kind::Branch, branch.as_str(), b'-', *at)),
    }
}

fn write(kind: Kind, neighbour: &str, side: u8, at: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(neighbour.len() + 3 + TIME_BYTES);
    bytes.push(kind as u8);
    bytes.extend_from_slice(neighbour.as_bytes());
    bytes.extend_from_slice(&[END, side]);
    bytes.extend_from_slice(&(at.as_micros().cast_unsigned() ^ SIGN).to_be_bytes());
    bytes
}

/// The bounds, in the words of Redis, of the members of a kind whose neighbours come after one.
pub(super) fn range_behind(kind: Kind, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let kind = kind as u8;
    let mut from = vec![b'[', kind];
    if let Some(after) = after {
        from.extend_from_slice(after.as_bytes());
        from.push(END + 1);
    }
    (from, vec![b'(', kind + 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use mini_platform_core::testkit::{at, branch, client};

    fn interaction(name: &str, side: Side, at: Timestamp) -> Vec<u8> {
        of_edge(&Edge::Interaction { client: client("ann"), counterparty: client(name), side, at }).1
    }

    #[test]
    fn a_member_is_read_as_it_was_written() {
        let (first, last) = ("0001-01-01T00:00:00Z", "9999-12-30T22:00:00Z");
        for time in [first.parse().unwrap(), at(-1), at(0), at(1), last.parse().unwrap()] {
            for side in [Side::Sent, Side::Received] {
                let bytes = interaction("b {ö}", side, time);
                assert_eq!(
                    Member::read(&bytes),
                    Some(Member { neighbour: "b {ö}", side: Some(side), at: time })
                );
            }
        }
        let bytes = of_edge(&Edge::Branch { client: client("ann"), branch: branch("x"), at: at(1) }).1;
        assert_eq!(Member::read(&bytes), Some(Member { neighbour: "x", side: None, at: at(1) }));
    }

    #[test]
    fn no_time_reaches_the_byte_that_ends_a_search() {
        let last = "9999-12-30T22:00:00Z".parse().unwrap();
        let bytes = interaction("bob", Side::Sent, last);
        assert!(bytes[bytes.len() - TIME_BYTES] < u8::MAX);
    }

    #[test]
    fn members_are_ordered_as_neighbours_are_whatever_their_times() {
        let names = ["a", "a b", "a!", "aa", "b", "é"];
        let members: Vec<_> = names
            .iter()
            .zip((0..6).rev())
            .map(|(name, time)| interaction(name, Side::Sent, at(time)))
            .collect();
        assert!(members.is_sorted());
    }

    #[test]
    fn a_range_starts_behind_all_links_of_a_neighbour_and_before_the_next() {
        let (from, to) = range_behind(Kind::Interaction, Some("a"));
        let (from, to) = (from[1..].to_vec(), to[1..].to_vec());
        let latest = "9999-12-30T22:00:00Z".parse().unwrap();
        assert!(interaction("a", Side::Sent, latest) < from);
        assert!(interaction("a b", Side::Received, at(0)) > from);
        assert!(interaction("\u{10FFFF}", Side::Sent, latest) < to);
        assert!(of_edge(&Edge::Branch { client: client("a"), branch: branch("zz"), at: latest }).1 < from);
    }

    #[test]
    fn what_is_no_member_is_not_read() {
        let good = interaction("bob", Side::Sent, at(1));
        let mut side = good.clone();
        side[5] = b'x';
        let mut time = good.clone();
        time[6] = 0;
        for bad in [&b""[..], b"i", &good[..good.len() - 1], &side, &time, b"i\xff\0s\x80\0\0\0\0\0\0\0"] {
            assert_eq!(Member::read(bad), None, "{bad:?}");
        }
    }
}
