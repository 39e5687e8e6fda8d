//! Why a content is no fraud list that may come into force.

use std::io;

/// A content was refused as a fraud list, or could not be read.
///
/// The messages say what to do about it and never quote the content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// There is no entry.
    #[error("the list is empty; nobody would be stopped")]
    Empty,
    /// The content is a web page.
    #[error(
        "this is an HTML or XML page, not a list; it may be an error or login page, so check the address and the access to it"
    )]
    HtmlPage,
    /// The content stands for a file that Git LFS keeps elsewhere.
    #[error("this is a Git LFS pointer, not the list itself; run `git lfs pull` where it is published")]
    LfsPointer,
    /// The content is JSON, which no format of a list is.
    #[error("this is JSON, not a list; publish names as lines or as CSV")]
    Json,
    /// The content is not UTF-8 text.
    #[error(
        "this is binary or not UTF-8 text (see byte {offset}); publish the list as UTF-8, packed with gzip or zstd at most"
    )]
    Binary {
        /// Where, in bytes from the start of the unpacked content.
        offset: u64,
    },
    /// The content has fewer bytes than its source announced.
    #[error("the list is truncated: {received} of {announced} announced bytes came; it is read again later")]
    Truncated {
        /// What the source announced, in bytes.
        announced: u64,
        /// What came, in bytes.
        received: u64,
    },
    /// A quote is never closed, which a truncated or damaged content looks like.
    #[error("the list is truncated or damaged: the quote that opens on line {line} is never closed")]
    OpenQuote {
        /// The line of the opening quote, from 1.
        line: u64,
    },
    /// The last row stops in its middle.
    #[error("the list is truncated: its last row, on line {line}, stops in its middle")]
    TornRow {
        /// The line of the row, from 1.
        line: u64,
    },
    /// The packed content stops before its end mark.
    #[error("the list is truncated: its gzip or zstd data stops before its end")]
    TornArchive,
    /// The packed content is damaged.
    #[error("the gzip or zstd data of the list is damaged; publish it again")]
    DamagedArchive(#[source] io::Error),
    /// Too many rows are not of the list's format.
    #[error(
        "{malformed} of {lines} lines are malformed, the first on line {first_line}; check that the format is the right one"
    )]
    TooManyMalformed {
        /// How many lines belong to malformed rows.
        malformed: u64,
        /// How many lines with content there are.
        lines: u64,
        /// The first malformed line, from 1.
        first_line: u64,
    },
    /// The content has more bytes than the limit.
    #[error("the list is larger than the limit of {max} bytes")]
    TooManyBytes {
        /// The limit.
        max: u64,
    },
    /// The list has more entries than the limit.
    #[error("the list has more entries than the limit of {max}")]
    TooManyEntries {
        /// The limit.
        max: u64,
    },
    /// A row has more bytes than any row of a list.
    #[error("the row on line {line} is longer than {max} bytes; this does not look like a list")]
    RowTooLong {
        /// The line of the row, from 1.
        line: u64,
        /// The limit.
        max: usize,
    },
    /// The header does not name the column that holds the names.
    #[error("the header has no column {column:?}; name the right column or format")]
    NoSuchColumn {
        /// The column that was looked for.
        column: String,
    },
    /// The content could not be read to its end.
    #[error("the list could not be read")]
    Read(#[source] io::Error),
}

impl ListError {
    /// Whether the content may only have been cut on its way, so that reading it again can help.
    #[must_use]
    pub fn is_truncation(&self) -> bool {
        matches!(
            self,
            Self::Truncated { .. } | Self::TornArchive | Self::OpenQuote { .. } | Self::TornRow { .. }
        )
    }
}
