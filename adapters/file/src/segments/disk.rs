//! A disk that fails as planned.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};

use super::{Write, write_and_sync};

/// What happens to one write.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Pass,
    /// So many bytes are written, and then there is no room.
    Full(usize),
    /// Everything is written, and the sync fails.
    FailSync,
}

/// Writes meet their fates in order, and pass when the plan is used up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    plan: Arc<Mutex<VecDeque<Fate>>>,
    writes: Arc<Mutex<usize>>,
}

impl Disk {
    pub(crate) fn new(plan: impl IntoIterator<Item = Fate>) -> Self {
        Self { plan: Arc::new(Mutex::new(plan.into_iter().collect())), writes: Arc::default() }
    }

    pub(crate) fn write(&self) -> Write {
        let disk = self.clone();
        Box::new(move |file, bytes| disk.meet(file, bytes))
    }

    fn meet(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        *self.writes.lock().unwrap() += 1;
        match self.plan.lock().unwrap().pop_front().unwrap_or(Fate::Pass) {
            Fate::Pass => write_and_sync(file, bytes),
            Fate::Full(written) => {
                file.write_all(&bytes[..written])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Fate::FailSync => {
                file.write_all(bytes)?;
                Err(io::Error::other("the disk lost it"))
            }
        }
    }

    /// Returns how many writes there were.
    pub(crate) fn writes(&self) -> usize {
        *self.writes.lock().unwrap()
    }
}
