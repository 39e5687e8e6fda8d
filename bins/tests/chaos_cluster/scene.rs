//! Where a run leaves what it wrote, and what happened when.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

/// The folder of a run, which stays when the run fails.
pub(crate) struct Scene {
    folder: Option<TempDir>,
    started: Instant,
    history: RefCell<String>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("chaos-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { folder: Some(folder), started: Instant::now(), history: RefCell::default() }
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Returns where a file of this name is, or belongs.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Notes that something happened just now.
    pub(crate) fn note(&self, what: &str) {
        let line = format!("{:8.2} {what}\n", self.started.elapsed().as_secs_f64());
        eprint!("{line}");
        self.history.borrow_mut().push_str(&line);
    }

    /// Returns how often what happened.
    pub(crate) fn history(&self) -> String {
        self.history.borrow().clone()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        if std::thread::panicking() {
            let folder = folder.keep();
            // There is nobody left to tell but who reads this.
            let _ = std::fs::write(folder.join("history"), self.history());
            eprintln!("the ledger, the history and the logs are in {}", folder.display());
        }
    }
}
