//! Unpacking: gzip and zstd, recognised by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::ListError;

/// How far zstd may refer back, which is what its decoder holds in memory.
///
/// `zstd -19` needs 8 MiB; what `--ultra` and `--long` can ask for beyond this is not worth the memory.
const MAX_ZSTD_WINDOW: u64 = 32 << 20;

/// A content as it came, or as it is unpacked.
pub(super) enum Unpacked<R: Read> {
    Plain(Packed<R>),
    Gzip(Box<MultiGzDecoder<Packed<R>>>),
    Zstd(Box<ZstdFrames<Packed<R>>>),
}

impl<R: Read> Unpacked<R> {
    /// Reads the first bytes and chooses how to unpack.
    pub(super) fn open(input: R, announced: Option<u64>) -> Result<Self, ListError> {
        let mut packed =
            Packed { input, head: Vec::new(), received: 0, announced, ended: false, failure: None };
        let mut head = Vec::new();
        if let Err(error) = packed.by_ref().take(4).read_to_end(&mut head) {
            return Err(packed.explain(error));
        }
        packed.head.clone_from(&head);
        Ok(match *head.as_slice() {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(packed))),
            // A frame, or a skippable frame before the first one.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                Self::Zstd(Box::new(ZstdFrames::new(packed)))
            }
            _ => Self::Plain(packed),
        })
    }

    /// Appends up to `max` bytes to `out`; fewer only at the end of the content.
    pub(super) fn read_block(&mut self, max: usize, out: &mut Vec<u8>) -> Result<usize, ListError> {
        let max = max as u64;
        let (result, packed) = match self {
            Self::Plain(packed) => (packed.by_ref().take(max).read_to_end(out), packed),
            Self::Gzip(gzip) => (gzip.by_ref().take(max).read_to_end(out), gzip.get_mut()),
            Self::Zstd(zstd) => (zstd.by_ref().take(max).read_to_end(out), zstd.input.get_mut()),
        };
        result.map_err(|error| packed.explain(error))
    }
}

/// The content as it comes; remembers what a decoder around it would blur.
pub(super) struct Packed<R> {
    input: R,
    /// The first bytes, once they were looked at: read again before `input`.
    head: Vec<u8>,
    received: u64,
    announced: Option<u64>,
    ended: bool,
    failure: Option<io::Error>,
}

impl<R> Packed<R> {
    /// Says what an error on the way means: of the input, of a cut content, or of a damaged one.
    fn explain(&mut self, error: io::Error) -> ListError {
        if let Some(failure) = self.failure.take() {
            return ListError::Read(failure);
        }
        match self.announced {
            Some(announced) if self.ended && self.received < announced => {
                ListError::Truncated { announced, received: self.received }
            }
            _ if self.ended => ListError::TornArchive,
            _ => ListError::DamagedArchive(error),
        }
    }

    /// Ends the content, which is an error when more was announced.
    fn end(&mut self) -> io::Result<usize> {
        self.ended = true;
        let complete = self.announced.is_none_or(|announced| self.received >= announced);
        if complete { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.head.is_empty() {
            let copied = self.head.as_slice().read(out)?;
            self.head.drain(..copied);
            return Ok(copied);
        }
        match self.input.read(out) {
            Ok(0) if !out.is_empty() => self.end(),
            Ok(count) => {
                self.received += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failure = Some(error);
                Err(io::Error::other("the input failed"))
            }
        }
    }
}

/// Unpacks all zstd frames of an input, one after the other, and checks their checksums.
pub(super) struct ZstdFrames<R: Read> {
    input: BufReader<R>,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: Read> ZstdFrames<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_ZSTD_WINDOW);
        Self { input: BufReader::new(input), decoder, in_frame: false }
    }

    fn start_frame(&mut self) -> io::Result<()> {
        match self.decoder.init(&mut self.input) {
            Ok(()) => {
                self.in_frame = true;
                Ok(())
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut self.input.by_ref().take(length), &mut io::sink())?;
                if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn read_frame(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let one = BlockDecodingStrategy::UptoBlocks(1);
            self.decoder.decode_blocks(&mut self.input, one).map_err(io::Error::other)?;
        }
        let count = self.decoder.read(out)?;
        if count == 0 {
            self.in_frame = false;
            self.check_frame()?;
        }
        Ok(count)
    }

    fn check_frame(&self) -> io::Result<()> {
        match self.decoder.get_checksum_from_data() {
            Some(expected) if self.decoder.get_calculated_checksum() != Some(expected) => {
                Err(io::Error::other("the zstd checksum does not match"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.in_frame {
                match self.read_frame(out)? {
                    0 => {}
                    count => return Ok(count),
                }
            } else if self.input.fill_buf()?.is_empty() {
                return Ok(0);
            } else {
                self.start_frame()?;
            }
        }
    }
}
