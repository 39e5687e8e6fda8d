//! Lines of a file of any length, read one at a time.

use std::io::{self, BufRead, BufReader, Read};

/// The longest line that is read.
///
/// Far above what the platform takes by default, so that it is the platform that says what is too long;
/// bounded, so that a file without line ends does not end up in memory.
pub(super) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// How much is read at once.
const BUFFER_BYTES: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One line, without its line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Where it is, from 1.
    pub(super) number: u64,
    /// What it says; cut when it is longer than [`MAX_LINE_BYTES`].
    pub(super) text: &'a [u8],
    /// Whether a line end follows; only the last line can lack it.
    pub(super) is_ended: bool,
    /// Whether the text is cut.
    pub(super) is_too_long: bool,
}

/// Reads lines that end with LF or CRLF.
pub(super) struct LineReader {
    input: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    number: u64,
    position: u64,
}

impl LineReader {
    pub(super) fn new(input: impl Read + Send + 'static) -> Self {
        let input = BufReader::with_capacity(BUFFER_BYTES, Box::new(input) as Box<dyn Read + Send>);
        Self { input, line: Vec::new(), number: 0, position: 0 }
    }

    /// Reads the next line; `None` at the end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX).saturating_add(2);
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        let mut skipped = 0;
        let mut is_ended = self.line.ends_with(b"\n");
        if !is_ended && self.line.len() > MAX_LINE_BYTES {
            skipped = self.input.skip_until(b'\n')?;
            is_ended = true;
        }
        self.number += 1;
        self.position += u64::try_from(read + skipped).unwrap_or(u64::MAX);
        let text = without_line_end(&self.line);
        let text = if self.number == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text };
        let is_too_long = text.len() > MAX_LINE_BYTES;
        Ok(Some(Line { number: self.number, text, is_ended, is_too_long }))
    }

    /// Returns how many bytes were read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the next line may have to wait for the input.
    pub(super) fn may_wait(&self) -> bool {
        self.input.buffer().is_empty()
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: impl AsRef<[u8]>) -> Vec<(u64, usize, bool, bool)> {
        let mut reader = LineReader::new(io::Cursor::new(text.as_ref().to_vec()));
        let mut all = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            all.push((line.number, line.text.len(), line.is_ended, line.is_too_long));
        }
        assert_eq!(reader.position(), u64::try_from(text.as_ref().len()).unwrap());
        all
    }

    #[test]
    fn both_line_ends_are_taken_and_the_last_may_lack_one() {
        assert_eq!(
            lines("ab\ncd\r\n\nx"),
            [(1, 2, true, false), (2, 2, true, false), (3, 0, true, false), (4, 1, false, false)]
        );
        assert_eq!(lines(""), []);
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(lines("\u{feff}ab\n\u{feff}\n"), [(1, 2, true, false), (2, 3, true, false)]);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_the_next_is_whole() {
        let mut text = vec![b'x'; 3 * MAX_LINE_BYTES];
        text.extend_from_slice(b"\nab\n");
        let read = lines(&text);
        assert!(matches!(read.first(), Some((1, _, true, true))), "{read:?}");
        assert_eq!(read.get(1), Some(&(2, 2, true, false)));
        let longest = [vec![b'x'; MAX_LINE_BYTES], b"\r\n".to_vec()].concat();
        assert_eq!(lines(longest), [(1, MAX_LINE_BYTES, true, false)]);
    }
}
