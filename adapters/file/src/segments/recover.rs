//! What a crash leaves at the end of the newest segment.

use std::fs::File;
use std::io::{self, Read};

use super::writer::MAX_UNSYNCED_BYTES;

const PIECE_BYTES: usize = 64 * 1024;

/// Returns how many bytes of a file are whole lines.
///
/// Nobody was told that what was written after the last sync is kept. Of it there may be a part of a line; and a file
/// system may have kept its length but not its bytes, which then read as zeros, which JSON never holds. All of it was
/// one group, so what follows the first damaged line goes, too.
pub(super) fn whole_bytes(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let unsynced = length.saturating_sub(MAX_UNSYNCED_BYTES);
    let (mut at, mut whole) = (0, 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(whole);
        }
        for (place, byte) in (at..).zip(piece.iter().take(read)) {
            match byte {
                b'\n' => whole = place + 1,
                0 if place >= unsynced => return Ok(whole),
                _ => {}
            }
        }
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn whole(content: &[u8]) -> u64 {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        whole_bytes(&mut file).unwrap()
    }

    #[test]
    fn what_follows_the_last_whole_line_is_cut() {
        for (content, kept) in [
            (&b""[..], 0),
            (b"{}", 0),
            (b"{}\n", 3),
            (b"{}\n{\"a\"", 3),
            (b"{}\n{}\n\0\0\0\0", 6),
            (b"{}\n{\"a\0\0\0\n{}\n", 3),
            (b"\0\0\0\0", 0),
        ] {
            assert_eq!(whole(content), kept, "{}", content.escape_ascii());
        }
    }

    #[test]
    fn zeros_that_were_synced_are_not_cut() {
        let long = usize::try_from(MAX_UNSYNCED_BYTES).unwrap();
        let content = [&b"{}\n\0\n"[..], &vec![b'x'; long - 1], b"\n"].concat();
        assert_eq!(whole(&content), content.len() as u64);
        assert_eq!(whole(&content[..content.len() - 1]), 5, "a torn line behind them is");
    }
}
