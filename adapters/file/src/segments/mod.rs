//! Records in a folder of segments: what the local log and the outbox have in common.
//!
//! A segment is a file with a record a line. Its name is the number of bytes that were written before it, over all
//! segments; so a place in the folder is one number, the length of a segment is known from the name of the next, and
//! what a failed write left behind the last good byte of a segment is never read.

mod compress;
mod disk;
#[cfg(test)]
pub(crate) mod fakes;
mod folder;
mod lines;
mod recover;
mod writer;

pub(crate) use disk::{Disk, LocalDisk};
pub(crate) use folder::{Forms, UNFINISHED, compressed, list, place_of, plain, sync};
pub(crate) use lines::{Line, Lines, MAX_LINE_BYTES};
pub(crate) use writer::{Rotation, SegmentWriter, Shared};

use mini_platform_core::domain::LogRecord;

/// Writes records as lines.
pub(crate) fn encode(records: &[LogRecord]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        lines.extend_from_slice(&record.to_json());
        lines.push(b'\n');
    }
    lines
}
