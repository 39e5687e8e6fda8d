//! What a reconciliation came to.

use super::client::Reconciled;
use super::difference::{Difference, DifferenceKind};

/// How many links differed, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DifferenceCounts {
    /// Links that were not there.
    pub missing: u64,
    /// Links with too early a time.
    pub older: u64,
    /// Links with too late a time.
    pub newer: u64,
    /// Links that no event implies.
    pub surplus: u64,
}

impl DifferenceCounts {
    /// Returns how many links differed.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { missing, older, newer, surplus } = self;
        missing + older + newer + surplus
    }

    fn add(&mut self, difference: &Difference) {
        *match difference.kind {
            DifferenceKind::Missing { .. } => &mut self.missing,
            DifferenceKind::Older { .. } => &mut self.older,
            DifferenceKind::Newer { .. } => &mut self.newer,
            DifferenceKind::Surplus { .. } => &mut self.surplus,
        } += 1;
    }
}

/// What a reconciliation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReconcileReport {
    /// Clients that were compared.
    pub clients: u64,
    /// Events that were read. A transaction is read twice, once for each of its clients.
    pub events: u64,
    /// Links that were there: one a side of an interaction, one a branch.
    pub links: u64,
    /// What differed.
    pub differences: DifferenceCounts,
    /// How many differences were repaired.
    pub repaired: u64,
    /// Whether all clients were compared: it was not told to stop before the end.
    pub is_complete: bool,
}

impl ReconcileReport {
    pub(super) fn add(&mut self, client: &Reconciled) {
        self.clients += 1;
        self.events += client.events;
        self.links += client.links;
        client.differences.iter().for_each(|difference| self.differences.add(difference));
        if client.is_repaired {
            self.repaired += client.differences.len() as u64;
        }
    }
}
