//! Decoding: bytes of a source become entries, whatever the format and the packing.
//!
//! One file a concern, in the order in which bytes pass: `unpack` (gzip, zstd), `input` (checked UTF-8 text),
//! `detect` (which format), `rows` (lines and CSV), `layout` (which fields are names).
//!
//! To add a format:
//! 1. name it in [`ListFormat`];
//! 2. say in `layout.rs` how its rows are divided and which fields are names;
//! 3. say in `detect.rs` how its first row is known.

mod detect;
mod error;
mod input;
mod layout;
mod limits;
mod rows;
mod unpack;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;
use std::str::FromStr;

pub use error::ListError;
pub use limits::{DEFAULT_MAX_BYTES, DEFAULT_MAX_ENTRIES, ListLimits};

use crate::domain::ListEntry;
use detect::FirstBlock;
use input::TextInput;
use layout::Layout;
use rows::{Row, Rows};
use unpack::Unpacked;

/// How many entries a chunk has, about: one row is never divided.
const CHUNK_ENTRIES: usize = 1000;

/// The column of a CSV list that holds the names, unless another is set.
pub const DEFAULT_COLUMN: &str = "name";

/// How the content of a fraud list is written. Any of them may be packed with gzip or zstd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ListFormat {
    /// One of the others, as the content shows.
    #[default]
    Auto,
    /// One name a line.
    Text,
    /// CSV whose header names the column with the names.
    Csv,
    /// The Treasury's `sdn.csv` and `alt.csv`, one of them or both in one stream.
    OfacSdn,
    /// The `targets.simple.csv` of OpenSanctions; aliases become entries, too.
    OpenSanctions,
}

/// A text names no format of a fraud list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be auto, text, csv, ofac-sdn or opensanctions")]
pub struct UnknownListFormat;

impl ListFormat {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Text, Self::Csv, Self::OfacSdn, Self::OpenSanctions];

    /// Returns the name that a configuration uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Csv => "csv",
            Self::OfacSdn => "ofac-sdn",
            Self::OpenSanctions => "opensanctions",
        }
    }
}

impl fmt::Display for ListFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ListFormat {
    type Err = UnknownListFormat;

    fn from_str(text: &str) -> Result<Self, UnknownListFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(UnknownListFormat)
    }
}

/// How a content is to be decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeOptions {
    format: ListFormat,
    column: String,
    limits: ListLimits,
    announced_bytes: Option<u64>,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            format: ListFormat::default(),
            column: DEFAULT_COLUMN.to_owned(),
            limits: ListLimits::default(),
            announced_bytes: None,
        }
    }
}

impl DecodeOptions {
    /// Sets the format; it is found out by default.
    #[must_use]
    pub fn with_format(mut self, format: ListFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets the column of a CSV list that holds the names; compared without regard to ASCII case.
    #[must_use]
    pub fn with_column(mut self, column: impl Into<String>) -> Self {
        self.column = column.into();
        self
    }

    /// Sets how large and how dirty the list may be.
    #[must_use]
    pub fn with_limits(mut self, limits: ListLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns why a content of an announced length is not worth reading, if so.
    pub(crate) fn refuse_announced(&self, bytes: Option<u64>) -> Option<ListError> {
        let max = self.limits.max_bytes();
        (bytes? > max).then_some(ListError::TooManyBytes { max })
    }

    /// Sets how many bytes the source announced, before unpacking; fewer are refused as truncated.
    #[must_use]
    pub fn with_announced_bytes(mut self, announced: Option<u64>) -> Self {
        self.announced_bytes = announced;
        self
    }
}

/// What a decoder has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeTally {
    /// Entries handed out; equal ones count each time.
    pub entries: u64,
    /// Lines with content, without the header.
    pub lines: u64,
    /// How many of these belong to malformed rows, and were skipped.
    pub malformed: u64,
    /// The first malformed line, from 1.
    pub first_malformed: Option<u64>,
}

/// Decodes a fraud list from a reader, chunk by chunk, in constant memory.
///
/// Malformed rows are skipped and counted; whether there are too many is only known at the end. Hence a list is
/// good when the iterator has ended without an `Err`, not before. It ends after the first `Err`.
///
/// ```
/// use mini_platform_core::feeder::{DecodeOptions, ListDecoder};
///
/// let decoder = ListDecoder::open(&b"name,born\n\"Doe, Jane\",1970\n"[..], &DecodeOptions::default())?;
/// let chunks = decoder.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(chunks.concat().first().map(|entry| entry.as_str()), Some("Doe, Jane"));
/// # Ok::<(), mini_platform_core::feeder::ListError>(())
/// ```
pub struct ListDecoder<R: Read> {
    rows: Rows<R>,
    layout: Layout,
    limits: ListLimits,
    tally: DecodeTally,
    row: Row,
    is_done: bool,
}

impl<R: Read> fmt::Debug for ListDecoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListDecoder")
            .field("layout", &self.layout)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl<R: Read> ListDecoder<R> {
    /// Reads the first block and finds out the format. Reads at least 64 KiB at a time; needs no buffer below.
    ///
    /// # Errors
    /// The content is no list, has not the format that was set, or cannot be read.
    pub fn open(input: R, options: &DecodeOptions) -> Result<Self, ListError> {
        let unpacked = Unpacked::open(input, options.announced_bytes)?;
        let mut input = TextInput::new(unpacked, options.limits.max_bytes());
        input.block()?;
        let is_whole = input.is_last_block();
        let first = FirstBlock { text: input.block()?, is_whole };
        first.refuse_others()?;
        let layout = first.layout(options.format, &options.column)?;
        let mut decoder = Self {
            rows: Rows::new(input, layout.dialect()),
            layout,
            limits: options.limits,
            tally: DecodeTally::default(),
            row: Row::default(),
            is_done: false,
        };
        if layout.has_header() {
            decoder.rows.next_row(&mut decoder.row)?;
        }
        Ok(decoder)
    }

    /// Returns the format in which the content is decoded; never [`ListFormat::Auto`].
    #[must_use]
    pub fn format(&self) -> ListFormat {
        match self.layout {
            Layout::Text => ListFormat::Text,
            Layout::Csv { .. } => ListFormat::Csv,
            Layout::OfacSdn => ListFormat::OfacSdn,
            Layout::OpenSanctions { .. } => ListFormat::OpenSanctions,
        }
    }

    /// Returns what was seen so far.
    #[must_use]
    pub fn tally(&self) -> DecodeTally {
        self.tally
    }

    /// Decodes the next chunk; an empty one means the end.
    fn next_chunk(&mut self) -> Result<Vec<ListEntry>, ListError> {
        let mut chunk = Vec::with_capacity(CHUNK_ENTRIES);
        while chunk.len() < CHUNK_ENTRIES {
            if !self.rows.next_row(&mut self.row)? {
                self.check_end()?;
                break;
            }
            self.take_row(&mut chunk)?;
        }
        Ok(chunk)
    }

    fn take_row(&mut self, chunk: &mut Vec<ListEntry>) -> Result<(), ListError> {
        let before = chunk.len();
        let taken = self.layout.entries(&self.row, chunk);
        self.tally.entries += (chunk.len() - before) as u64;
        if self.tally.entries > self.limits.max_entries() {
            return Err(ListError::TooManyEntries { max: self.limits.max_entries() });
        }
        self.tally.lines += self.row.lines();
        if taken.is_err() {
            if !self.row.is_terminated() && !self.layout.fits(&self.row) {
                return Err(ListError::TornRow { line: self.row.line() });
            }
            // A stray quote swallows the rows up to the next quote: each of their lines counts.
            self.tally.malformed += self.row.lines();
            self.tally.first_malformed.get_or_insert(self.row.line());
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), ListError> {
        let DecodeTally { entries, lines, malformed, first_malformed } = self.tally;
        let first_line = first_malformed.unwrap_or_default();
        if malformed > self.limits.max_malformed().of(lines) {
            return Err(ListError::TooManyMalformed { malformed, lines, first_line });
        }
        if entries == 0 { Err(ListError::Empty) } else { Ok(()) }
    }
}

impl<R: Read> Iterator for ListDecoder<R> {
    type Item = Result<Vec<ListEntry>, ListError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let chunk = self.next_chunk();
        self.is_done = chunk.as_ref().map_or(true, |chunk| chunk.len() < CHUNK_ENTRIES);
        match chunk {
            Ok(chunk) if chunk.is_empty() => None,
            other => Some(other),
        }
    }
}
