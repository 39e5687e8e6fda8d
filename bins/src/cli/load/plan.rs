//! What a load sends: a seeded stream of events of made-up clients.

use std::time::Duration;

use mini_platform_core::domain::Timestamp;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::event::{LoadEvent, id};

/// Of a hundred events, how many are transactions, and how many of the rest are deposits.
const TRANSACTIONS_PERCENT: u32 = 65;
const DEPOSITS_PERCENT: u32 = 55;

/// Branches of the run: few, as a bank has far fewer branches than clients.
const BRANCHES: usize = 20;

/// The largest amount, in minor units.
const MAX_AMOUNT: i64 = 1_500_000;

const CURRENCY: &str = "EUR";

/// An event to send, and whether one of its subjects is said to be on the fraud list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) event: LoadEvent,
    pub(super) listed: bool,
    /// Which client's event it is, below the number of clients; a listed name has none.
    pub(super) owner: Option<usize>,
}

/// Makes up events. The same seed makes the same ones, but for the run's name in ids, clients and branches, which
/// keeps runs apart, and for the time at which they occur.
#[derive(Debug)]
pub(super) struct Plan {
    rng: StdRng,
    run: String,
    clients: usize,
    /// Names of the fraud list, and how often an event involves one.
    listed: Vec<String>,
    share: f64,
}

impl Plan {
    /// Opens a plan for a run with so many clients, at least two.
    pub(super) fn new(run: &str, seed: u64, clients: usize, listed: &[String], share: f64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, run: run.to_owned(), clients: clients.max(2), listed: listed.to_vec(), share }
    }

    /// Makes the event with this number.
    pub(super) fn next(&mut self, number: u64, occurred_at: Timestamp) -> Planned {
        let owner = self.rng.random_range(0..self.clients);
        let other = (owner + self.rng.random_range(1..self.clients)) % self.clients;
        let branch = self.rng.random_range(0..BRANCHES);
        let listed = self.draw_listed();
        let is_transaction = self.rng.random_ratio(TRANSACTIONS_PERCENT, 100);
        let is_deposit = self.rng.random_ratio(DEPOSITS_PERCENT, 100) && listed.is_none();
        let mut event = LoadEvent {
            id: id(&self.run, number),
            amount: self.rng.random_range(1..=MAX_AMOUNT),
            currency: CURRENCY.into(),
            occurred_at: occurred_at.to_string(),
            ..LoadEvent::default()
        };
        let is_listed = listed.is_some();
        let owner = (is_transaction || !is_listed).then_some(owner);
        if is_transaction {
            event.sender = owner.map(|owner| self.client(owner));
            event.receiver = Some(listed.unwrap_or_else(|| self.client(other)));
        } else {
            event.client = listed.or_else(|| owner.map(|owner| self.client(owner)));
            event.branch = Some(format!("Branch {branch} / {}", self.run));
            event.operation = Some(if is_deposit { "deposit" } else { "withdraw" }.into());
        }
        Planned { event, listed: is_listed, owner }
    }

    fn draw_listed(&mut self) -> Option<String> {
        let is_listed = self.rng.random_bool(self.share);
        let name = self.listed.choose(&mut self.rng);
        name.filter(|_| is_listed).cloned()
    }

    /// Makes a name that no path, key or log may stumble over.
    fn client(&self, index: usize) -> String {
        format!("Zoë O'Neill №{index} 100% / {}", self.run)
    }
}

/// Returns how long after the first event the one with this number is due.
pub(super) fn due_after(number: u64, rate: u32) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn events(seed: u64, listed: &[String], share: f64) -> Vec<Planned> {
        let mut plan = Plan::new("r1", seed, 50, listed, share);
        (0..4_000).map(|number| plan.next(number, Timestamp::UNIX_EPOCH)).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_events_and_another_makes_others() {
        assert_eq!(events(7, &[], 0.0), events(7, &[], 0.0));
        assert_ne!(events(7, &[], 0.0), events(8, &[], 0.0));
    }

    #[test]
    fn events_are_of_every_kind_between_the_clients_of_the_run() {
        let made = events(1, &[], 0.5);
        let kinds: BTreeSet<_> = made.iter().map(|planned| planned.event.operation.clone()).collect();
        assert_eq!(kinds.len(), 3, "transactions, deposits, withdrawals: {kinds:?}");
        let clients: BTreeSet<_> = made.iter().flat_map(|planned| planned.event.parties()).collect();
        assert_eq!(clients.len(), 50);
        assert!(
            made.iter()
                .all(|planned| planned.event.sender != planned.event.receiver
                    || !planned.event.is_transaction())
        );
        let ids: BTreeSet<_> = made.iter().map(|planned| &planned.event.id).collect();
        assert_eq!(ids.len(), made.len());
    }

    #[test]
    fn a_listed_name_is_always_a_subject() {
        let listed = ["Mallory".to_owned()];
        let made = events(1, &listed, 0.1);
        let hits: Vec<_> = made.iter().filter(|planned| planned.listed).collect();
        assert!((300..500).contains(&hits.len()), "{}", hits.len());
        for Planned { event, owner, .. } in hits {
            let withdraws =
                event.operation.as_deref() == Some("withdraw") && event.client.as_deref() == Some("Mallory");
            assert!(withdraws || event.receiver.as_deref() == Some("Mallory"), "{event:?}");
            assert_eq!(owner.is_some(), event.is_transaction());
        }
        let honest = made.iter().filter(|planned| !planned.listed);
        assert!(honest.flat_map(|planned| planned.event.parties()).all(|party| party != "Mallory"));
    }

    #[test]
    fn events_are_due_evenly_and_without_drift() {
        assert_eq!(due_after(0, 2_000), Duration::ZERO);
        assert_eq!(due_after(1, 2_000), Duration::from_micros(500));
        assert_eq!(due_after(7_200_000, 2_000), Duration::from_secs(3_600));
        assert_eq!(due_after(3, 3), Duration::from_secs(1));
    }
}
