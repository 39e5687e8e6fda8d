//! The front of an outbox: what is read next, what is forgotten, and what is damaged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mini_platform_core::domain::LogRecord;
use mini_platform_core::port::{OutboxPage, OutboxPosition};
use mini_platform_core::telemetry::OUTBOX_DAMAGED;

use crate::error::Failure;
use crate::segments::{Lines, Shared, UNFINISHED, plain, sync};

/// Names the file that says how much is forgotten: the place behind it, as a number.
const CURSOR_FILE: &str = "cursor";
/// Names the file of what was found and is no record.
const DAMAGED_FILE: &str = "corrupt";
/// How much of it is in memory at most.
const MAX_DAMAGED_BYTES: usize = 1 << 20;

/// The front of an outbox. One is in use at a time.
#[derive(Debug)]
pub(super) struct Front {
    dir: PathBuf,
    shared: Arc<Shared>,
    /// What is damaged before this place was put aside already.
    put_aside: u64,
    cursor_fails: bool,
}

impl Front {
    pub(super) fn open(dir: PathBuf, shared: Arc<Shared>) -> io::Result<Self> {
        let (first, end) = (shared.front(), shared.end());
        // Without it everything is read again, which is allowed.
        let cursor = read_cursor(&dir.join(CURSOR_FILE))?.unwrap_or(first);
        shared.front.store(cursor.clamp(first, end.max(first)), Ordering::Release);
        let front = Self { dir, shared, put_aside: 0, cursor_fails: false };
        front.remove_forgotten();
        Ok(front)
    }

    /// Reads from the front. What is no record is put aside.
    pub(super) fn read(&mut self, max: usize) -> Result<OutboxPage, Failure> {
        loop {
            let page = self.page(max)?;
            if !page.records.is_empty() || page.end.0 <= self.shared.front() {
                return Ok(page);
            }
            // All of it was damaged, so that nobody publishes and forgets it.
            self.forget(page.end.0);
        }
    }

    fn page(&mut self, max: usize) -> Result<OutboxPage, Failure> {
        let (mut at, end) = (self.shared.front(), self.shared.end());
        let mut found = Found { max, put_aside: self.put_aside, ..Found::default() };
        while at < end && found.has_room() {
            at = self.read_segment(at, end, &mut found)?;
        }
        if at > self.put_aside {
            self.put_aside(&found)?;
            self.put_aside = at;
        }
        Ok(OutboxPage { records: found.records, end: OutboxPosition(at) })
    }

    /// Reads on in the segment that holds a place; returns the place behind what was read.
    fn read_segment(&self, mut at: u64, end: u64, found: &mut Found) -> Result<u64, Failure> {
        let Some((base, next)) = self.shared.segment_of(at) else { return Ok(end) };
        let (path, segment_end) = (plain(&self.dir, base), next.unwrap_or(end).min(end));
        let failed = |cause| Failure::io(&path, "read", cause);
        let mut lines = match lines_from(&path, at - base, segment_end - at) {
            Ok(lines) => lines,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.missing(&path, at, segment_end);
                return Ok(segment_end);
            }
            Err(cause) => return Err(failed(cause)),
        };
        while found.has_room() {
            let Some(line) = lines.next().map_err(failed)? else {
                found.missing(&path, at, segment_end);
                return Ok(segment_end);
            };
            match LogRecord::from_json(line.text) {
                Ok(record) if line.is_whole => found.records.push(record),
                _ => found.damaged(&path, at, line.text),
            }
            at += line.length;
        }
        Ok(at)
    }

    fn put_aside(&self, found: &Found) -> Result<(), Failure> {
        let Some((path, place)) = &found.first_damage else { return Ok(()) };
        let aside = self.dir.join(DAMAGED_FILE);
        let failed = |cause| Failure::io(&aside, "written", cause);
        let mut file = OpenOptions::new().create(true).append(true).open(&aside).map_err(failed)?;
        file.write_all(&found.damaged).and_then(|()| file.sync_all()).map_err(failed)?;
        sync(&self.dir).map_err(failed)?;
        metrics::counter!(OUTBOX_DAMAGED).increment(found.damaged_lines);
        tracing::error!(
            file = %path.display(),
            place,
            lines = found.damaged_lines,
            missing_bytes = found.missing_bytes,
            aside = %aside.display(),
            "a part of the outbox is damaged; what is there of it is put aside, and the rest goes on"
        );
        Ok(())
    }

    /// Gives the room of what is before a place free.
    pub(super) fn forget(&mut self, before: u64) {
        let before = before.min(self.shared.end());
        if before <= self.shared.front() {
            return;
        }
        self.shared.front.store(before, Ordering::Release);
        let removed = self.remove_forgotten();
        // A cursor that lags behind only makes records be read again. With each segment it becomes durable.
        match write_cursor(&self.dir, before, removed) {
            Ok(()) => self.cursor_fails = false,
            Err(error) if !self.cursor_fails => {
                self.cursor_fails = true;
                tracing::warn!(%error, "the outbox cannot note what is forgotten; after a restart it is read again");
            }
            Err(_) => {}
        }
    }

    /// Removes the segments all of which is forgotten; returns whether there were any.
    fn remove_forgotten(&self) -> bool {
        let segments = self.shared.take_segments_before(self.shared.front());
        for base in &segments {
            let path = plain(&self.dir, *base);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The next start tries again.
                Err(error) => {
                    tracing::warn!(%error, file = %path.display(), "a segment of the outbox cannot be removed");
                }
            }
        }
        !segments.is_empty()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // As in `forget`; and there was a warning already, or this is the first time.
        if let Err(error) = write_cursor(&self.dir, self.shared.front(), true) {
            tracing::warn!(%error, "the outbox cannot note what is forgotten; after a restart it is read again");
        }
    }
}

fn lines_from(path: &Path, skipped: u64, length: u64) -> io::Result<Lines<impl BufRead + use<>>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(skipped))?;
    Ok(Lines::new(BufReader::new(file).take(length)))
}

fn read_cursor(path: &Path) -> io::Result<Option<u64>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn write_cursor(dir: &Path, place: u64, is_durable: bool) -> io::Result<()> {
    let (cursor, unfinished) = (dir.join(CURSOR_FILE), dir.join(format!("{CURSOR_FILE}{UNFINISHED}")));
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{place}")?;
    if is_durable {
        file.sync_all()?;
    }
    fs::rename(unfinished, cursor)?;
    if is_durable { sync(dir) } else { Ok(()) }
}

/// What a page holds, and what was damaged in between.
#[derive(Debug, Default)]
struct Found {
    records: Vec<LogRecord>,
    /// How many there may be.
    max: usize,
    /// What is damaged before this place is no news.
    put_aside: u64,
    /// The file of the first damage, and its place.
    first_damage: Option<(PathBuf, u64)>,
    damaged: Vec<u8>,
    damaged_lines: u64,
    missing_bytes: u64,
}

impl Found {
    fn has_room(&self) -> bool {
        self.records.len() < self.max && self.damaged.len() < MAX_DAMAGED_BYTES
    }

    fn damaged(&mut self, path: &Path, place: u64, text: &[u8]) {
        if place >= self.put_aside {
            self.first_damage.get_or_insert_with(|| (path.to_owned(), place));
            self.damaged_lines += 1;
            self.damaged.extend_from_slice(text);
            self.damaged.push(b'\n');
        }
    }

    /// Notes that the file has nothing from a place on to where it should end.
    fn missing(&mut self, path: &Path, place: u64, end: u64) {
        if place >= self.put_aside && place < end {
            self.first_damage.get_or_insert_with(|| (path.to_owned(), place));
            self.missing_bytes += end - place;
        }
    }
}
