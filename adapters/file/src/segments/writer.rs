//! The thread that writes.
//!
//! It takes what is queued, writes it at once and syncs it once, and only then answers everybody whose records were
//! in it. While one group is synced the next queues up.
//!
//! When a write or a sync fails, nobody of its group is told that anything is kept. The segment is cut back to what
//! was synced before, and the next group starts a new one: so a line is never continued behind a torn one, and no
//! sync is asked to answer for what an earlier one lost.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use mini_platform_core::domain::Timestamp;
use mini_platform_core::port::Clock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::compress::{Compressor, Finished, length_of_compressed};
use super::disk::Disk;
use super::folder::{self, Folder, Forms};
use super::recover::whole_bytes;
use crate::error::{Failure, OpenError};

/// How many bytes may be queued or being written before callers wait: several groups, so that the disk never waits
/// for callers, and all the memory that the queue takes.
const MAX_QUEUED_BYTES: u32 = 8 << 20;

/// When a group has this many bytes it takes no further call. One more sync for so many costs nothing that can be
/// measured, and a longer group only makes its callers wait.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// More than a group ever has: its last call starts before [`MAX_GROUP_BYTES`], and the largest call is 1024 records of
/// a few kilobytes.
pub(super) const MAX_UNSYNCED_BYTES: u64 = 8 << 20;

/// When a segment is finished, and what becomes of it then.
#[derive(Clone)]
pub(crate) struct Rotation {
    pub(crate) max_bytes: u64,
    pub(crate) max_age: Duration,
    pub(crate) compresses: bool,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What the writer and those who read beside it know of the folder.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The first byte that is not read and done with.
    pub(crate) front: AtomicU64,
    /// The byte behind the last that is durable.
    pub(crate) end: AtomicU64,
    /// The segments, by their first byte.
    bases: Mutex<BTreeSet<u64>>,
    pub(crate) appended: Notify,
}

impl Shared {
    pub(crate) fn front(&self) -> u64 {
        self.front.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Returns how many bytes are not read and done with.
    pub(crate) fn waiting(&self) -> u64 {
        self.end().saturating_sub(self.front())
    }

    fn bases(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        // Only changed by code that does not panic.
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the segment that holds a byte: where it starts, and where the next one does.
    pub(crate) fn segment_of(&self, place: u64) -> Option<(u64, Option<u64>)> {
        let bases = self.bases();
        let base = bases.range(..=place).next_back()?;
        Some((*base, bases.range(place + 1..).next().copied()))
    }

    /// Takes the segments off the list that end at a byte or before, never the newest.
    pub(crate) fn take_segments_before(&self, place: u64) -> BTreeSet<u64> {
        let mut bases = self.bases();
        let Some(holder) = bases.range(..=place).next_back().copied() else { return BTreeSet::new() };
        let kept = bases.split_off(&holder);
        std::mem::replace(&mut *bases, kept)
    }
}

struct Job {
    lines: Vec<u8>,
    reply: oneshot::Sender<Result<(), Failure>>,
    _room: OwnedSemaphorePermit,
}

/// Appends lines to a folder of segments. Dropping it finishes what is queued, and makes the dropping thread wait.
pub(crate) struct SegmentWriter {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl SegmentWriter {
    /// Opens a folder and cuts off what was never acknowledged. Waits for the disk.
    ///
    /// At most `max_waiting` bytes may wait between the front and the end.
    pub(crate) fn open(
        dir: &Path,
        rotation: Rotation,
        max_waiting: u64,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let folder = Folder::lock(dir)?;
        let failed = |source| OpenError::Folder { dir: dir.to_owned(), source };
        let opened = Opened::new(dir, &rotation, &*disk).map_err(failed)?;
        let compressor = rotation.compresses.then(|| Compressor::start(dir.to_owned(), Arc::clone(&disk)));
        let compressor = compressor.transpose().map_err(failed)?;
        let shared = Arc::new(Shared {
            front: AtomicU64::new(opened.bases.first().copied().unwrap_or_default()),
            end: AtomicU64::new(opened.end),
            bases: Mutex::new(opened.bases),
            appended: Notify::new(),
        });
        let (jobs, queue) = mpsc::channel();
        let writer = Writer {
            rotation,
            max_waiting,
            disk,
            queue,
            shared: Arc::clone(&shared),
            end: opened.end,
            current: opened.newest,
            finished: opened.finished,
            compressor,
            buffer: Vec::new(),
            folder,
        };
        let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(move || writer.run());
        let thread = Some(thread.map_err(failed)?);
        let room = Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize));
        Ok(Self { shared, room, jobs: Some(jobs), thread })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Answers when the lines are durable.
    pub(crate) async fn append(&self, lines: Vec<u8>) -> Result<(), Failure> {
        let bytes = u32::try_from(lines.len()).unwrap_or(u32::MAX).min(MAX_QUEUED_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        let (reply, answer) = oneshot::channel();
        let job = Job { lines, reply, _room: room.map_err(|_| Failure::Closed)? };
        let jobs = self.jobs.as_ref().ok_or(Failure::Closed)?;
        jobs.send(job).map_err(|_| Failure::Closed)?;
        answer.await.unwrap_or(Err(Failure::Closed))
    }

    pub(crate) fn finish(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the log died");
        }
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What was found in a folder.
struct Opened {
    bases: BTreeSet<u64>,
    newest: Option<Segment>,
    end: u64,
    /// Those that are to be compressed.
    finished: Vec<Finished>,
}

impl Opened {
    fn new(dir: &Path, rotation: &Rotation, disk: &dyn Disk) -> io::Result<Self> {
        // A process that was killed may have come between giving a name and making it durable.
        disk.sync_names(dir)?;
        let segments = folder::list(dir)?;
        let mut opened =
            Self { bases: segments.keys().copied().collect(), newest: None, end: 0, finished: Vec::new() };
        let mut nexts = segments.keys().skip(1);
        for (base, forms) in &segments {
            match (nexts.next(), forms) {
                (Some(_), Forms { plain: true, compressed: true }) => {
                    // The compressed one is only given its name when it is whole.
                    std::fs::remove_file(folder::plain(dir, *base))?;
                }
                (Some(next), Forms { plain: true, compressed: false }) => {
                    opened.finished.push(Finished { base: *base, length: next - base });
                }
                (Some(_), _) => {}
                (None, Forms { plain: true, .. }) => {
                    let newest = Segment::reopen(dir, *base, &*rotation.clock, disk)?;
                    opened.end = base + newest.length;
                    opened.newest = Some(newest);
                }
                (None, _) => {
                    opened.end = base + length_of_compressed(&folder::compressed(dir, *base))?;
                }
            }
        }
        Ok(opened)
    }
}

/// The segment that is written to.
struct Segment {
    path: PathBuf,
    file: File,
    base: u64,
    /// The bytes that are durable.
    length: u64,
    since: Timestamp,
}

impl Segment {
    fn create(dir: &Path, base: u64, since: Timestamp, disk: &dyn Disk) -> Result<Self, Failure> {
        let path = folder::plain(dir, base);
        let failed = |cause| Failure::io(&path, "made", cause);
        // It may be there after a write that failed, with nothing that was acknowledged.
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        disk.sync_names(dir).map_err(failed)?;
        Ok(Self { file, base, length: 0, since, path })
    }

    /// Opens the newest segment, and cuts off what a crash left of a group.
    fn reopen(dir: &Path, base: u64, clock: &dyn Clock, disk: &dyn Disk) -> io::Result<Self> {
        let path = folder::plain(dir, base);
        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        let found = file.metadata()?;
        let length = whole_bytes(&mut file)?;
        if length < found.len() {
            file.set_len(length)?;
            disk.sync(&file)?;
            tracing::warn!(
                file = %path.display(),
                cut_bytes = found.len() - length,
                "the end of the log was torn by a crash; it was never acknowledged and is cut off"
            );
        }
        let created = found.created().ok().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
        let micros = created.and_then(|created| i64::try_from(created.as_micros()).ok());
        let since = micros.and_then(|micros| Timestamp::from_micros(micros).ok());
        Ok(Self { path, file, base, length, since: since.unwrap_or_else(|| clock.now()) })
    }

    fn cut_back(&self) {
        if let Err(error) = self.file.set_len(self.length) {
            // It ends where the next one begins, so nobody reads on.
            tracing::warn!(%error, file = %self.path.display(), "what a failed write left could not be cut off");
        }
    }
}

struct Writer {
    rotation: Rotation,
    max_waiting: u64,
    disk: Arc<dyn Disk>,
    queue: Receiver<Job>,
    shared: Arc<Shared>,
    end: u64,
    current: Option<Segment>,
    /// Those that may be compressed as soon as there is a next one, which tells where they end.
    finished: Vec<Finished>,
    compressor: Option<Compressor>,
    buffer: Vec<u8>,
    /// Last, so that the folder is free when nobody works in it any more.
    folder: Folder,
}

impl Writer {
    fn run(mut self) {
        self.hand_over_finished();
        while let Ok(first) = self.queue.recv() {
            let replies = self.gather(first);
            let written = self.commit();
            if written.is_ok() && !replies.is_empty() {
                self.shared.end.store(self.end, Ordering::Release);
                self.shared.appended.notify_waiters();
            }
            for (reply, _room) in replies {
                // Nobody may be waiting any more.
                let _ = reply.send(written.clone());
            }
        }
    }

    /// Takes what is queued into the buffer, up to a limit, and refuses what has no room.
    fn gather(&mut self, first: Job) -> Vec<(oneshot::Sender<Result<(), Failure>>, OwnedSemaphorePermit)> {
        self.buffer.clear();
        let mut replies = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            let waiting = self.end - self.shared.front() + self.buffer.len() as u64;
            if waiting + job.lines.len() as u64 > self.max_waiting {
                let _ = job.reply.send(Err(Failure::NoRoom));
            } else {
                self.buffer.extend_from_slice(&job.lines);
                replies.push((job.reply, job._room));
            }
            next = if self.buffer.len() < MAX_GROUP_BYTES { self.queue.try_recv().ok() } else { None };
        }
        replies
    }

    /// Writes the buffer.
    fn commit(&mut self) -> Result<(), Failure> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.rotate();
        let mut segment = self.segment()?;
        match self.disk.append(&mut segment.file, &self.buffer) {
            Ok(()) => {
                segment.length += self.buffer.len() as u64;
                self.end = segment.base + segment.length;
                self.current = Some(segment);
                Ok(())
            }
            Err(cause) => {
                segment.cut_back();
                let failure = Failure::io(&segment.path, "written", cause);
                self.finish(&segment);
                Err(failure)
            }
        }
    }

    fn rotate(&mut self) {
        let now = self.rotation.clock.now();
        let is_due = |segment: &mut Segment| {
            let is_old = now.since(segment.since) >= self.rotation.max_age;
            segment.length >= self.rotation.max_bytes || (is_old && segment.length > 0)
        };
        if let Some(segment) = self.current.take_if(is_due) {
            self.finish(&segment);
        }
    }

    fn finish(&mut self, segment: &Segment) {
        if segment.length > 0 {
            self.finished.push(Finished { base: segment.base, length: segment.length });
        }
    }

    /// Takes the segment to write to, a new one if there is none.
    fn segment(&mut self) -> Result<Segment, Failure> {
        if let Some(segment) = self.current.take() {
            return Ok(segment);
        }
        let now = self.rotation.clock.now();
        let segment = Segment::create(self.folder.dir(), self.end, now, &*self.disk)?;
        self.shared.bases().insert(self.end);
        self.hand_over_finished();
        Ok(segment)
    }

    fn hand_over_finished(&mut self) {
        for segment in self.finished.drain(..) {
            if let Some(compressor) = &self.compressor {
                compressor.compress(segment);
            }
        }
    }
}
