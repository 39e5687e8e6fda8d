//! Reading a folder of segments from its beginning.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use flate2::bufread::MultiGzDecoder;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use mini_platform_core::domain::LogRecord;
use mini_platform_core::error::LogError;
use mini_platform_core::port::{LogReader, RecordStream};

use crate::background::in_background;
use crate::error::Failure;
use crate::segments::{Forms, Line, Lines, MAX_LINE_BYTES, compressed, list, place_of, plain};

/// How many records are read at a time: under a megabyte in memory, and far more work than switching threads.
const RECORDS_PER_PIECE: usize = 512;

const OPERATION: &str = "read records";

/// A [`LogReader`] of a folder that a [`FileLog`](crate::FileLog) writes to, or wrote to.
///
/// It needs no lock, so it may read beside the writer. It answers what was written when it was opened; of what was
/// being written at that moment, none, some or all. Compressed segments and plain ones may stand side by side, and
/// the oldest may have been moved away.
pub struct FileLogReader {
    dir: PathBuf,
}

impl fmt::Debug for FileLogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLogReader").field("dir", &self.dir).finish()
    }
}

impl FileLogReader {
    /// Makes a reader of a folder.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }
}

#[async_trait]
impl LogReader for FileLogReader {
    async fn records(&self) -> Result<RecordStream, LogError> {
        let dir = self.dir.clone();
        let opened = in_background(move || Walk::open(dir)).await.and_then(|opened| opened);
        let walk = opened.map_err(|failure| failure.during(OPERATION))?;
        let pieces = stream::try_unfold(walk, async |mut walk| {
            let read = in_background(move || (walk.piece(), walk)).await;
            let (piece, walk) = read.map_err(|failure| failure.during(OPERATION))?;
            Ok::<_, LogError>((!piece.is_empty()).then(|| (stream::iter(piece), walk)))
        });
        Ok(pieces.try_flatten().boxed())
    }
}

/// A segment, and how many bytes it has: up to the next, or, of the newest, those that it had at the opening.
#[derive(Debug, Clone, Copy)]
struct Segment {
    base: u64,
    length: Option<u64>,
    is_newest: bool,
}

/// The segments in order, and the place that is read next.
struct Walk {
    dir: PathBuf,
    segments: VecDeque<Segment>,
    /// Open from the beginning, since it may be compressed before its turn comes.
    newest: Option<File>,
    current: Option<Open>,
    has_failed: bool,
}

impl Walk {
    fn open(dir: PathBuf) -> Result<Self, Failure> {
        let failed = |cause| Failure::io(&dir, "read", cause);
        loop {
            let found = list(&dir).map_err(failed)?;
            let nexts = found.keys().skip(1).map(Some).chain([None]);
            let mut segments: VecDeque<_> = found
                .keys()
                .zip(nexts)
                .map(|(base, next)| Segment {
                    base: *base,
                    length: next.map(|next| next - base),
                    is_newest: next.is_none(),
                })
                .collect();
            let mut newest = None;
            if let (Some(segment), Some((_, Forms { plain: true, .. }))) =
                (segments.back_mut(), found.last_key_value())
            {
                match File::open(plain(&dir, segment.base)) {
                    Ok(file) => {
                        segment.length = Some(file.metadata().map_err(failed)?.len());
                        newest = Some(file);
                    }
                    // It was compressed meanwhile, so it is not the newest any more.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(cause) => return Err(failed(cause)),
                }
            }
            return Ok(Self { dir, segments, newest, current: None, has_failed: false });
        }
    }

    /// Returns what is next, up to and with a failure; nothing at the end.
    fn piece(&mut self) -> Vec<Result<LogRecord, LogError>> {
        let mut piece = Vec::with_capacity(RECORDS_PER_PIECE);
        while !self.has_failed && piece.len() < RECORDS_PER_PIECE {
            match self.next() {
                Ok(Some(record)) => piece.push(Ok(record)),
                Ok(None) => break,
                Err(error) => {
                    self.has_failed = true;
                    piece.push(Err(error));
                }
            }
        }
        piece
    }

    fn next(&mut self) -> Result<Option<LogRecord>, LogError> {
        loop {
            let open = match &mut self.current {
                Some(open) => open,
                None => {
                    let Some(segment) = self.segments.pop_front() else { return Ok(None) };
                    let newest = self.newest.take_if(|_| segment.is_newest);
                    let open = Open::new(&self.dir, segment, newest);
                    self.current.insert(open.map_err(|failure| failure.during(OPERATION))?)
                }
            };
            match open.next()? {
                Some(record) => return Ok(Some(record)),
                None => self.current = None,
            }
        }
    }
}

/// A segment that is being read.
struct Open {
    path: PathBuf,
    lines: Lines<Box<dyn BufRead + Send>>,
    line: u64,
    /// How many bytes are to come, if that is known.
    left: Option<u64>,
    is_newest: bool,
}

impl Open {
    fn new(dir: &Path, segment: Segment, file: Option<File>) -> Result<Self, Failure> {
        let Segment { base, length: left, is_newest } = segment;
        let path = plain(dir, base);
        let file = file.map_or_else(|| File::open(&path), Ok);
        let (path, input): (_, Box<dyn BufRead + Send>) = match file {
            Ok(file) => (path, Box::new(BufReader::new(file).take(left.unwrap_or(u64::MAX)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = compressed(dir, base);
                let file = File::open(&path).map_err(|cause| Failure::io(&path, "read", cause))?;
                (path, Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file)))))
            }
            Err(cause) => return Err(Failure::io(&path, "read", cause)),
        };
        Ok(Self { path, lines: Lines::new(input), line: 0, left, is_newest })
    }

    fn next(&mut self) -> Result<Option<LogRecord>, LogError> {
        let line = self.lines.next();
        let line = line.map_err(|cause| Failure::io(&self.path, "read", cause).during(OPERATION))?;
        let Some(Line { text, length, is_whole }) = line else {
            return match self.left {
                Some(missing) if missing > 0 && !self.is_newest => {
                    Err(Failure::EndsEarly { path: self.path.clone(), missing }.during(OPERATION))
                }
                _ => Ok(None),
            };
        };
        if self.is_newest && !is_whole && length < MAX_LINE_BYTES as u64 {
            // It is being written, or was when a crash came.
            return Ok(None);
        }
        self.line += 1;
        self.left = self.left.map(|left| left.saturating_sub(length));
        let record = LogRecord::from_json(text).map_err(|error| LogError::Undecodable {
            place: place_of(&self.path, self.line),
            reason: error.into(),
        });
        record.map(Some)
    }
}
