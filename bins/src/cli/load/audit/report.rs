//! What an audit found.

use std::collections::BTreeMap;
use std::fmt;

use super::super::ledger::Answer;

/// What must be so, whatever was killed at whatever moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli::load) enum Law {
    Lost,
    LostParked,
    Altered,
    Fraudulent,
    Unsent,
    Doubled,
    Hidden,
    Unlinked,
    Unfounded,
    Contradicted,
    Unlogged,
    Mislogged,
    Disordered,
}

impl Law {
    /// Every law.
    #[cfg(test)]
    pub(in crate::cli::load) const ALL: [Self; 13] = [
        Self::Lost,
        Self::LostParked,
        Self::Altered,
        Self::Fraudulent,
        Self::Unsent,
        Self::Doubled,
        Self::Hidden,
        Self::Unlinked,
        Self::Unfounded,
        Self::Contradicted,
        Self::Unlogged,
        Self::Mislogged,
        Self::Disordered,
    ];

    /// Returns the law as a sentence.
    pub(in crate::cli::load) fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "what is acknowledged as stored is stored",
            Self::LostParked => {
                "what is acknowledged as parked is stored, parked, dead or finished otherwise"
            }
            Self::Altered => "every event is kept as it was sent",
            Self::Fraudulent => "nothing fraudulent is stored",
            Self::Unsent => "there is nothing that was never sent",
            Self::Doubled => "every event is stored once",
            Self::Hidden => "every stored event is found by its id and among the events of its clients",
            Self::Unlinked => "every event that is settled has its links",
            Self::Unfounded => "no client has a link that no stored event implies, or an event of others",
            Self::Contradicted => "no id is in conflict, as each has one content",
            Self::Unlogged => "every finished event is in the long-term log",
            Self::Mislogged => "the long-term log tells what happened",
            Self::Disordered => "the long-term log is in order for each client",
        }
    }
}

/// How often a law was broken, and the first few places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli::load) struct Violations {
    found: BTreeMap<Law, (u64, Vec<String>)>,
}

/// How many places are kept for each law.
const EXAMPLES: usize = 10;

impl Violations {
    pub(super) fn add(&mut self, law: Law, place: impl FnOnce() -> String) {
        let (count, examples) = self.found.entry(law).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(place());
        }
    }

    pub(in crate::cli::load) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns the first places at which a law was broken.
    #[cfg(test)]
    pub(super) fn of(&self, law: Law) -> &[String] {
        self.found.get(&law).map_or(&[], |(_, examples)| examples)
    }
}

/// Where the events with one answer are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) events: u64,
    pub(super) stored: u64,
    pub(super) parked: u64,
    pub(super) dead: u64,
    pub(super) logged: u64,
    pub(super) nowhere: u64,
}

/// What an audit found; shown with `Display`. Names of clients are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::load) struct Report {
    /// By answer; `None` for events of which the ledger holds no answer.
    pub(super) rows: BTreeMap<Option<Answer>, Row>,
    pub(super) violations: Violations,
    /// Whether the long-term log was looked at.
    pub(super) with_log: bool,
}

impl Report {
    /// Whether every law holds.
    pub(in crate::cli::load) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = ["events", "stored", "parked", "dead", "logged", "nowhere"];
        writeln!(f, "  {:16}{}", "answered", columns.map(|column| format!("{column:>12}")).concat())?;
        for (answer, row) in &self.rows {
            let label = answer.map_or("nothing", Answer::as_str);
            let logged = if self.with_log { row.logged.to_string() } else { "-".to_owned() };
            let counts = [row.events, row.stored, row.parked, row.dead].map(|count| format!("{count:>12}"));
            writeln!(f, "  {label:16}{}{logged:>12}{:>12}", counts.concat(), row.nowhere)?;
        }
        if self.is_clean() {
            return writeln!(f, "\nevery law holds");
        }
        for (law, (count, examples)) in &self.violations.found {
            writeln!(f, "\nBROKEN ({count}): {}", law.as_str())?;
            for example in examples {
                writeln!(f, "  {example}")?;
            }
            let more = count.saturating_sub(u64::try_from(examples.len()).unwrap_or(u64::MAX));
            if more > 0 {
                writeln!(f, "  ... and {more} more")?;
            }
        }
        Ok(())
    }
}
