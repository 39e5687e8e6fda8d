//! What happened, a line a step.

use std::fmt::Display;
use std::hash::Hasher;
use std::sync::Mutex;

use tokio::time::Instant;

/// The number of a step: how many came before it.
pub(crate) type Step = usize;

pub(crate) struct History {
    started: Instant,
    lines: Mutex<Vec<String>>,
}

impl History {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), lines: Mutex::default() }
    }

    /// Adds a step and returns its number.
    pub(crate) fn note(&self, step: impl Display) -> Step {
        let line = format!("{:>11.3} {step}", self.started.elapsed().as_secs_f64());
        let mut lines = self.lines.lock().unwrap();
        lines.push(line);
        lines.len() - 1
    }

    /// Returns the number of the next step.
    pub(crate) fn now(&self) -> Step {
        self.lines.lock().unwrap().len()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// Returns a number that differs when histories do.
pub(crate) fn fingerprint(lines: &[String]) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    for line in lines {
        hasher.write(line.as_bytes());
        hasher.write(b"\n");
    }
    hasher.finish()
}
