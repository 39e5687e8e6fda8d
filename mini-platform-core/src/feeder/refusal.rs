//! Why a list is kept out, as a word for logs and metrics.

use super::{ListError, ListShrunk, Refresh, RefreshError};
use crate::error::SourceError;

/// Why a list is kept out. The list in force stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It has no entry.
    Empty,
    /// It is a web page.
    Html,
    /// It stands for a file that Git LFS keeps elsewhere.
    GitLfsPointer,
    /// It is JSON.
    Json,
    /// It is not UTF-8 text.
    Binary,
    /// It is cut: shorter than announced, in the middle of a row, within a quote or an archive.
    Truncated,
    /// Its gzip or zstd data is damaged.
    Damaged,
    /// Too many rows are not of its format.
    Malformed,
    /// It has not the column that should hold the names.
    NoSuchColumn,
    /// It lost too many names of the list in force.
    Shrunk,
    /// It has too many bytes or entries, or too long a row.
    TooLarge,
    /// It is older than a list that the registry held.
    Stale,
    /// The source has a reason of its own, which the error tells.
    Other,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Empty,
        Self::Html,
        Self::GitLfsPointer,
        Self::Json,
        Self::Binary,
        Self::Truncated,
        Self::Damaged,
        Self::Malformed,
        Self::NoSuchColumn,
        Self::Shrunk,
        Self::TooLarge,
        Self::Stale,
        Self::Other,
    ];

    /// Returns the value of the metric's label and of the log field `refusal.reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Html => "html",
            Self::GitLfsPointer => "git_lfs_pointer",
            Self::Json => "json",
            Self::Binary => "binary",
            Self::Truncated => "truncated",
            Self::Damaged => "damaged",
            Self::Malformed => "malformed",
            Self::NoSuchColumn => "no_such_column",
            Self::Shrunk => "shrunk",
            Self::TooLarge => "too_large",
            Self::Stale => "stale",
            Self::Other => "other",
        }
    }

    /// Returns why a refresh kept a list out, if it did.
    pub(super) fn of(result: &Result<Refresh, RefreshError>) -> Option<Self> {
        match result {
            Ok(Refresh::Stale { .. }) => Some(Self::Stale),
            Ok(Refresh::Unchanged | Refresh::Replaced { .. }) => None,
            Err(error) => error.refusal(),
        }
    }

    /// Returns why a source's content was refused.
    pub(super) fn of_source(error: &SourceError) -> Self {
        let SourceError::Unacceptable { reason, .. } = error else { return Self::Other };
        match reason.downcast_ref::<ListError>() {
            Some(reason) => Self::of_list(reason),
            None if reason.is::<ListShrunk>() => Self::Shrunk,
            None => Self::Other,
        }
    }

    fn of_list(error: &ListError) -> Self {
        match error {
            ListError::Empty => Self::Empty,
            ListError::HtmlPage => Self::Html,
            ListError::LfsPointer => Self::GitLfsPointer,
            ListError::Json => Self::Json,
            ListError::Binary { .. } => Self::Binary,
            ListError::Truncated { .. }
            | ListError::OpenQuote { .. }
            | ListError::TornRow { .. }
            | ListError::TornArchive => Self::Truncated,
            ListError::DamagedArchive(_) => Self::Damaged,
            ListError::TooManyMalformed { .. } => Self::Malformed,
            ListError::TooManyBytes { .. }
            | ListError::TooManyEntries { .. }
            | ListError::RowTooLong { .. } => Self::TooLarge,
            ListError::NoSuchColumn { .. } => Self::NoSuchColumn,
            ListError::Read(_) => Self::Other,
        }
    }
}
