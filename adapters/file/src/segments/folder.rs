//! The folder: who may write to it, and which segments are in it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// Names the file that the process which writes to the folder holds locked.
const LOCK_FILE: &str = "lock";
/// Ends the names of segments.
const PLAIN: &str = ".ndjson";
/// Ends the names of compressed segments.
const COMPRESSED: &str = ".ndjson.gz";
/// Ends the names of files that are not finished.
pub(crate) const UNFINISHED: &str = ".tmp";
/// The digits of a name, so that names sort like numbers.
const DIGITS: usize = 20;

/// The right to write to a folder, until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, locks it, and removes what was not finished.
    pub(crate) fn lock(dir: &Path) -> Result<Self, OpenError> {
        let refused = |source| OpenError::Folder { dir: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(refused)?;
        let path = dir.join(LOCK_FILE);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut lock = open.map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { dir: dir.to_owned(), holder: read_holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        write_holder(&mut lock).map_err(refused)?;
        let folder = Self { dir: dir.to_owned(), _lock: lock };
        folder.remove_unfinished().map_err(refused)?;
        Ok(folder)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.to_str().is_some_and(|path| path.ends_with(UNFINISHED)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn read_holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Makes names that were added to or removed from a folder durable.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// In which forms a segment is there: both, when its compression was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Forms {
    pub(crate) plain: bool,
    pub(crate) compressed: bool,
}

/// Returns the segments of a folder by their first byte.
pub(crate) fn list(dir: &Path) -> io::Result<BTreeMap<u64, Forms>> {
    let mut segments: BTreeMap<u64, Forms> = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(base) = name.strip_suffix(PLAIN).and_then(base_of) {
            segments.entry(base).or_default().plain = true;
        } else if let Some(base) = name.strip_suffix(COMPRESSED).and_then(base_of) {
            segments.entry(base).or_default().compressed = true;
        }
    }
    Ok(segments)
}

fn base_of(name: &str) -> Option<u64> {
    let is_number = name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { name.parse().ok() } else { None }
}

/// Returns where the segment is that starts at a byte.
pub(crate) fn plain(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:0DIGITS$}{PLAIN}"))
}

/// Returns where the segment is when it is compressed.
pub(crate) fn compressed(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:0DIGITS$}{COMPRESSED}"))
}

/// Names a line of a file for an error or a log: `data/log/00000000000000000000.ndjson:3`.
pub(crate) fn place_of(path: &Path, line: u64) -> String {
    format!("{}:{line}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_after_the_drop() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::lock(dir.path()).unwrap();
        let second = Folder::lock(dir.path());
        let holder = Some(std::process::id());
        assert!(matches!(second, Err(OpenError::Locked { holder: named, .. }) if named == holder));
        drop(first);
        assert!(Folder::lock(dir.path()).is_ok());
    }

    #[test]
    fn a_path_that_is_a_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Folder::lock(file.path()), Err(OpenError::Folder { .. })));
    }

    #[test]
    fn segments_are_found_in_order_among_other_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "00000000000000000100.ndjson",
            "00000000000000000009.ndjson.gz",
            "00000000000000000100.ndjson.gz",
            "00000000000000000200.ndjson.gz.tmp",
            "lock",
            "0100.ndjson",
            "+0000000000000000300.ndjson",
            "99999999999999999999.ndjson",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let [only_compressed, both] = [false, true].map(|plain| Forms { plain, compressed: true });
        let found: Vec<_> = list(dir.path()).unwrap().into_iter().collect();
        assert_eq!(found, [(9, only_compressed), (100, both)]);
        assert!(plain(dir.path(), 100).exists() && compressed(dir.path(), 9).exists());
    }
}
