//! How far a delivery is, for whoever watches.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::tally::{Tally, rate};
use crate::client::ResultOutcome;

/// How often a line is written when nobody can see a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often a spinner turns while nothing else happens.
const TICK: Duration = Duration::from_millis(200);

const WITH_LENGTH: &str = "{bar:30} {percent:>3}%  {msg}  {eta} left";
const WITHOUT_LENGTH: &str = "{spinner} {msg}";

/// Shows progress on standard error: a bar on a terminal, else a line now and then.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
    /// Length of the sources before the present one.
    before: u64,
}

impl Progress {
    /// Starts the clock. `length` is that of all sources together, if known.
    pub(super) fn start(length: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| bar(length));
        Self { bar, started: now, last_line: now, before: 0 }
    }

    /// Shows how far the present source is.
    pub(super) fn show(&mut self, position: u64, tally: &Tally) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.before + position);
            bar.set_message(message(tally, self.started.elapsed()));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprintln!("{}", message(tally, self.started.elapsed()));
        }
    }

    /// Goes on to the next source, after one of this length.
    pub(super) fn next_source(&mut self, length: u64) {
        self.before += length;
    }

    /// Clears the bar and returns how long everything took.
    pub(super) fn finish(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }
}

fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), WITH_LENGTH),
        None => (ProgressBar::new_spinner(), WITHOUT_LENGTH),
    };
    bar.enable_steady_tick(TICK);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn message(tally: &Tally, elapsed: Duration) -> String {
    let answered = tally.answered();
    format!(
        "{answered} events answered ({} stored, {} fraudulent), {} events/s",
        tally.count(ResultOutcome::Stored),
        tally.count(ResultOutcome::Fraudulent),
        rate(answered, elapsed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_are_valid() {
        for template in [WITH_LENGTH, WITHOUT_LENGTH] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
