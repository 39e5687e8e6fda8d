//! The laws of an acknowledgement, checked against what is there.
//!
//! Nothing is read or asked here: an [`Audit`] takes the ledger's entries first, then the parking lot and the dead
//! letters, then each client's pages, then events by their id, then the long-term log. In this order an event that
//! moves on meanwhile is seen at least once. What it keeps is 24 bytes an event: 170 MB for an hour of 2,000 a second.

mod account;
mod links;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use mini_platform_core::domain::Outcome;

use self::account::{Account, Mark};
use self::links::ClientAudit;
pub(super) use self::report::Report;
use self::report::{Law, Row, Violations};
use super::event::{self, LoadEvent, fingerprint};
use super::ledger::{Answer, Entry};

/// Events that one ledger may have: more than a day of any rate that one machine can send.
const MAX_EVENTS: u64 = 1 << 30;

/// Where an event is put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PutOff {
    Parked,
    Dead,
}

/// How far the log is for the events of one client that went to one platform: the event that was sent last, by its
/// line of the ledger and its number.
#[derive(Debug, Clone, Copy, Default)]
struct LogPosition {
    /// Of all.
    any: (u32, u64),
    /// Of those that were parked, without a word that they may have been finished before.
    parked: (u32, u64),
}

/// What a ledger says, and what was found of it so far.
#[derive(Debug)]
pub(super) struct Audit {
    run: String,
    prefix: String,
    /// How many dispatchers there are. Each has its own way to the log, and any may redrive what another parked.
    platforms: u8,
    /// By the events' numbers.
    accounts: Vec<Account>,
    /// The clients that the run made up, by the order of their appearance.
    clients: HashMap<String, usize>,
    listed: BTreeSet<String>,
    branches: HashSet<String>,
    /// By the fingerprint of the client and the platform, once there is a log.
    log: Option<HashMap<u64, LogPosition>>,
    violations: Violations,
}

/// Returns where the account with a number is.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Audit {
    /// Starts the audit of a run.
    pub(super) fn new(run: &str, platforms: u8) -> Self {
        Self {
            run: run.to_owned(),
            prefix: event::id_prefix(run),
            platforms,
            accounts: Vec::new(),
            clients: HashMap::new(),
            listed: BTreeSet::new(),
            branches: HashSet::new(),
            log: None,
            violations: Violations::default(),
        }
    }

    /// Takes an entry of the ledger, with the number of its line.
    ///
    /// # Errors
    /// It cannot be an entry of this run's.
    pub(super) fn entry(&mut self, line: u32, entry: &Entry) -> Result<(), ForeignEntry> {
        match entry {
            Entry::Run { .. } => Err(ForeignEntry { line }),
            Entry::Send { id, to, event: None, .. } => {
                let account = self.account(id).ok_or(ForeignEntry { line })?;
                account.to = *to;
                account.set(Mark::SentAgain);
                Ok(())
            }
            Entry::Send { id, to, event: Some(event), listed, .. } => {
                self.note_names(event, *listed);
                let account = self.account(id).ok_or(ForeignEntry { line })?;
                (account.content, account.sent, account.to) = (event.fingerprint(), line, *to);
                if event.is_transaction() {
                    account.set(Mark::Transaction);
                }
                if *listed {
                    account.set(Mark::Listed);
                }
                Ok(())
            }
            Entry::Answer { id, answer, .. } => {
                let account = self.account(id).ok_or(ForeignEntry { line })?;
                if account.answer.is_some_and(Answer::is_acknowledged) && !answer.is_acknowledged() {
                    return Ok(());
                }
                let is_stored_again = *answer == Answer::Stored && account.answer == Some(Answer::Stored);
                account.answer = Some(*answer);
                if answer.is_acknowledged() && account.acknowledged == 0 {
                    account.acknowledged = line;
                }
                if is_stored_again {
                    self.violations.add(Law::Doubled, || format!("{id} was twice answered as stored"));
                }
                Ok(())
            }
        }
    }

    fn note_names(&mut self, event: &LoadEvent, listed: bool) {
        let subject = if event.is_transaction() { &event.receiver } else { &event.client };
        let subject = subject.as_deref().filter(|_| listed);
        for name in event.parties().filter(|name| Some(*name) != subject) {
            if !self.clients.contains_key(name) {
                self.clients.insert(name.to_owned(), self.clients.len());
            }
        }
        if let Some(subject) = subject.filter(|subject| !self.listed.contains(*subject)) {
            self.listed.insert(subject.to_owned());
        }
        if let Some(branch) = event.branch.as_ref().filter(|branch| !self.branches.contains(*branch)) {
            self.branches.insert(branch.clone());
        }
    }

    /// Returns the account of an id, made if it is new; `None` when the id is none of the run's.
    fn account(&mut self, id: &str) -> Option<&mut Account> {
        let number = event::number(&self.prefix, id).filter(|number| *number < MAX_EVENTS)?;
        if index(number) >= self.accounts.len() {
            self.accounts.resize(index(number) + 1, Account::default());
        }
        self.accounts.get_mut(index(number))
    }

    /// Returns the number of an event of the run; `None` when the id is none of the run's.
    fn number(&self, id: &str) -> Option<u64> {
        event::number(&self.prefix, id)
    }

    fn client_index(&self, name: &str) -> Option<usize> {
        self.clients.get(name).copied()
    }

    /// Returns every name whose pages have to be shown: those of the run's clients and the listed ones.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.clients.keys().chain(&self.listed).cloned().collect();
        names.sort_unstable();
        names
    }

    /// Checks that an event was sent, with this content.
    fn is_as_sent(&mut self, number: u64, event: &LoadEvent, what: &str) -> bool {
        let account = self.accounts.get(index(number)).copied().unwrap_or_default();
        if !account.was_sent() {
            self.violations.add(Law::Unsent, || format!("{} is {what}", event.id));
        } else if account.content != event.fingerprint() {
            self.violations.add(Law::Altered, || format!("{} is {what} with another content", event.id));
        }
        account.was_sent()
    }

    /// Takes an event of the parking lot or of the dead letters.
    pub(super) fn put_off(&mut self, place: PutOff, event: &LoadEvent) {
        let Some(number) = self.number(&event.id) else { return };
        let (mark, what) = match place {
            PutOff::Parked => (Mark::Parked, "parked"),
            PutOff::Dead => (Mark::Dead, "a dead letter"),
        };
        if self.is_as_sent(number, event, what)
            && let Some(account) = self.accounts.get_mut(index(number))
        {
            account.set(mark);
        }
    }

    /// Starts with the pages of one client; what was put off has to be known.
    pub(super) fn client(&mut self, name: &str) -> ClientAudit<'_> {
        ClientAudit::new(self, name)
    }

    /// Returns the ids to ask for: of all events that no page shows, and of about so many others.
    pub(super) fn to_look_up(&self, others: usize) -> impl Iterator<Item = String> + use<> {
        let step = self.accounts.len() / others.max(1) + 1;
        let wanted = self.accounts.iter().enumerate().filter(move |(number, account)| {
            account.was_sent() && (!account.is_paged() || number % step == 0)
        });
        let numbers: Vec<u32> = wanted.filter_map(|(number, _)| u32::try_from(number).ok()).collect();
        let run = self.run.clone();
        numbers.into_iter().map(move |number| event::id(&run, number.into()))
    }

    /// Takes what was answered when an id of [`Audit::to_look_up`] was asked for.
    pub(super) fn looked_up(&mut self, id: &str, found: Option<&LoadEvent>) {
        let Some(number) = self.number(id) else { return };
        let is_found = found.is_some_and(|event| self.is_as_sent(number, event, "stored"));
        if let Some(account) = self.accounts.get_mut(index(number)) {
            account.set(Mark::LookedUp);
            if is_found {
                account.set(Mark::Found);
            }
        }
    }

    /// Says that the long-term log is looked at, even if it turns out to be empty.
    pub(super) fn expect_log(&mut self) {
        self.log.get_or_insert_default();
    }

    /// Takes a record of the long-term log; those of one client in their order.
    pub(super) fn logged(&mut self, event: &LoadEvent, outcome: Outcome) {
        let Some(number) = self.number(&event.id) else { return };
        if !self.is_as_sent(number, event, "logged") {
            return;
        }
        let Some(account) = self.accounts.get_mut(index(number)) else { return };
        let is_first = !account.is_logged();
        account.set(match outcome {
            Outcome::Stored | Outcome::Duplicate => Mark::LoggedStored,
            Outcome::Fraudulent => Mark::LoggedFraudulent,
            Outcome::Conflict => Mark::LoggedConflict,
        });
        if is_first {
            self.follow(number, event);
        }
    }

    /// Checks that no event is logged before one that had its answer when it was sent.
    ///
    /// That is so for events that were finished at once, and among those that were parked. Between dispatchers there is
    /// an order only for what each finished at the first attempt.
    fn follow(&mut self, number: u64, event: &LoadEvent) {
        let Some(account) = self.accounts.get(index(number)).copied() else { return };
        let place = fingerprint(&(event.owner(), account.to));
        let position = self.log.get_or_insert_default().entry(place).or_default();
        let is_finished = account.answer.is_some_and(Answer::is_finished);
        let (is_alone, is_first) = (self.platforms == 1, !account.has(Mark::SentAgain));
        let is_parked = account.answer == Some(Answer::Parked) && is_alone;
        let before = if is_finished {
            position.any
        } else if is_parked {
            position.parked
        } else {
            (0, 0)
        };
        let here = (account.sent, number);
        if is_alone || is_finished && is_first {
            position.any = position.any.max(here);
        }
        if is_parked && is_first {
            position.parked = position.parked.max(here);
        }
        let (sent, later) = before;
        if account.acknowledged < sent {
            let later = event::id(&self.run, later);
            let place =
                || format!("{} is behind {later}, which was sent after its acknowledgement", event.id);
            self.violations.add(Law::Disordered, place);
        }
    }

    fn unlinked(&mut self, number: u64, what: impl FnOnce() -> String) {
        let run = &self.run;
        self.violations.add(Law::Unlinked, || format!("{}: {}", event::id(run, number), what()));
    }

    /// Returns what was found.
    pub(super) fn finish(mut self) -> Report {
        let mut report = Report {
            rows: [Answer::Stored, Answer::Duplicate, Answer::Parked, Answer::Fraudulent]
                .map(|answer| (Some(answer), Row::default()))
                .into(),
            violations: Violations::default(),
            with_log: self.log.is_some(),
        };
        for (number, account) in (0_u64..).zip(std::mem::take(&mut self.accounts)) {
            if account.sent == 0 && account.answer.is_none() {
                continue;
            }
            let row = report.rows.entry(account.answer).or_default();
            let places = [
                account.is_stored(),
                account.has(Mark::Parked),
                account.has(Mark::Dead),
                account.is_logged(),
            ];
            let [stored, parked, dead, logged] = places.map(u64::from);
            row.events += 1;
            row.stored += stored;
            row.parked += parked;
            row.dead += dead;
            row.logged += logged;
            row.nowhere += u64::from(!places.contains(&true));
            for (law, what) in self.broken(&account) {
                self.violations.add(law, || format!("{} {what}", event::id(&self.run, number)));
            }
        }
        report.violations = self.violations;
        report
    }

    /// Returns the laws that an event breaks by itself.
    fn broken(&self, account: &Account) -> Vec<(Law, &'static str)> {
        let (is_stored, with_log) = (account.is_stored(), self.log.is_some());
        let is_logged_stored = account.has(Mark::LoggedStored);
        let ended_otherwise = account.has(Mark::LoggedFraudulent)
            || account.has(Mark::LoggedConflict)
            // Without a log nobody can tell what became of it, only that it must not be stored.
            || !with_log && account.has(Mark::Listed);
        let is_cleared = matches!(account.answer, Some(Answer::Stored | Answer::Duplicate));
        let is_fraudulent = account.answer == Some(Answer::Fraudulent);
        let is_finished = is_cleared || is_fraudulent;
        let was_redriven = account.answer == Some(Answer::Parked) && !account.is_put_off() && is_stored;
        let laws = [
            (is_cleared && !is_stored, Law::Lost, "was answered as stored"),
            (is_logged_stored && !is_stored, Law::Lost, "is logged as stored"),
            (
                account.answer == Some(Answer::Parked)
                    && !is_stored
                    && !account.is_put_off()
                    && !ended_otherwise,
                Law::LostParked,
                "was parked, and is nowhere",
            ),
            (is_fraudulent && is_stored, Law::Fraudulent, "was answered as fraudulent, and is stored"),
            (
                !is_fraudulent && account.has(Mark::Listed) && is_stored,
                Law::Fraudulent,
                "has a listed subject, and is stored",
            ),
            (
                is_stored && !account.is_paged_everywhere(),
                Law::Hidden,
                "is missing among the events of a client",
            ),
            (
                account.is_paged() && account.has(Mark::LookedUp) && !account.has(Mark::Found),
                Law::Hidden,
                "is not found by its id",
            ),
            (
                account.answer == Some(Answer::Conflict) || account.has(Mark::LoggedConflict),
                Law::Contradicted,
                "is in conflict",
            ),
            (
                with_log && is_finished && !account.is_logged(),
                Law::Unlogged,
                "was answered, and is not in the log",
            ),
            (
                with_log && was_redriven && !account.is_logged(),
                Law::Unlogged,
                "was parked and stored, and is not in the log",
            ),
            (
                is_cleared && account.is_logged() && !is_logged_stored,
                Law::Mislogged,
                "was answered as stored, and is logged otherwise",
            ),
            (
                is_fraudulent && account.is_logged() && !account.has(Mark::LoggedFraudulent),
                Law::Mislogged,
                "was answered as fraudulent, and is logged otherwise",
            ),
        ];
        laws.into_iter().filter(|(is_broken, ..)| *is_broken).map(|(_, law, what)| (law, what)).collect()
    }
}

/// A line of a ledger that is none of its run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} belongs to no event of the run")]
pub(super) struct ForeignEntry {
    line: u32,
}
