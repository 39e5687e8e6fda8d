//! What can go wrong, and the one table that turns it into a [`Fault`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use fjall::LsmError;
use mini_platform_core::domain::{LotLimits, MatchMode};
use mini_platform_core::error::{BoxError, Fault, FaultKind};

const BACKEND: &str = "embedded store";

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another `Embedded` of this one, has the folder open.
    #[error(
        "the folder {} is in use by {}; stop it, or choose another folder",
        dir.display(),
        holder_name(*holder)
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The process that has it open, if it left its id.
        holder: Option<u32>,
    },
    /// The folder cannot be made or written to.
    #[error("the folder {} cannot be used", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The data was written by a version of this program that is newer, or too old.
    #[error("the folder {} holds data of format {found}; this program reads format {expected}", dir.display())]
    Format {
        /// The folder.
        dir: PathBuf,
        /// What the folder says.
        found: u8,
        /// What this program reads and writes.
        expected: u8,
    },
    /// The data cannot be right: restore it from a backup, or move the folder away and start anew.
    #[error("the data in {} is damaged", dir.display())]
    Damaged {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BoxError,
    },
    /// The data could not be read or written.
    #[error("the data in {} cannot be opened", dir.display())]
    Engine {
        /// The folder.
        dir: PathBuf,
        /// What the storage engine says.
        #[source]
        source: BoxError,
    },
    /// The fraud registry of this folder is in use with another match mode.
    #[error("the fraud registry is in use with match mode {0:?}")]
    MatchModeInUse(MatchMode),
    /// The parking lot of this folder is in use with other limits.
    #[error("the parking lot is in use with room for {} parcels and {} bytes", .0.parcels, .0.bytes)]
    LimitsInUse(LotLimits),
}

fn holder_name(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl OpenError {
    pub(crate) fn of(dir: PathBuf, failure: Failure) -> Self {
        match failure {
            Failure::Engine(source) => Self::of_engine(dir, source),
            Failure::BadRecord(bad) => Self::Damaged { dir, source: bad.into() },
            other => Self::Engine { dir, source: other.into() },
        }
    }

    fn of_engine(dir: PathBuf, source: Arc<fjall::Error>) -> Self {
        match &*source {
            fjall::Error::Locked => Self::Locked { dir, holder: None },
            fjall::Error::Io(_) => Self::Engine { dir, source: source.into() },
            error if kind_of(error) == FaultKind::Corrupt => Self::Damaged { dir, source: source.into() },
            _ => Self::Engine { dir, source: source.into() },
        }
    }
}

/// A record is not what this program writes. Says which sort, never what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of the {keyspace} keyspace is damaged: {reason}")]
pub(crate) struct BadRecord {
    pub(crate) keyspace: &'static str,
    pub(crate) reason: &'static str,
}

/// Why a call failed. One failed commit fails many calls, so a clone is cheap.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the storage engine failed")]
    Engine(#[source] Arc<fjall::Error>),
    #[error(transparent)]
    BadRecord(#[from] BadRecord),
    #[error("an earlier write failed, so no write is taken until the store is opened again")]
    Broken,
    #[error("the store is closed")]
    Closed,
    #[error("the fraud list does not fit: {0}")]
    ListTooLarge(&'static str),
}

impl From<fjall::Error> for Failure {
    fn from(error: fjall::Error) -> Self {
        Self::Engine(Arc::new(error))
    }
}

impl Failure {
    pub(crate) fn kind(&self) -> FaultKind {
        match self {
            Self::Engine(error) => kind_of(error),
            Self::BadRecord(_) => FaultKind::Corrupt,
            Self::Closed => FaultKind::Unavailable,
            Self::Broken | Self::ListTooLarge(_) => FaultKind::Internal,
        }
    }

    /// Says at what the store failed.
    pub(crate) fn during(self, operation: &'static str) -> Fault {
        Fault::new(BACKEND, operation, self.kind()).with_source(self)
    }
}

fn kind_of(error: &fjall::Error) -> FaultKind {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => kind_of_io(error),
        fjall::Error::Storage(_)
        | fjall::Error::JournalRecovery(_)
        | fjall::Error::InvalidVersion(_)
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable => FaultKind::Corrupt,
        fjall::Error::Locked => FaultKind::Unavailable,
        _ => FaultKind::Internal,
    }
}

fn kind_of_io(error: &io::Error) -> FaultKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultKind::Denied,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound => {
            FaultKind::Corrupt
        }
        _ => FaultKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(failure: impl Into<Failure>) -> FaultKind {
        failure.into().during("do").kind()
    }

    #[test]
    fn every_failure_has_its_kind() {
        let io = |kind| fjall::Error::Io(io::Error::from(kind));
        let bad = BadRecord { keyspace: "events", reason: "r" };
        for (actual, expected) in [
            (kind(io(io::ErrorKind::StorageFull)), FaultKind::Internal),
            (kind(io(io::ErrorKind::PermissionDenied)), FaultKind::Denied),
            (kind(io(io::ErrorKind::UnexpectedEof)), FaultKind::Corrupt),
            (kind(fjall::Error::Storage(LsmError::Io(io::Error::other("x")))), FaultKind::Internal),
            (kind(fjall::Error::Storage(LsmError::InvalidTrailer)), FaultKind::Corrupt),
            (kind(fjall::Error::InvalidTrailer), FaultKind::Corrupt),
            (kind(fjall::Error::Poisoned), FaultKind::Internal),
            (kind(fjall::Error::Locked), FaultKind::Unavailable),
            (kind(bad), FaultKind::Corrupt),
            (kind(Failure::Broken), FaultKind::Internal),
            (kind(Failure::Closed), FaultKind::Unavailable),
            (kind(Failure::ListTooLarge("x")), FaultKind::Internal),
        ] {
            assert_eq!(actual, expected);
        }
    }

    #[test]
    fn a_locked_folder_says_by_whom_and_what_to_do() {
        let locked = OpenError::Locked { dir: "data".into(), holder: Some(42) };
        assert_eq!(
            locked.to_string(),
            "the folder data is in use by process 42; stop it, or choose another folder"
        );
    }
}
