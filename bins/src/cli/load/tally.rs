//! Counts and latencies of a load, and the summary that is made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::ledger::Answer;
use crate::cli::tally::{rate, write_count};

/// Latencies are told apart to one part in a thousand.
const DIGITS: u8 = 3;

/// The longest latency that is told apart from a longer one, in microseconds: ten minutes.
const MAX_MICROS: u64 = 600_000_000;

/// How many reasons of failures are kept to be shown.
const EXAMPLES: usize = 5;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// What became of a load so far.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadTally {
    /// By answer, the latency of every attempt.
    answers: BTreeMap<Answer, Option<Histogram<u64>>>,
    /// Events that were due, whether or not they could be sent.
    pub(super) due: u64,
    /// Events that left later than they should have.
    pub(super) late: u64,
    /// Events that left in vain until there was no more time.
    pub(super) given_up: u64,
    failures: Vec<String>,
}

fn histogram() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(1, MAX_MICROS, DIGITS).ok()
}

impl LoadTally {
    /// Adds the answer to one attempt.
    pub(super) fn add(&mut self, answer: Answer, latency: Duration) {
        let histogram = self.answers.entry(answer).or_insert_with(histogram);
        if let Some(histogram) = histogram {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MAX_MICROS));
        }
    }

    /// Keeps why an attempt failed, if there is room.
    pub(super) fn add_failure(&mut self, id: &str, reason: &str) {
        if self.failures.len() < EXAMPLES {
            self.failures.push(format!("{id}: {reason}"));
        }
    }

    pub(super) fn count(&self, answer: Answer) -> u64 {
        self.answers.get(&answer).and_then(Option::as_ref).map_or(0, Histogram::len)
    }

    /// Returns how many events the platform took the responsibility for.
    pub(super) fn acknowledged(&self) -> u64 {
        let acknowledged = Answer::ALL.into_iter().filter(|answer| answer.is_acknowledged());
        acknowledged.map(|answer| self.count(answer)).sum()
    }

    /// Returns how many attempts left.
    pub(super) fn attempts(&self) -> u64 {
        self.answers
            .keys()
            .filter(|answer| **answer != Answer::NotSent)
            .map(|answer| self.count(*answer))
            .sum()
    }

    /// Whether every event was sent, and every one acknowledged as it should be.
    pub(super) fn is_clean(&self) -> bool {
        let unwanted = [Answer::Conflict, Answer::Failed, Answer::NotSent];
        self.given_up == 0 && unwanted.into_iter().all(|answer| self.count(answer) == 0)
    }

    /// Returns the latencies of all attempts that got any answer of the platform.
    fn all_answered(&self) -> Option<Histogram<u64>> {
        let mut all = histogram()?;
        let answered = |answer: &Answer| !matches!(answer, Answer::Unanswered | Answer::NotSent);
        for (_, latencies) in self.answers.iter().filter(|(answer, _)| answered(answer)) {
            all.add(latencies.as_ref()?).ok()?;
        }
        Some(all)
    }

    /// Makes the summary of a load that took this long.
    pub(super) fn summary(&self, elapsed: Duration) -> LoadSummary<'_> {
        LoadSummary { tally: self, elapsed }
    }
}

/// Writes a tally for people: a line per count, zeros included, so that scripts find every one.
#[derive(Debug)]
pub(super) struct LoadSummary<'a> {
    tally: &'a LoadTally,
    elapsed: Duration,
}

impl fmt::Display for LoadSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.tally;
        write_count(f, "events due", tally.due)?;
        write_count(f, "acknowledged", tally.acknowledged())?;
        write_count(f, "given up", tally.given_up)?;
        write_count(f, "not sent", tally.count(Answer::NotSent))?;
        write_count(f, "sent late", tally.late)?;
        write_count(f, "attempts", tally.attempts())?;
        write_count(f, "acknowledged/s", rate(tally.acknowledged(), self.elapsed))?;
        writeln!(f, "\n  {:16}{:>12}{}", "answer", "attempts", heads())?;
        for answer in Answer::ALL.into_iter().filter(|answer| *answer != Answer::NotSent) {
            let latencies = tally.answers.get(&answer).and_then(Option::as_ref);
            write_latencies(f, answer.as_str(), latencies)?;
        }
        write_latencies(f, "all answered", tally.all_answered().as_ref())?;
        for failure in &tally.failures {
            writeln!(f, "{failure}")?;
        }
        Ok(())
    }
}

fn heads() -> String {
    let names = QUANTILES.iter().map(|(name, _)| *name).chain(["max"]);
    names.map(|name| format!("{:>12}", format!("{name} ms"))).collect()
}

fn write_latencies(
    f: &mut fmt::Formatter<'_>,
    label: &str,
    latencies: Option<&Histogram<u64>>,
) -> fmt::Result {
    write!(f, "  {label:16}{:>12}", latencies.map_or(0, Histogram::len))?;
    if let Some(latencies) = latencies.filter(|latencies| !latencies.is_empty()) {
        for micros in QUANTILES
            .iter()
            .map(|(_, quantile)| latencies.value_at_quantile(*quantile))
            .chain([latencies.max()])
        {
            write!(f, "{:>12.2}", Duration::from_micros(micros).as_secs_f64() * 1_000.0)?;
        }
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_shows_every_count_and_where_the_time_went() {
        let mut tally = LoadTally { due: 104, late: 2, given_up: 1, ..LoadTally::default() };
        for millis in 1..=100 {
            tally.add(Answer::Stored, Duration::from_millis(millis));
        }
        tally.add(Answer::Parked, Duration::from_secs(1));
        tally.add(Answer::Unavailable, Duration::from_micros(500));
        tally.add(Answer::Unanswered, Duration::from_secs(10));
        tally.add(Answer::NotSent, Duration::from_secs(1));
        tally.add(Answer::Failed, Duration::from_millis(3));
        tally.add_failure("load-r1-9", "418 I'm a teapot");
        let expected = "  events due               104
  acknowledged             101
  given up                   1
  not sent                   1
  sent late                  2
  attempts                 104
  acknowledged/s            10

  answer              attempts      p50 ms      p90 ms      p99 ms    p99.9 ms      max ms
  stored                   100       50.01       90.05       99.01      100.03      100.03
  duplicate                  0
  parked                     1     1000.45     1000.45     1000.45     1000.45     1000.45
  fraudulent                 0
  conflict                   0
  unavailable                1        0.50        0.50        0.50        0.50        0.50
  unanswered                 1    10002.43    10002.43    10002.43    10002.43    10002.43
  failed                     1        3.00        3.00        3.00        3.00        3.00
  all answered             103       50.01       91.01      100.03     1000.45     1000.45
load-r1-9: 418 I'm a teapot
";
        assert_eq!(tally.summary(Duration::from_secs(10)).to_string(), expected);
    }

    #[test]
    fn a_load_is_clean_when_every_event_was_sent_and_acknowledged() {
        for answer in Answer::ALL {
            let mut tally = LoadTally::default();
            tally.add(answer, Duration::ZERO);
            let unwanted = [Answer::Conflict, Answer::Failed, Answer::NotSent].contains(&answer);
            assert_eq!(tally.is_clean(), !unwanted, "{}", answer.as_str());
        }
        assert!(!LoadTally { given_up: 1, ..LoadTally::default() }.is_clean());
    }
}
