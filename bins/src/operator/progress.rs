//! How far a sub-command is, for whoever watches.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::Instant;

/// How often progress is written when nobody can see a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often a spinner turns while nothing else happens.
const TICK: Duration = Duration::from_millis(200);

/// Shows progress on standard error: a spinner on a terminal, else a line now and then.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    pub(super) fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, last_line: Instant::now() }
    }

    pub(super) fn tell(&mut self, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(message());
        } else if self.last_line.elapsed() >= LINE_EVERY {
            eprintln!("{}", message());
            self.last_line = Instant::now();
        }
    }

    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
