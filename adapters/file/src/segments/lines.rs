//! Reading a segment line by line.

use std::io::{self, BufRead, Read};

/// The longest line: several times the longest record, whose names are all quotes.
pub(crate) const MAX_LINE_BYTES: usize = 64 * 1024;

/// A line, or a piece of one that is too long to be a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// What stands there, without the end of the line.
    pub(crate) text: &'a [u8],
    /// How far the next one is.
    pub(crate) length: u64,
    /// Whether it has an end.
    pub(crate) is_whole: bool,
}

/// The lines of a file, one in memory at a time.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, line: Vec::new() }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut limited = (&mut self.input).take(MAX_LINE_BYTES as u64);
        let length = limited.read_until(b'\n', &mut self.line)?;
        if length == 0 {
            return Ok(None);
        }
        let whole = self.line.strip_suffix(b"\n");
        let (text, is_whole) = (whole.unwrap_or(&self.line), whole.is_some());
        Ok(Some(Line { text, length: length as u64, is_whole }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_the_last_may_be_torn() {
        let mut lines = Lines::new(&b"one\n\nthree\nfo"[..]);
        for (text, length, is_whole) in
            [("one", 4, true), ("", 1, true), ("three", 6, true), ("fo", 2, false)]
        {
            assert_eq!(lines.next().unwrap(), Some(Line { text: text.as_bytes(), length, is_whole }));
        }
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces() {
        let long = [vec![b'x'; 2 * MAX_LINE_BYTES + 1], b"\nnext\n".to_vec()].concat();
        let mut lines = Lines::new(&long[..]);
        let mut pieces = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            pieces.push((line.length, line.is_whole));
        }
        assert_eq!(pieces, [(65_536, false), (65_536, false), (2, true), (5, true)]);
    }
}
