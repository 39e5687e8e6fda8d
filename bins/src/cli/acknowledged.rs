//! A file of what the platform acknowledged, to check it against the platform later.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::client::EventResult;

/// Writes `id<TAB>outcome`, a line for each event that the platform durably decided on.
///
/// Rejected and unavailable events are left out: nothing was promised of them. Lines are added to a file
/// that exists, so several imports can share one.
#[derive(Debug)]
pub(super) struct AcknowledgedFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl AcknowledgedFile {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Notes one result.
    pub(super) fn note(&mut self, result: &EventResult) -> anyhow::Result<()> {
        match &result.id {
            Some(id) if result.outcome.is_acknowledged() => {
                writeln!(self.file, "{id}\t{}", result.outcome.as_str()).with_context(|| self.failure())
            }
            _ => Ok(()),
        }
    }

    /// Hands what was noted to the operating system, so that it survives this process.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.file.flush().with_context(|| self.failure())
    }

    fn failure(&self) -> String {
        format!("cannot write {}", self.path.display())
    }
}
