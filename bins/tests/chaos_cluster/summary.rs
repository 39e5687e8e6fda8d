//! What a load says at its end.

use super::program::Program;

/// The summary of a load.
pub(crate) struct Summary {
    said: String,
}

impl Summary {
    /// Takes the summary of a load that is over.
    pub(crate) fn of(load: &Program) -> Self {
        Self { said: load.said() }
    }

    /// Returns the columns behind a label.
    fn row(&self, label: &str) -> Vec<f64> {
        let row = self.said.lines().find_map(|line| line.trim().strip_prefix(label));
        row.unwrap_or_default().split_whitespace().map(|column| column.parse().unwrap()).collect()
    }

    /// Returns how many there are of something, such as events "acknowledged" or answers "parked".
    pub(crate) fn count(&self, label: &str) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is printed as a count"
        )]
        let count = *self.row(label).first().unwrap_or_else(|| panic!("{label} is counted")) as u64;
        count
    }

    /// Returns how many milliseconds 99 of 100 answers took at most.
    pub(crate) fn p99_ms(&self) -> f64 {
        const COLUMN: usize = 3;
        self.row("all answered").get(COLUMN).copied().unwrap()
    }

    /// Returns how many milliseconds the slowest answer took.
    pub(crate) fn longest_ms(&self) -> f64 {
        self.row("all answered").last().copied().unwrap()
    }

    /// Checks that every answer came, and was one that a client knows what to do with.
    pub(crate) fn assert_no_surprise(&self) {
        for unwanted in ["unanswered", "failed", "conflict"] {
            assert_eq!(self.count(unwanted), 0, "no answer is {unwanted}:\n{}", self.said);
        }
    }

    /// Returns all of it.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }
}
