//! The made-up bank: a seeded stream of events that looks like a working day.

use std::time::Duration;

use mini_platform_core::domain::Timestamp;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::cli::event_line::EventLine;
use crate::cli::rows::{Row, RowSource};

const FIRST_NAMES: [&str; 16] = [
    "Václav", "Jana", "Petr", "Lucie", "Ondřej", "Zuzana", "Amélie", "Björn", "Chidi", "Fatima", "Giulia",
    "Hiroshi", "Ingrid", "João", "Leila", "Søren",
];

const LAST_NAMES: [&str; 16] = [
    "Novák",
    "Dvořáková",
    "Svoboda",
    "Horáková",
    "Okafor",
    "Lindqvist",
    "Moreau",
    "Rossi",
    "Tanaka",
    "Almeida",
    "Haddad",
    "Jensen",
    "O'Neill",
    "Kowalski",
    "Petrov",
    "García",
];

const BRANCHES: [&str; 10] = [
    "Praha 1",
    "Brno",
    "Ostrava",
    "Plzeň",
    "Liberec",
    "Olomouc",
    "Zlín",
    "Kolín",
    "Tábor",
    "České Budějovice",
];

/// Clients of the bank: few enough that they meet each other often.
const CLIENTS: usize = 120;

/// The largest amounts, in cents, from small change to a used car; each is drawn as often as the others.
const AMOUNTS: [i64; 5] = [2_000, 10_000, 50_000, 200_000, 1_500_000];

/// One event in so many involves a name of the fraud list.
const LISTED_ONE_IN: u32 = 80;

/// One event in so many is sent again right away, as a bank does that got no answer.
const RESENT_ONE_IN: u32 = 150;

/// Of a hundred events, how many are transactions, and how many of the rest are deposits.
const TRANSACTIONS_PERCENT: u32 = 65;
const DEPOSITS_PERCENT: u32 = 55;

/// 2026-01-05T08:00:00Z, a Monday. Fixed, so that the same seed makes the same events on any day.
const OPENING_MICROS: i64 = 1_767_600_000_000_000;

/// The longest pause between two events, in milliseconds.
const MAX_PAUSE_MILLIS: u64 = 6_000;

const CURRENCY: &str = "EUR";

/// A bank with made-up clients, as a source of events.
pub(super) struct DemoBank {
    rng: StdRng,
    seed: u64,
    clients: Vec<String>,
    listed: Vec<String>,
    now: Timestamp,
    made: u64,
    events: u64,
    /// The event before, in case it is sent again.
    last: Option<(Box<str>, Vec<u8>)>,
}

impl DemoBank {
    /// Opens a bank that will have so many events, some of them with parties of the fraud list.
    pub(super) fn new(seed: u64, events: u64, listed: &[String]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut clients: Vec<String> = FIRST_NAMES
            .iter()
            .flat_map(|first| LAST_NAMES.iter().map(move |last| format!("{first} {last}")))
            .filter(|name| !listed.contains(name))
            .collect();
        clients.shuffle(&mut rng);
        clients.truncate(CLIENTS);
        let now = Timestamp::from_micros(OPENING_MICROS).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { rng, seed, clients, listed: listed.to_vec(), now, made: 0, events, last: None }
    }

    /// Returns the client that takes part in more events than any other.
    pub(super) fn busiest_client(&self) -> &str {
        self.clients.first().map_or("", String::as_str)
    }

    /// Draws a client; the first ones are drawn far more often than the last ones.
    fn draw_client(&mut self) -> usize {
        let bound = self.rng.random_range(1..=CLIENTS);
        self.rng.random_range(0..bound)
    }

    fn draw_amount(&mut self) -> i64 {
        let largest = AMOUNTS.choose(&mut self.rng).copied().unwrap_or(1);
        self.rng.random_range(1..=largest)
    }

    fn draw_listed(&mut self) -> Option<String> {
        let is_listed = self.rng.random_ratio(1, LISTED_ONE_IN);
        let name = self.listed.choose(&mut self.rng);
        name.filter(|_| is_listed).cloned()
    }

    fn draw_branch(&mut self) -> &'static str {
        BRANCHES.choose(&mut self.rng).copied().unwrap_or("Brno")
    }

    fn client(&self, index: usize) -> &str {
        self.clients.get(index).map_or("", String::as_str)
    }

    fn make_event(&mut self) -> anyhow::Result<(Box<str>, Vec<u8>)> {
        self.now =
            self.now.saturating_add(Duration::from_millis(self.rng.random_range(1..=MAX_PAUSE_MILLIS)));
        let (id, occurred_at) = (format!("demo-{}-{}", self.seed, self.made), self.now.to_string());
        let (client, amount, listed) = (self.draw_client(), self.draw_amount(), self.draw_listed());
        let other = (client + self.rng.random_range(1..CLIENTS)) % CLIENTS;
        let branch = self.draw_branch();
        let is_transaction = self.rng.random_ratio(TRANSACTIONS_PERCENT, 100);
        let is_deposit = self.rng.random_ratio(DEPOSITS_PERCENT, 100);
        let client = self.client(client);
        let mut event = match &listed {
            Some(listed) if is_transaction => EventLine::transaction(client, listed, amount),
            Some(listed) => EventLine::withdraw(listed, branch, amount),
            None if is_transaction => EventLine::transaction(client, self.client(other), amount),
            None if is_deposit => EventLine::deposit(client, branch, amount),
            None => EventLine::withdraw(client, branch, amount),
        };
        event.id = Some(&id);
        event.currency = Some(CURRENCY);
        event.occurred_at = Some(&occurred_at);
        let json = serde_json::to_vec(&event)?;
        Ok((id.into(), json))
    }
}

impl RowSource for DemoBank {
    fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
        if self.made == self.events {
            return Ok(None);
        }
        self.made += 1;
        let is_resent = self.rng.random_ratio(1, RESENT_ONE_IN);
        let (id, json) = match self.last.take() {
            Some(last) if is_resent => last,
            _ => self.make_event()?,
        };
        self.last = Some((id.clone(), json.clone()));
        Ok(Some(Row::Event { line: self.made, id: Some(id), json }))
    }

    fn position(&self) -> u64 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;

    fn events(seed: u64, count: u64, listed: &[String]) -> Vec<Value> {
        let mut bank = DemoBank::new(seed, count, listed);
        let rows = std::iter::from_fn(|| bank.next_row().unwrap());
        rows.map(|row| match row {
            Row::Event { json, .. } => serde_json::from_slice(&json).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    fn party(event: &Value) -> Option<&str> {
        event.get("receiver").or(event.get("client")).and_then(Value::as_str)
    }

    #[test]
    fn the_same_seed_makes_the_same_events_and_another_makes_others() {
        assert_eq!(events(7, 500, &[]), events(7, 500, &[]));
        assert_eq!(events(7, 500, &[]), events(7, 900, &[]).split_at(500).0);
        assert_ne!(events(7, 500, &[]), events(8, 500, &[]));
    }

    #[test]
    fn events_are_of_every_kind_with_valid_parties_and_amounts() {
        let mut kinds: HashMap<String, u32> = HashMap::new();
        for event in events(1, 2_000, &[]) {
            *kinds.entry(format!("{}{}", event["type"], event["operation"])).or_default() += 1;
            assert!(event["amount"].as_i64().unwrap() >= 1);
            assert!(event["sender"].is_null() || event["sender"] != event["receiver"]);
            assert!(party(&event).is_some_and(|name| !name.is_empty()));
            assert!(event["occurred_at"].as_str().unwrap().parse::<Timestamp>().is_ok());
        }
        assert_eq!(kinds.len(), 3, "{kinds:?}");
        assert!(kinds.values().all(|count| *count > 100), "{kinds:?}");
    }

    #[test]
    fn a_few_events_involve_the_fraud_list_and_a_few_are_resent() {
        let listed = ["Boris the Blade".to_owned(), format!("{} {}", FIRST_NAMES[0], LAST_NAMES[0])];
        let made = events(1, 4_000, &listed);
        let hits =
            made.iter().filter(|event| party(event).is_some_and(|name| listed.iter().any(|l| l == name)));
        assert!((20..100).contains(&hits.count()));
        let ids: std::collections::HashSet<_> = made.iter().map(|event| event["id"].to_string()).collect();
        assert!((10..60).contains(&(made.len() - ids.len())), "{} resent", made.len() - ids.len());
        let bank = DemoBank::new(1, 1, &listed);
        assert!(!bank.clients.iter().any(|client| listed.contains(client)), "clients are honest");
    }

    #[test]
    fn the_busiest_client_is_just_that() {
        let mut counts: HashMap<String, u32> = HashMap::new();
        for event in events(3, 5_000, &[]) {
            for field in ["sender", "client"] {
                if let Some(name) = event[field].as_str() {
                    *counts.entry(name.to_owned()).or_default() += 1;
                }
            }
        }
        let bank = DemoBank::new(3, 1, &[]);
        let busiest = counts[bank.busiest_client()];
        assert!(busiest * 10 >= *counts.values().max().unwrap() * 8, "{busiest}");
    }
}
