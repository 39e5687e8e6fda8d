//! The content of a list as checked UTF-8 text, block by block.

use std::io::Read;

use super::ListError;
use super::unpack::Unpacked;

/// How much is read at a time, in bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// How many bytes of an end-of-file mark and of white space after it are dropped at the end.
const MAX_END_MARK_BYTES: usize = 64;

const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// The end-of-file mark of CP/M and DOS, which the Treasury's files still end in.
const END_MARK: u8 = 0x1a;

/// Unpacked text without a byte order mark and without an end-of-file mark.
pub(super) struct TextInput<R: Read> {
    input: Unpacked<R>,
    max_bytes: u64,
    /// Bytes read in all, those in the buffer included.
    received: u64,
    ended: bool,
    buffer: Vec<u8>,
    /// Where the checked text in the buffer starts and ends; what follows waits for the next block.
    start: usize,
    end: usize,
}

impl<R: Read> TextInput<R> {
    pub(super) fn new(input: Unpacked<R>, max_bytes: u64) -> Self {
        Self { input, max_bytes, received: 0, ended: false, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// Returns the next text that was not consumed; empty at the end only. Never cuts a character in two.
    pub(super) fn block(&mut self) -> Result<&[u8], ListError> {
        if self.start == self.end && !self.ended {
            self.fill()?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    /// Whether nothing follows the present block.
    pub(super) fn is_last_block(&self) -> bool {
        self.ended
    }

    /// Drops the first bytes of the present block.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    fn fill(&mut self) -> Result<(), ListError> {
        self.buffer.drain(..self.end);
        (self.start, self.end) = (0, 0);
        let room = BLOCK_BYTES - self.buffer.len();
        let first = self.received == 0;
        let count = self.input.read_block(room, &mut self.buffer)?;
        self.received += count as u64;
        self.ended = count < room;
        if self.received > self.max_bytes {
            return Err(ListError::TooManyBytes { max: self.max_bytes });
        }
        if first && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.start = BYTE_ORDER_MARK.len();
        }
        self.end = self.checked_end()?.max(self.start);
        Ok(())
    }

    /// Checks the buffer; returns up to where it can be handed out.
    fn checked_end(&self) -> Result<usize, ListError> {
        let offset = |position: usize| self.received - (self.buffer.len() - position) as u64;
        if let Some(nul) = self.buffer.iter().position(|&byte| byte == 0) {
            return Err(ListError::Binary { offset: offset(nul) });
        }
        let text = match std::str::from_utf8(&self.buffer) {
            Ok(text) => text,
            Err(error) if error.error_len().is_none() && !self.ended => {
                let valid = self.buffer.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(valid).unwrap_or_default()
            }
            Err(error) => return Err(ListError::Binary { offset: offset(error.valid_up_to()) }),
        };
        Ok(text.len() - end_mark_bytes(text))
    }
}

/// Returns how many bytes at the end are an end-of-file mark and white space after it.
fn end_mark_bytes(text: &str) -> usize {
    let is_mark_or_space = |byte: &u8| *byte == END_MARK || byte.is_ascii_whitespace();
    let tail = text.bytes().rev().take(MAX_END_MARK_BYTES).take_while(is_mark_or_space);
    tail.enumerate().filter(|&(_, byte)| byte == END_MARK).last().map_or(0, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<String, ListError> {
        let mut input = TextInput::new(Unpacked::open(content, None)?, 1 << 20);
        let mut text = Vec::new();
        loop {
            let block = input.block()?.to_vec();
            if block.is_empty() {
                return Ok(String::from_utf8(text).expect("blocks together are UTF-8"));
            }
            assert!(std::str::from_utf8(&block).is_ok(), "no block cuts a character");
            input.consume(block.len());
            text.extend(block);
        }
    }

    #[test]
    fn marks_at_both_ends_are_dropped() {
        assert_eq!(read(b"\xef\xbb\xbfAnn\n\x1a").unwrap(), "Ann\n");
        assert_eq!(read(b"Ann\x1a\r\n").unwrap(), "Ann");
        assert_eq!(read(b"Ann\x1a\n\x1a").unwrap(), "Ann");
        assert_eq!(read(b"\x1a").unwrap(), "");
        assert_eq!(read(b"A\x1aB\n").unwrap(), "A\x1aB\n", "inside, it is no end mark");
    }

    #[test]
    fn a_character_or_mark_across_two_blocks_stays_whole() {
        for before in BLOCK_BYTES - 5..=BLOCK_BYTES {
            let start = "x".repeat(before);
            assert_eq!(read(format!("{start}🦀z").as_bytes()).unwrap(), format!("{start}🦀z"));
            assert_eq!(read(format!("{start}\x1a\n\n").as_bytes()).unwrap(), start);
            assert_eq!(read(format!("{start}\x1a\nz").as_bytes()).unwrap(), format!("{start}\x1a\nz"));
        }
    }

    #[test]
    fn the_first_bad_byte_is_named() {
        let offset = |content: &[u8]| match read(content) {
            Err(ListError::Binary { offset }) => Some(offset),
            _ => None,
        };
        assert_eq!(offset(b"Ann\0"), Some(3));
        assert_eq!(offset(b"Ann\xe9 Bee"), Some(3), "Latin-1 is not UTF-8");
        assert_eq!(offset(b"\xff\xfeA\0"), Some(3), "UTF-16 is not UTF-8");
        assert_eq!(offset(b"Ann\xf0\x9f\xa6"), Some(3), "a cut character");
        let mut late = "ž".repeat(BLOCK_BYTES).into_bytes();
        late.push(0xff);
        assert_eq!(offset(&late), Some(2 * BLOCK_BYTES as u64));
    }
}
