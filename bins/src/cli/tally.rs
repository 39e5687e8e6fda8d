//! Counts of a delivery, and the summary that is made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::rows::{EXAMPLES, RowCounts};
use crate::client::{EventResult, ResultOutcome};

/// The width of a label, and of a number behind it.
const LABEL: usize = 16;
const NUMBER: usize = 12;

/// What became of every row that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    rows: RowCounts,
    /// A torn line, as `file:line`.
    torn: Vec<String>,
    /// Unusable rows, as `file:line: reason`.
    unusable: Vec<String>,
    answered: BTreeMap<ResultOutcome, u64>,
    /// What needs attention, as `file:line: outcome: reason`.
    complaints: Vec<String>,
    unanswered: u64,
}

impl Tally {
    /// Adds what was read of a source.
    pub(super) fn add_rows(&mut self, source: &str, counts: RowCounts) {
        self.rows.rows += counts.rows;
        self.rows.without_id += counts.without_id;
        self.rows.unusable += counts.unusable;
        for (reason, count) in counts.skipped {
            *self.rows.skipped.entry(reason).or_default() += count;
        }
        self.torn.extend(counts.torn.map(|line| format!("{source}:{line}")));
        for (line, reason) in counts.unusable_examples {
            push_example(&mut self.unusable, || format!("{source}:{line}: {reason}"));
        }
    }

    /// Adds the result of one event.
    pub(super) fn add_result(&mut self, source: &str, line: u64, result: &EventResult) {
        *self.answered.entry(result.outcome).or_default() += 1;
        if result.outcome.needs_attention() {
            push_example(&mut self.complaints, || complaint(source, line, result));
        }
    }

    /// Adds events that were submitted and have no result.
    pub(super) fn add_unanswered(&mut self, count: u64) {
        self.unanswered += count;
    }

    /// Returns how many events have this outcome.
    pub(super) fn count(&self, outcome: ResultOutcome) -> u64 {
        self.answered.get(&outcome).copied().unwrap_or(0)
    }

    /// Returns how many events have a result.
    pub(super) fn answered(&self) -> u64 {
        self.answered.values().sum()
    }

    /// Returns how many events were submitted and have no result.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Returns how many events carried no id, and so are stored again when they are submitted again.
    pub(super) fn without_id(&self) -> u64 {
        self.rows.without_id
    }

    /// Whether every row is accounted for and nobody has to look at any of them.
    pub(super) fn is_clean(&self) -> bool {
        let complaints: u64 = self
            .answered
            .iter()
            .filter(|(outcome, _)| outcome.needs_attention())
            .map(|(_, count)| count)
            .sum();
        complaints == 0 && self.unanswered == 0 && self.rows.unusable == 0
    }

    /// Makes the summary of a delivery that took this long.
    pub(super) fn summary(&self, elapsed: Duration) -> Summary<'_> {
        Summary { tally: self, elapsed }
    }

    fn skipped(&self) -> u64 {
        self.rows.skipped.values().sum()
    }
}

fn push_example(examples: &mut Vec<String>, text: impl FnOnce() -> String) {
    if examples.len() < EXAMPLES {
        examples.push(text());
    }
}

fn complaint(source: &str, line: u64, result: &EventResult) -> String {
    let mut text = format!("{source}:{line}: {}", result.outcome.as_str());
    if let Some(error) = &result.error {
        text.extend([": ", &error.code]);
        if let Some(detail) = &error.detail {
            text.extend([": ", detail]);
        }
        if let Some(pointer) = &error.pointer {
            text.extend([" (at ", pointer, ")"]);
        }
    }
    text
}

/// Writes a tally for people: a line per count, zeros included, so that scripts find every one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary<'a> {
    tally: &'a Tally,
    elapsed: Duration,
}

/// Returns events per second, as a whole number; 0 when no time passed.
pub(super) fn rate(events: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis();
    let rate = u128::from(events).saturating_mul(1000).checked_div(millis).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Writes `  label    count`.
pub(super) fn write_count(f: &mut fmt::Formatter<'_>, label: &str, count: u64) -> fmt::Result {
    writeln!(f, "  {label:LABEL$}{count:>NUMBER$}")
}

impl Summary<'_> {
    fn write_skipped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_count(f, "skipped rows", self.tally.skipped())?;
        for (reason, count) in &self.tally.rows.skipped {
            let width = LABEL - 2;
            writeln!(f, "    {reason:width$}{count:>NUMBER$}")?;
        }
        Ok(())
    }

    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.tally.torn {
            writeln!(f, "{place}: the last line is cut off; it was not imported")?;
        }
        let more = self.tally.rows.unusable.saturating_sub(length(&self.tally.unusable));
        write_examples(f, &self.tally.unusable, more)?;
        let complaints: u64 = ResultOutcome::ALL
            .into_iter()
            .filter(|outcome| outcome.needs_attention())
            .map(|outcome| self.tally.count(outcome))
            .sum();
        let more = complaints.saturating_sub(length(&self.tally.complaints));
        write_examples(f, &self.tally.complaints, more)
    }
}

fn length(examples: &[String]) -> u64 {
    u64::try_from(examples.len()).unwrap_or(u64::MAX)
}

fn write_examples(f: &mut fmt::Formatter<'_>, examples: &[String], more: u64) -> fmt::Result {
    for example in examples {
        writeln!(f, "{example}")?;
    }
    if more > 0 { writeln!(f, "... and {more} more") } else { Ok(()) }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.tally;
        write_count(f, "rows read", tally.rows.rows)?;
        write_count(f, "events sent", tally.answered() + tally.unanswered)?;
        for outcome in ResultOutcome::ALL {
            // The import never asks the platform to skip anything.
            if outcome != ResultOutcome::Skipped || tally.count(outcome) > 0 {
                write_count(f, outcome.as_str(), tally.count(outcome))?;
            }
        }
        write_count(f, "unanswered", tally.unanswered)?;
        self.write_skipped(f)?;
        write_count(f, "unusable rows", tally.rows.unusable)?;
        write_count(f, "torn last lines", length(&tally.torn))?;
        writeln!(f, "  {:LABEL$}{:>NUMBER$.1}", "seconds", self.elapsed.as_secs_f64())?;
        write_count(f, "events/s", rate(tally.answered(), self.elapsed))?;
        self.write_notes(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ResultError;

    fn result(outcome: ResultOutcome) -> EventResult {
        EventResult { id: Some("e1".to_owned()), outcome, error: None }
    }

    fn rejected(detail: &str) -> EventResult {
        let error = ResultError {
            code: "invalid_field".to_owned(),
            detail: Some(detail.to_owned()),
            pointer: Some("/amount".to_owned()),
        };
        EventResult { id: None, outcome: ResultOutcome::Rejected, error: Some(error) }
    }

    #[test]
    fn a_summary_shows_every_count_and_why_events_were_refused() {
        let mut tally = Tally::default();
        let counts = RowCounts {
            rows: 12,
            skipped: BTreeMap::from([("amount 0", 2), ("no operation", 1)]),
            torn: Some(13),
            ..RowCounts::default()
        };
        tally.add_rows("bank/trans.asc", counts);
        for _ in 0..6 {
            tally.add_result("bank/trans.asc", 2, &result(ResultOutcome::Stored));
        }
        tally.add_result("bank/trans.asc", 8, &result(ResultOutcome::Fraudulent));
        tally.add_result("bank/trans.asc", 9, &rejected("must be at least 1"));
        let expected = "  rows read                 12
  events sent                8
  stored                     6
  duplicate                  0
  parked                     0
  fraudulent                 1
  conflict                   0
  rejected                   1
  unavailable                0
  unanswered                 0
  skipped rows               3
    amount 0                 2
    no operation             1
  unusable rows              0
  torn last lines            1
  seconds                  2.0
  events/s                   4
bank/trans.asc:13: the last line is cut off; it was not imported
bank/trans.asc:9: rejected: invalid_field: must be at least 1 (at /amount)
";
        assert_eq!(tally.summary(Duration::from_secs(2)).to_string(), expected);
    }

    #[test]
    fn only_the_first_few_refusals_are_shown() {
        let mut tally = Tally::default();
        for line in 1..=9 {
            tally.add_result("events", line, &rejected("x"));
        }
        let text = tally.summary(Duration::ZERO).to_string();
        assert_eq!(text.matches("invalid_field").count(), EXAMPLES);
        assert!(text.ends_with("... and 4 more\n"), "{text}");
    }

    #[test]
    fn only_what_needs_attention_makes_a_tally_unclean() {
        for outcome in ResultOutcome::ALL {
            let mut tally = Tally::default();
            tally.add_result("events", 1, &result(outcome));
            let fine = ["stored", "duplicate", "parked", "fraudulent"].contains(&outcome.as_str());
            assert_eq!(tally.is_clean(), fine, "{}", outcome.as_str());
        }
    }

    #[test]
    fn skipped_and_torn_rows_are_clean_and_unusable_or_unanswered_ones_are_not() {
        let mut tally = Tally::default();
        let skipped = BTreeMap::from([("amount 0", 1)]);
        tally.add_rows("bank", RowCounts { rows: 2, skipped, torn: Some(2), ..RowCounts::default() });
        assert!(tally.is_clean());
        let mut unusable = tally.clone();
        unusable.add_rows("bank", RowCounts { rows: 1, unusable: 1, ..RowCounts::default() });
        assert!(!unusable.is_clean());
        tally.add_unanswered(1);
        assert!(!tally.is_clean());
    }
}
