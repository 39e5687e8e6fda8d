//! The keys of the fraud lists, and those of the parking lot. Those of each carry one hash tag, so that a cluster keeps
//! them on one node.

use mini_platform_core::domain::MatchMode;
use mini_platform_core::port::KEPT_VERSIONS;

/// Where the names of a kept list lie: one of as many places as lists are kept.
///
/// The places are fixed so that every key that a command or script touches is known to who sends it, as clusters
/// and access rules demand.
pub(crate) type Slot = u8;

/// The places, in order.
pub(crate) fn slots() -> impl Iterator<Item = Slot> {
    (0..).take(KEPT_VERSIONS)
}

/// The keys of the fraud lists of one match mode.
///
/// Each mode has lists of its own: names that were normalised for one mode would let others pass in the other.
#[derive(Debug, Clone)]
pub(crate) struct ListKeys {
    tag: String,
}

impl ListKeys {
    pub(crate) fn new(prefix: &str, mode: MatchMode) -> Self {
        let mode = match mode {
            MatchMode::Normalized => "normalized",
            MatchMode::Exact => "exact",
        };
        Self { tag: format!("{{{prefix}:list:{mode}}}") }
    }

    /// The record of which lists there are.
    pub(crate) fn state(&self) -> String {
        format!("{}:state", self.tag)
    }

    /// When the list in force was last confirmed.
    pub(crate) fn confirmed(&self) -> String {
        format!("{}:confirmed", self.tag)
    }

    /// The names of a kept list.
    pub(crate) fn names(&self, slot: Slot) -> String {
        format!("{}:names:{slot}", self.tag)
    }

    /// The names of a list on its way in.
    pub(crate) fn staging(&self, load: &str) -> String {
        format!("{}:load:{load}", self.tag)
    }
}

/// The keys of the parking lot, in the order in which its scripts know them.
pub(crate) fn lot_keys(prefix: &str) -> [String; 8] {
    ["state", "parcels", "parked", "dead", "queue", "lanes", "turns", "heads"]
        .map(|name| format!("{{{prefix}:parking}}:{name}"))
}

/// Whether keys and `SCAN` patterns can start with this text as it is.
pub(crate) fn is_prefix(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_mode_share_one_hash_tag_that_the_other_mode_has_not() {
        let keys = ListKeys::new("mp", MatchMode::Normalized);
        for key in [keys.state(), keys.confirmed(), keys.names(4), keys.staging("1f")] {
            assert!(key.starts_with("{mp:list:normalized}:"), "{key}");
        }
        assert!(ListKeys::new("mp", MatchMode::Exact).state().starts_with("{mp:list:exact}:"));
    }

    #[test]
    fn all_keys_of_the_parking_lot_share_one_hash_tag() {
        for key in lot_keys("mp") {
            assert!(key.starts_with("{mp:parking}:"), "{key}");
        }
    }

    #[test]
    fn a_prefix_survives_in_keys_and_patterns() {
        for (text, fits) in
            [("mp", true), ("a_b-c.d:1", true), ("", false), ("a{b", false), ("a*", false), ("é", false)]
        {
            assert_eq!(is_prefix(text), fits, "{text}");
        }
        assert!(!is_prefix(&"a".repeat(65)));
    }
}
