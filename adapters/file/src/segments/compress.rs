//! Compressing segments that are finished, in the background.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::disk::Disk;
use super::folder::{self, UNFINISHED};

const PIECE_BYTES: usize = 64 * 1024;

/// A segment that nobody writes to any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finished {
    pub(super) base: u64,
    pub(super) length: u64,
}

/// The thread that compresses. Dropping this ends it; what it has not done is done after the next start.
#[derive(Debug)]
pub(super) struct Compressor {
    segments: Option<mpsc::Sender<Finished>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Compressor {
    pub(super) fn start(dir: PathBuf, disk: Arc<dyn Disk>) -> io::Result<Self> {
        let (segments, queue) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || run(&dir, &*disk, &queue, &stopped);
        let thread = thread::Builder::new().name("log-compress".to_owned()).spawn(run)?;
        Ok(Self { segments: Some(segments), stop, thread: Some(thread) })
    }

    pub(super) fn compress(&self, segment: Finished) {
        if let Some(segments) = &self.segments {
            // Fails only when the thread died, which leaves the segment as it is.
            let _ = segments.send(segment);
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.segments = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that compresses segments of the log died");
        }
    }
}

fn run(dir: &Path, disk: &dyn Disk, queue: &Receiver<Finished>, stop: &AtomicBool) {
    let mut waiting: Vec<Finished> = Vec::new();
    while let Ok(segment) = queue.recv() {
        waiting.push(segment);
        // What failed before is tried again with the next segment: a disk that was full may have room.
        waiting.retain(|segment| match compress(dir, disk, *segment, stop) {
            Ok(()) => false,
            Err(_) if stop.load(Ordering::Acquire) => true,
            Err(error) => {
                let file = folder::plain(dir, segment.base);
                tracing::warn!(%error, file = %file.display(), "a segment of the log stays uncompressed");
                true
            }
        });
    }
}

/// Writes the segment beside itself, and only then removes the plain one.
fn compress(dir: &Path, disk: &dyn Disk, segment: Finished, stop: &AtomicBool) -> io::Result<()> {
    let (plain, done) = (folder::plain(dir, segment.base), folder::compressed(dir, segment.base));
    let unfinished = done.with_extension(format!("gz{UNFINISHED}"));
    let written =
        write_compressed(&plain, segment.length, &unfinished, stop).and_then(|file| disk.sync(&file));
    if let Err(error) = written {
        // Gives its room free; if that fails, too, the next start does it.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    fs::rename(&unfinished, &done)?;
    disk.sync_names(dir)?;
    fs::remove_file(&plain)?;
    disk.sync_names(dir)
}

fn write_compressed(plain: &Path, length: u64, to: &Path, stop: &AtomicBool) -> io::Result<File> {
    let mut input = File::open(plain)?.take(length);
    let mut output = GzEncoder::new(File::create(to)?, Compression::default());
    let mut piece = vec![0; PIECE_BYTES];
    let mut copied = 0;
    while copied < length {
        if stop.load(Ordering::Acquire) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let read = input.read(&mut piece)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the segment is too short"));
        }
        output.write_all(piece.get(..read).unwrap_or_default())?;
        copied += read as u64;
    }
    output.finish()
}

/// Returns how many bytes a compressed segment held.
pub(crate) fn length_of_compressed(path: &Path) -> io::Result<u64> {
    let mut decoder = MultiGzDecoder::new(BufReader::new(File::open(path)?));
    io::copy(&mut decoder, &mut io::sink())
}
