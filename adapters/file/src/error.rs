//! What can go wrong with files, and the tables that turn it into a port's error.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mini_platform_core::error::{Fault, FaultKind, LogError, SourceError};

const BACKEND: &str = "file source";
const OPERATION: &str = "read a fraud list";
const LOG_BACKEND: &str = "log files";

/// A folder of a log or an outbox could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another log of this one, writes to the folder.
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
    /// The folder cannot be made, read or written to.
    #[error("the folder {} cannot be used", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

fn holder_name(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Why a log or an outbox failed. One failed write fails many calls, so a clone is cheap.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{} cannot be {what}", path.display())]
    Io {
        path: PathBuf,
        what: &'static str,
        #[source]
        cause: Arc<io::Error>,
    },
    #[error("{} ends {missing} bytes early", path.display())]
    EndsEarly { path: PathBuf, missing: u64 },
    #[error("as much waits as may")]
    NoRoom,
    #[error("it is closed")]
    Closed,
}

impl Failure {
    /// Says that a file cannot be read, written, made or removed.
    pub(crate) fn io(path: &Path, what: &'static str, cause: io::Error) -> Self {
        Self::Io { path: path.to_owned(), what, cause: Arc::new(cause) }
    }

    /// Says at what the log failed.
    pub(crate) fn during(self, operation: &'static str) -> LogError {
        let kind = match &self {
            Self::NoRoom => return LogError::Full,
            Self::Io { cause, .. } => kind_of_log(cause.kind()),
            Self::EndsEarly { .. } => FaultKind::Corrupt,
            Self::Closed => FaultKind::Unavailable,
        };
        Fault::new(LOG_BACKEND, operation, kind).with_source(self).into()
    }
}

/// A disk that is full passes: the log goes on as soon as there is room.
fn kind_of_log(kind: io::ErrorKind) -> FaultKind {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Unavailable,
        io::ErrorKind::ReadOnlyFilesystem => FaultKind::Denied,
        // What a decompressor says.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            FaultKind::Corrupt
        }
        kind => kind_of(kind),
    }
}

/// Why a file gave no content. The messages name the file, since a feeder may have several.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{place} is a folder, not a file")]
    Folder { place: String },
    #[error("{place} is a device, pipe or socket, not a file")]
    Special { place: String },
    #[error("{place} changed while it was read")]
    Changed { place: String },
    #[error("{place} cannot be read")]
    Io {
        place: String,
        #[source]
        cause: io::Error,
    },
    #[error("{place} cannot be read, because its reader was stopped")]
    Stopped { place: String },
}

impl From<FileError> for SourceError {
    fn from(error: FileError) -> Self {
        let kind = match error {
            FileError::Changed { place } => return Self::ChangedWhileReading { place },
            FileError::Io { place, cause } if is_missing(cause.kind()) => return Self::NotFound { place },
            FileError::Io { ref cause, .. } => kind_of(cause.kind()),
            FileError::Folder { .. } | FileError::Special { .. } => FaultKind::Internal,
            FileError::Stopped { .. } => FaultKind::Unavailable,
        };
        Fault::new(BACKEND, OPERATION, kind).with_source(error).into()
    }
}

fn is_missing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn kind_of(kind: io::ErrorKind) -> FaultKind {
    match kind {
        io::ErrorKind::PermissionDenied => FaultKind::Denied,
        io::ErrorKind::TimedOut => FaultKind::Timeout,
        io::ErrorKind::Interrupted
        | io::ErrorKind::WouldBlock
        | io::ErrorKind::ResourceBusy
        | io::ErrorKind::StaleNetworkFileHandle
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable => FaultKind::Unavailable,
        _ => FaultKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn io(kind: io::ErrorKind) -> SourceError {
        FileError::Io { place: "file:list".to_owned(), cause: kind.into() }.into()
    }

    fn fault_kind(error: SourceError) -> Option<FaultKind> {
        match error {
            SourceError::Fault(fault) => Some(fault.kind()),
            _ => None,
        }
    }

    #[test]
    fn every_failure_has_its_kind() {
        let place = || "file:list".to_owned();
        for (actual, expected) in [
            (io(io::ErrorKind::PermissionDenied), FaultKind::Denied),
            (io(io::ErrorKind::TimedOut), FaultKind::Timeout),
            (io(io::ErrorKind::Interrupted), FaultKind::Unavailable),
            (io(io::ErrorKind::StaleNetworkFileHandle), FaultKind::Unavailable),
            (io(io::ErrorKind::UnexpectedEof), FaultKind::Internal),
            (io(io::ErrorKind::Other), FaultKind::Internal),
            (FileError::Folder { place: place() }.into(), FaultKind::Internal),
            (FileError::Special { place: place() }.into(), FaultKind::Internal),
            (FileError::Stopped { place: place() }.into(), FaultKind::Unavailable),
        ] {
            let told = actual.to_string();
            assert_eq!(fault_kind(actual), Some(expected), "{told}");
        }
    }

    #[test]
    fn every_failure_of_a_log_has_its_kind() {
        let io = |kind: io::ErrorKind| Failure::io(Path::new("0.ndjson"), "written", kind.into());
        for (failure, expected) in [
            (io(io::ErrorKind::StorageFull), FaultKind::Unavailable),
            (io(io::ErrorKind::QuotaExceeded), FaultKind::Unavailable),
            (io(io::ErrorKind::PermissionDenied), FaultKind::Denied),
            (io(io::ErrorKind::ReadOnlyFilesystem), FaultKind::Denied),
            (io(io::ErrorKind::InvalidData), FaultKind::Corrupt),
            (io(io::ErrorKind::UnexpectedEof), FaultKind::Corrupt),
            (io(io::ErrorKind::Other), FaultKind::Internal),
            (Failure::EndsEarly { path: "0.ndjson".into(), missing: 3 }, FaultKind::Corrupt),
            (Failure::Closed, FaultKind::Unavailable),
        ] {
            let told = failure.to_string();
            match failure.during("keep records") {
                LogError::Fault(fault) => assert_eq!(fault.kind(), expected, "{told}"),
                other => panic!("{told} is a fault, not {other:?}"),
            }
        }
        assert!(matches!(Failure::NoRoom.during("keep records"), LogError::Full));
    }

    #[test]
    fn a_locked_folder_says_by_whom_and_what_to_do() {
        let locked = OpenError::Locked { dir: "data/log".into(), holder: Some(42) };
        assert_eq!(
            locked.to_string(),
            "the folder data/log is in use by process 42; stop it, or choose another folder"
        );
    }

    #[test]
    fn a_missing_or_moving_file_is_told_apart_from_a_fault() {
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory] {
            assert!(matches!(io(kind), SourceError::NotFound { place } if place == "file:list"));
        }
        let changed = SourceError::from(FileError::Changed { place: "file:list".to_owned() });
        assert!(matches!(changed, SourceError::ChangedWhileReading { .. }));
    }

    #[test]
    fn the_cause_of_a_fault_names_the_file() {
        let fault = io(io::ErrorKind::PermissionDenied);
        assert_eq!(fault.source().map(ToString::to_string).as_deref(), Some("file:list cannot be read"));
    }
}
