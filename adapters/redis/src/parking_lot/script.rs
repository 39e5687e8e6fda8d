//! A script of the parking lot.

use std::sync::OnceLock;

use redis::Script;

/// A script, and the hash by which a server knows it that ran it before.
pub(super) struct LotScript {
    text: &'static str,
    hash: OnceLock<String>,
}

impl LotScript {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    pub(super) fn text(&self) -> &'static str {
        self.text
    }

    pub(super) fn hash(&self) -> &str {
        self.hash.get_or_init(|| Script::new(self.text).get_hash().to_owned())
    }
}
