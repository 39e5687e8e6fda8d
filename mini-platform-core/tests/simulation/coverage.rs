//! What the seeds met, so that a simulation which meets nothing does not pass for one that finds nothing.

use std::collections::BTreeMap;

use mini_platform_core::domain::ParkReason;

use super::weather::all_faults;

/// What some seed must meet beside every fault.
const RARE: [&str; 40] = [
    "a batch is at two workers at once",
    "a call is answered to nobody",
    "a client gives up",
    "a client hears nothing",
    "a clock jumps ahead",
    "a clock jumps back",
    "a dead letter is of a stored event",
    "a dead letter is redriven",
    "a dispatcher crashes",
    "a dispatcher is stopped",
    "a list is replaced",
    "a list is rolled back",
    "a parcel is settled: dead",
    "a parcel is settled: done as conflict",
    "a parcel is settled: done as duplicate",
    "a parcel is settled: done as fraudulent",
    "a parcel is settled: done as stored",
    "a parcel is settled: lease lost",
    "a parcel is settled: postponed",
    "a parcel is settled: retried",
    "a stored event was called fraudulent as well",
    "a stored event without a link is nobody's",
    "a worker crashes",
    "a worker crashes between append and link",
    "a worker is stopped",
    "a worker meets poison",
    "all workers crash",
    "an outage ends",
    "an outbox is full",
    "answered: conflict",
    "answered: duplicate",
    "answered: fraudulent",
    "answered: parked",
    "answered: refused: lot",
    "answered: refused: overloaded",
    "answered: stored",
    "something strange is parked",
    "the lot is full",
    "the lot restarts",
    "the lot restarts and forgets",
];

#[derive(Debug, Default, Clone)]
pub(crate) struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    pub(crate) fn meet(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// Returns what no seed met and some should.
    pub(crate) fn missing(&self) -> Vec<String> {
        let rare = RARE.iter().map(|what| (*what).to_owned());
        let reasons = ParkReason::ALL.iter().map(|reason| format!("parked for {}", reason.as_str()));
        rare.chain(reasons).chain(all_faults()).filter(|what| !self.0.contains_key(what)).collect()
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(what, count)| format!("{count:>9} {what}"))
    }
}
