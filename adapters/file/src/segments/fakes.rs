//! A disk that fails as planned, and one that loses its power.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::{Disk, LocalDisk};

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
#[derive(Debug, Default)]
pub(crate) struct FailingDisk {
    plan: Mutex<VecDeque<Fate>>,
    writes: Mutex<usize>,
}

impl FailingDisk {
    pub(crate) fn new(plan: impl IntoIterator<Item = Fate>) -> Arc<Self> {
        Arc::new(Self { plan: Mutex::new(plan.into_iter().collect()), writes: Mutex::default() })
    }

    /// Returns how many writes there were.
    pub(crate) fn writes(&self) -> usize {
        *self.writes.lock().unwrap()
    }
}

impl Disk for FailingDisk {
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        *self.writes.lock().unwrap() += 1;
        match self.plan.lock().unwrap().pop_front().unwrap_or(Fate::Pass) {
            Fate::Pass => LocalDisk.append(file, bytes),
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
}

/// What a power failure leaves of a folder.
type Left = BTreeMap<OsString, Vec<u8>>;

/// Keeps in mind what a power failure leaves of a folder: of every file whose name was synced, what was synced of it.
/// Names that were removed are gone, synced or not.
#[derive(Debug)]
pub(crate) struct UnsafeDisk {
    dir: PathBuf,
    synced: Mutex<Synced>,
}

#[derive(Debug, Default)]
struct Synced {
    /// How long each file is, by its inode. The open file sees to it that no other gets the inode.
    lengths: HashMap<u64, (u64, File)>,
    names: BTreeMap<OsString, File>,
    /// What would have been left before each call.
    left: Vec<Left>,
}

impl Synced {
    fn left(&self, dir: &Path) -> Left {
        let there = self.names.iter().filter(|(name, _)| dir.join(name).exists());
        there.map(|(name, file)| (name.clone(), self.synced_of(file))).collect()
    }

    fn synced_of(&self, file: &File) -> Vec<u8> {
        let inode = file.metadata().unwrap().ino();
        let length = self.lengths.get(&inode).map_or(0, |(length, _)| *length);
        let (mut file, mut content) = (file.try_clone().unwrap(), Vec::new());
        io::Seek::rewind(&mut file).unwrap();
        file.take(length).read_to_end(&mut content).unwrap();
        content
    }

    fn sync(&mut self, file: &File) {
        let found = file.metadata().unwrap();
        self.lengths.insert(found.ino(), (found.len(), file.try_clone().unwrap()));
    }
}

impl UnsafeDisk {
    pub(crate) fn new(dir: &Path) -> Arc<Self> {
        Arc::new(Self { dir: dir.to_owned(), synced: Mutex::default() })
    }

    /// Returns the folder as a power failure would leave it now.
    pub(crate) fn cut_power(&self) -> TempDir {
        folder_of(&self.synced.lock().unwrap().left(&self.dir))
    }

    /// Returns the folder as power failures would have left it before every call, oldest first.
    pub(crate) fn power_cuts(&self) -> Vec<TempDir> {
        self.synced.lock().unwrap().left.iter().map(folder_of).collect()
    }

    fn before_call(&self, change: impl FnOnce(&mut Synced)) {
        let mut synced = self.synced.lock().unwrap();
        let left = synced.left(&self.dir);
        synced.left.push(left);
        change(&mut synced);
    }
}

fn folder_of(left: &Left) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in left {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

impl Disk for UnsafeDisk {
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)?;
        self.sync(file)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.before_call(|synced| synced.sync(file));
        Ok(())
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        self.before_call(|synced| {
            let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
            // What is gone by now was being removed.
            let files = names.filter_map(|name| Some((name.clone(), File::open(dir.join(name)).ok()?)));
            synced.names = files.collect();
        });
        Ok(())
    }
}
