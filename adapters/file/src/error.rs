//! What can go wrong with a file, and the one table that turns it into a port's error.

use std::io;

use mini_platform_core::error::{Fault, FaultKind, SourceError};

const BACKEND: &str = "file source";
const OPERATION: &str = "read a fraud list";

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
