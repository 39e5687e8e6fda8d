//! Text becomes rows of fields: lines, or CSV as of RFC 4180.
//!
//! Reads what the `csv` crate reads, field by field (a test compares the two), and tells in addition what the
//! refusal of a damaged list needs: true line numbers, how many lines a row swallowed, a quote that is open at
//! the end, a last row without a line end, and a limit on the length of a row.

use std::io::Read;

use super::ListError;
use super::input::TextInput;

/// The longest row, in bytes: a hundred times the longest of a public list, and little to hold in memory.
pub(super) const MAX_ROW_BYTES: usize = 1 << 20;

/// How a row is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A line is a row of one field; quotes mean nothing.
    Lines,
    /// Fields are separated by this byte and may be quoted.
    Delimited(u8),
}

/// One row. Reused for the next one, so that its buffers stay.
#[derive(Debug, Default)]
pub(super) struct Row {
    text: Vec<u8>,
    /// Where each field ends in the text.
    ends: Vec<usize>,
    line: u64,
    lines: u64,
    quoted: bool,
    misquoted: bool,
    terminated: bool,
}

impl Row {
    /// Returns how many fields there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns a field.
    pub(super) fn field(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        std::str::from_utf8(self.text.get(start..end)?).ok()
    }

    /// Returns the fields in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.field(index).unwrap_or_default())
    }

    /// Whether the row is a line of nothing but white space.
    pub(super) fn is_blank(&self) -> bool {
        self.len() <= 1 && !self.quoted && self.field(0).is_none_or(|text| text.trim().is_empty())
    }

    /// Returns the line that the row starts on, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Returns how many lines the row spans.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether something other than a field's end follows a closing quote.
    ///
    /// RFC 4180 knows no such row. It comes about when a stray quote opens a field and the next stray quote
    /// closes it, many rows later, so a lenient reader would lose these rows without a trace.
    pub(super) fn is_misquoted(&self) -> bool {
        self.misquoted
    }

    /// Whether a line end follows the row.
    pub(super) fn is_terminated(&self) -> bool {
        self.terminated
    }

    fn start(&mut self, line: u64) {
        self.text.clear();
        self.ends.clear();
        (self.line, self.lines) = (line, 0);
        (self.quoted, self.misquoted, self.terminated) = (false, false, false);
    }

    fn end_field(&mut self) {
        self.ends.push(self.text.len());
    }

    fn is_too_long(&self) -> bool {
        self.text.len() + self.ends.len() > MAX_ROW_BYTES
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Bare,
    Quoted,
    /// After a quote in a quoted field: the field's end, or the first half of a quote that is content.
    QuoteInQuoted,
}

/// Finds the fields and the end of a row in text that comes in pieces.
#[derive(Debug)]
pub(super) struct Scanner {
    dialect: Dialect,
    state: State,
    line: u64,
    quote_line: u64,
    after_return: bool,
}

impl Scanner {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, state: State::FieldStart, line: 1, quote_line: 1, after_return: false }
    }

    /// Starts the next row.
    pub(super) fn start(&self, row: &mut Row) {
        row.start(self.line);
    }

    /// Adds text to the row; returns how much was used, and whether the row is complete.
    pub(super) fn scan(&mut self, text: &[u8], row: &mut Row) -> (usize, bool) {
        let mut rest = text;
        loop {
            let (run, tail) = rest.split_at(self.content_run(rest));
            row.text.extend_from_slice(run);
            let Some((&byte, tail)) = tail.split_first() else { return (text.len(), false) };
            rest = tail;
            if self.step(byte, row) {
                row.lines = self.line - row.line;
                return (text.len() - rest.len(), true);
            }
        }
    }

    /// Ends the last row at the end of the text; returns whether there is one.
    pub(super) fn finish(&mut self, row: &mut Row) -> Result<bool, ListError> {
        match std::mem::replace(&mut self.state, State::FieldStart) {
            State::Quoted => Err(ListError::OpenQuote { line: self.quote_line }),
            State::FieldStart if row.len() == 0 => Ok(false),
            _ => {
                row.end_field();
                row.lines = self.line - row.line + 1;
                Ok(true)
            }
        }
    }

    fn too_long(&self, row: &Row) -> ListError {
        match self.state {
            State::Quoted => ListError::OpenQuote { line: self.quote_line },
            _ => ListError::RowTooLong { line: row.line, max: MAX_ROW_BYTES },
        }
    }

    /// Returns how many bytes at the start are content of the present field, whatever follows.
    fn content_run(&mut self, text: &[u8]) -> usize {
        let run = match (self.state, self.dialect) {
            (State::FieldStart | State::QuoteInQuoted, _) => return 0,
            (State::Bare, Dialect::Lines) => text.iter().position(|byte| matches!(byte, b'\n' | b'\r')),
            (State::Bare, Dialect::Delimited(delimiter)) => {
                text.iter().position(|&byte| matches!(byte, b'\n' | b'\r') || byte == delimiter)
            }
            (State::Quoted, _) => text.iter().position(|byte| matches!(byte, b'"' | b'\n')),
        };
        run.unwrap_or(text.len())
    }

    /// Takes one byte; returns whether it ends the row.
    fn step(&mut self, byte: u8, row: &mut Row) -> bool {
        let after_return = std::mem::take(&mut self.after_return);
        match (self.state, byte) {
            (State::Quoted, b'"') => self.state = State::QuoteInQuoted,
            (State::Quoted, _) => {
                self.line += u64::from(byte == b'\n');
                row.text.push(byte);
            }
            (State::QuoteInQuoted, b'"') => {
                self.state = State::Quoted;
                row.text.push(byte);
            }
            (State::FieldStart, b'\n') if after_return && row.len() == 0 => {}
            (_, b'\n' | b'\r') => return self.end_row(byte, row),
            (_, byte) if self.dialect == Dialect::Delimited(byte) => {
                row.end_field();
                self.state = State::FieldStart;
            }
            (State::FieldStart, b'"') if self.dialect != Dialect::Lines => {
                row.quoted = true;
                (self.state, self.quote_line) = (State::Quoted, self.line);
            }
            (state, byte) => {
                row.misquoted |= state == State::QuoteInQuoted;
                self.state = State::Bare;
                row.text.push(byte);
            }
        }
        false
    }

    fn end_row(&mut self, byte: u8, row: &mut Row) -> bool {
        row.end_field();
        row.terminated = true;
        self.line += 1;
        self.after_return = byte == b'\r';
        self.state = State::FieldStart;
        true
    }
}

/// The rows of a text that are not blank.
pub(super) struct Rows<R: Read> {
    input: TextInput<R>,
    scanner: Scanner,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(input: TextInput<R>, dialect: Dialect) -> Self {
        Self { input, scanner: Scanner::new(dialect) }
    }

    /// Reads the next row that is not blank; returns whether there is one.
    pub(super) fn next_row(&mut self, row: &mut Row) -> Result<bool, ListError> {
        while self.next_line(row)? {
            if !row.is_blank() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next_line(&mut self, row: &mut Row) -> Result<bool, ListError> {
        self.scanner.start(row);
        loop {
            let block = self.input.block()?;
            if block.is_empty() {
                return self.scanner.finish(row);
            }
            let (used, complete) = self.scanner.scan(block, row);
            self.input.consume(used);
            if row.is_too_long() {
                return Err(self.scanner.too_long(row));
            }
            if complete {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::unpack::Unpacked;
    use super::*;

    /// Each row's line, lines and fields.
    type Found = Vec<(u64, u64, Vec<String>)>;

    fn rows(text: &str, dialect: Dialect) -> Result<Found, ListError> {
        let mut rows = Rows::new(TextInput::new(Unpacked::open(text.as_bytes(), None)?, u64::MAX), dialect);
        let (mut row, mut found) = (Row::default(), Vec::new());
        while rows.next_row(&mut row)? {
            found.push((row.line(), row.lines(), row.fields().map(str::to_owned).collect()));
        }
        Ok(found)
    }

    fn commas(text: &str) -> Result<Found, ListError> {
        rows(text, Dialect::Delimited(b','))
    }

    fn found(line: u64, lines: u64, fields: &[&str]) -> (u64, u64, Vec<String>) {
        (line, lines, fields.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn line_ends_of_every_system_end_a_row_and_count_once() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "", "  ", "c", ""].join(end);
            assert_eq!(commas(&text).unwrap(), [found(1, 1, &["a", "b"]), found(4, 1, &["c"])], "{end:?}");
        }
    }

    #[test]
    fn a_quoted_field_holds_delimiters_quotes_and_line_ends() {
        let text = "1,\"a, \"\"b\"\"\r\nc\",2\nd";
        assert_eq!(commas(text).unwrap(), [found(1, 2, &["1", "a, \"b\"\r\nc", "2"]), found(3, 1, &["d"])]);
    }

    #[test]
    fn the_fields_of_a_row_may_be_empty() {
        assert_eq!(
            commas(",\n\"\"\na,").unwrap(),
            [found(1, 1, &["", ""]), found(2, 1, &[""]), found(3, 1, &["a", ""])]
        );
    }

    #[test]
    fn lines_are_not_divided() {
        let text = "\"Ann\" Bee, Ltd\n\"open\n";
        let expected = [found(1, 1, &["\"Ann\" Bee, Ltd"]), found(2, 1, &["\"open"])];
        assert_eq!(rows(text, Dialect::Lines).unwrap(), expected);
    }

    #[test]
    fn an_open_quote_is_refused_with_its_line() {
        let line = |text: &str| match commas(text) {
            Err(ListError::OpenQuote { line }) => Some(line),
            _ => None,
        };
        assert_eq!(line("a\nb,\"c"), Some(2));
        assert_eq!(line("a\n\"b\",\"c\nd\ne\n"), Some(2));
        assert_eq!(
            line(&format!("a\n\"{}", "b\n".repeat(MAX_ROW_BYTES))),
            Some(2),
            "without holding the rest"
        );
    }

    #[test]
    fn text_after_a_closing_quote_is_noted() {
        let is_misquoted = |text: &str| {
            let mut scanner = Scanner::new(Dialect::Delimited(b','));
            let mut row = Row::default();
            scanner.start(&mut row);
            let _ = scanner.scan(text.as_bytes(), &mut row);
            row.is_misquoted()
        };
        assert!(is_misquoted("\"a\"b\n") && is_misquoted("\"a,x\nb,x\n\"c,x\n"));
        assert!(!is_misquoted("\"a\"\"b\",\"c\"\r\n") && !is_misquoted("a\"b\"c\n"));
    }

    #[test]
    fn a_row_has_a_limit() {
        let long = "a".repeat(MAX_ROW_BYTES * 2);
        for dialect in [Dialect::Lines, Dialect::Delimited(b',')] {
            let result = rows(&format!("b\n{long}"), dialect);
            assert!(matches!(result, Err(ListError::RowTooLong { line: 2, .. })), "{dialect:?}");
        }
        assert!(matches!(commas(&",".repeat(MAX_ROW_BYTES * 2)), Err(ListError::RowTooLong { line: 1, .. })));
    }

    #[test]
    fn a_row_knows_whether_a_line_end_follows() {
        let mut scanner = Scanner::new(Dialect::Lines);
        let mut row = Row::default();
        scanner.start(&mut row);
        assert_eq!(scanner.scan(b"a\nb", &mut row), (2, true));
        assert!(row.is_terminated());
        scanner.start(&mut row);
        assert_eq!(scanner.scan(b"b", &mut row), (1, false));
        assert!(scanner.finish(&mut row).unwrap() && !row.is_terminated());
    }

    /// What the `csv` crate makes of a text, without the blank rows that it keeps.
    fn by_csv_crate(text: &str) -> Vec<Vec<String>> {
        let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        reader
            .into_records()
            .map(|record| record.expect("any text is CSV to it").iter().map(str::to_owned).collect())
            .collect()
    }

    proptest! {
        #[test]
        fn fields_are_those_of_the_csv_crate(text in "[ab\",\r\n ]{0,40}") {
            let Ok(rows) = commas(&text) else { return Ok(()) };
            let fields: Vec<_> = rows.into_iter().map(|(_, _, fields)| fields).collect();
            let is_blank = |row: &Vec<String>| row.len() == 1 && row.iter().all(|field| field.trim().is_empty());
            let expected: Vec<_> = by_csv_crate(&text).into_iter().filter(|row| !is_blank(row)).collect();
            let fields: Vec<_> = fields.into_iter().filter(|row| !is_blank(row)).collect();
            prop_assert_eq!(fields, expected);
        }
    }
}
