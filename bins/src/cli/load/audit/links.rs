//! What the pages of one client show.

use std::collections::HashMap;

use mini_platform_core::domain::Timestamp;
use serde::Deserialize;

use super::super::event::LoadEvent;
use super::account::Mark;
use super::report::Law;
use super::{Audit, index};

/// One item of a client's interactions.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli::load) struct Interaction {
    pub(in crate::cli::load) client: String,
    pub(in crate::cli::load) direction: Direction,
    pub(in crate::cli::load) last_at: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli::load) enum Direction {
    Sent,
    Received,
    Both,
}

/// One item of a client's branches.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli::load) struct Branch {
    pub(in crate::cli::load) branch: String,
    pub(in crate::cli::load) last_at: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    Sent,
    Received,
    At,
}

/// What the stored events of a client say of one neighbour.
#[derive(Debug, Clone, Copy, Default)]
struct Implied {
    /// The latest event that is settled, so that the link must be there: when, and its number.
    settled: Option<(i64, u64)>,
    /// The latest of all events; of one that is not settled the link may be missing.
    latest: i64,
    shown: bool,
}

/// Audits one client. Its events come first, then its interactions and branches.
#[derive(Debug)]
pub(in crate::cli::load) struct ClientAudit<'a> {
    audit: &'a mut Audit,
    name: String,
    /// The place among the run's clients; a listed name, which others may use too, has none.
    own: Option<usize>,
    implied: HashMap<(Way, String), Implied>,
}

impl<'a> ClientAudit<'a> {
    pub(super) fn new(audit: &'a mut Audit, name: &str) -> Self {
        let own = audit.client_index(name);
        Self { audit, name: name.to_owned(), own, implied: HashMap::new() }
    }

    /// Takes a transaction of the client's.
    pub(in crate::cli::load) fn transaction(&mut self, event: &LoadEvent) {
        if event.sender.as_ref() == Some(&self.name) {
            self.take(event, Mark::WithSender, Way::Sent, event.receiver.as_deref());
        } else if event.receiver.as_ref() == Some(&self.name) {
            self.take(event, Mark::WithReceiver, Way::Received, event.sender.as_deref());
        } else {
            self.unfounded("has an event of others");
        }
    }

    /// Takes an operation of the client's.
    pub(in crate::cli::load) fn operation(&mut self, event: &LoadEvent) {
        if event.client.as_ref() == Some(&self.name) {
            self.take(event, Mark::WithClient, Way::At, event.branch.as_deref());
        } else {
            self.unfounded("has an event of others");
        }
    }

    fn take(&mut self, event: &LoadEvent, mark: Mark, way: Way, neighbour: Option<&str>) {
        let Some(number) = self.audit.number(&event.id) else {
            // Others may have events of listed names, but not of the clients that the run made up.
            if self.own.is_some() {
                self.audit.violations.add(Law::Unsent, || format!("{} is stored", event.id));
            }
            return;
        };
        if !self.audit.is_as_sent(number, event, "stored") {
            return;
        }
        let Some(account) = self.audit.accounts.get_mut(index(number)) else { return };
        if account.has(mark) {
            self.audit.violations.add(Law::Doubled, || format!("{} is there twice for one client", event.id));
        } else {
            account.set(mark);
        }
        let (is_settled, at) = (account.is_settled(), event.occurred_at().unwrap_or_default());
        let implied = self.implied.entry((way, neighbour.unwrap_or_default().to_owned()));
        let implied = implied.or_insert(Implied { latest: at, ..Implied::default() });
        implied.latest = implied.latest.max(at);
        if is_settled && implied.settled.is_none_or(|(latest, _)| latest < at) {
            implied.settled = Some((at, number));
        }
    }

    /// Takes an interaction of the client's.
    pub(in crate::cli::load) fn interaction(&mut self, shown: &Interaction) {
        let ways: &[Way] = match shown.direction {
            Direction::Sent => &[Way::Sent],
            Direction::Received => &[Way::Received],
            Direction::Both => &[Way::Sent, Way::Received],
        };
        if self.own.is_some() || self.audit.client_index(&shown.client).is_some() {
            self.check(ways, &shown.client, &shown.last_at);
        }
    }

    /// Takes a branch of the client's.
    pub(in crate::cli::load) fn branch(&mut self, shown: &Branch) {
        if self.own.is_some() || self.audit.branches.contains(&shown.branch) {
            self.check(&[Way::At], &shown.branch, &shown.last_at);
        }
    }

    /// Checks a link that is there in so many ways, which share the time of the latest.
    fn check(&mut self, ways: &[Way], neighbour: &str, last_at: &str) {
        let last_at = last_at.parse().map_or(i64::MIN, Timestamp::as_micros);
        let (mut latest, mut settled) = (i64::MIN, None);
        for way in ways {
            let Some(implied) = self.implied.get_mut(&(*way, neighbour.to_owned())) else {
                self.unfounded("has a link that no event implies");
                continue;
            };
            implied.shown = true;
            latest = latest.max(implied.latest);
            settled = settled.max(implied.settled);
        }
        if last_at > latest && latest > i64::MIN {
            self.unfounded("has a link that is later than its events");
        }
        if let Some((at, number)) = settled.filter(|(at, _)| last_at < *at) {
            let late = at.saturating_sub(last_at);
            self.audit.unlinked(number, || format!("a link of it is {late} µs behind"));
        }
    }

    fn unfounded(&mut self, what: &str) {
        let who = self.own.map_or("a listed name".to_owned(), |own| format!("client {own} of the run"));
        self.audit.violations.add(Law::Unfounded, || format!("{who} {what}"));
    }

    /// Checks that no link is missing.
    pub(in crate::cli::load) fn finish(self) {
        let missing = self.implied.values().filter(|implied| !implied.shown);
        for (_, number) in missing.filter_map(|implied| implied.settled) {
            self.audit.unlinked(number, || "a link of it is missing".to_owned());
        }
    }
}
