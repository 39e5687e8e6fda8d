//! `IngestService`: a dispatcher, served to submitters of many events or reached by one.

mod client;
mod intake;
mod server;
#[cfg(test)]
mod tests;
mod turns;

pub use client::IngestClient;
pub(crate) use server::service;

use std::fmt;
use std::sync::Arc;

use mini_platform_core::domain::Currency;
use mini_platform_core::port::Clock;

/// How submissions are completed.
#[derive(Clone)]
pub struct IngestRules {
    /// The currency of events that name none.
    pub default_currency: Currency,
    /// Says when events were received that name no time, and dates the ids that are made for them.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for IngestRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestRules")
            .field("default_currency", &self.default_currency)
            .finish_non_exhaustive()
    }
}
