//! Where a walk over all clients is.

/// A place between two pages: a text of numbers, and maybe a name.
///
/// A server's cursor means something to that process alone, so the position says whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// A fingerprint of which node of a cluster serves what; zero of a single server.
    pub(super) layout: u64,
    /// The lowest slot of the node that is walked; its nodes are walked in this order.
    pub(super) slot: u16,
    /// A fingerprint of the process that gave the cursor.
    pub(super) process: u64,
    /// Where the next step starts.
    pub(super) cursor: u64,
    /// What is known of the next step because a part of its answer was on this page.
    pub(super) part: Option<Part>,
}

/// The part of a step's answer that was on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Where the step ended. When it ends there again, it passes the same clients.
    pub(super) end: u64,
    /// The last client, in byte order, on the page.
    pub(super) last: String,
}

impl Position {
    /// Whether it is where a node's walk starts, which any process can go on from.
    pub(super) fn is_start_of_node(&self) -> bool {
        self.cursor == 0 && self.part.is_none()
    }

    pub(super) fn to_text(&self) -> String {
        let Self { layout, slot, process, cursor, part } = self;
        let place = format!("{layout:x} {slot:x} {process:x} {cursor:x}");
        match part {
            None => place,
            Some(Part { end, last }) => format!("{place} {end:x} {last}"),
        }
    }

    /// Answers `None` for a text that is no position.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(6, ' ');
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        let (layout, slot, process, cursor) = (number()?, number()?, number()?, number()?);
        let part = match words.next() {
            None => None,
            Some(end) => {
                Some(Part { end: u64::from_str_radix(end, 16).ok()?, last: words.next()?.to_owned() })
            }
        };
        Some(Self { layout, slot: u16::try_from(slot).ok()?, process, cursor, part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let part = Part { end: u64::MAX, last: "a name 7".to_owned() };
        for part in [None, Some(part)] {
            let position = Position { layout: 1, slot: 16_383, process: u64::MAX, cursor: 7, part };
            assert_eq!(Position::parse(&position.to_text()), Some(position));
        }
    }

    #[test]
    fn what_is_no_position_is_not_read() {
        for text in ["", "1 2 3", "1 2 3 x", "1 10000 3 4", "1 2 3 4 5", "1 2 3 4 x ann"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }
}
