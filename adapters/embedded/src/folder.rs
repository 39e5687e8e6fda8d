//! The folder: who may use it, and what a crash or a clean end leaves in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::OpenError;

/// Names the file that the process which uses the folder holds locked.
const LOCK_FILE: &str = "lock";
/// Names the folder of the storage engine.
const STORE_FOLDER: &str = "store";
/// Ends the names of the engine's journals.
const JOURNAL_EXTENSION: &str = "jnl";
/// The engine writes this file last when it makes a database.
const ENGINE_MARKER: &str = "version";
/// The engine keeps a folder per keyspace here; `0` is its own.
const ENGINE_KEYSPACES: &str = "keyspaces";

/// The right to use a folder, until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    _lock: File,
    everything_is_in_tables: AtomicBool,
}

impl Folder {
    /// Makes the folder if need be and locks it.
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
        Ok(Self { dir: dir.to_owned(), _lock: lock, everything_is_in_tables: AtomicBool::new(false) })
    }

    /// Returns the folder of the storage engine.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join(STORE_FOLDER)
    }

    /// Removes what a crash in the middle of making the database left; the engine would stumble over it.
    ///
    /// The engine writes its marker before anything can be stored, and makes no keyspace before that.
    pub(crate) fn clear_unfinished_store(&self) -> io::Result<()> {
        let store = self.store();
        let marker = fs::metadata(store.join(ENGINE_MARKER)).map_or(0, |marker| marker.len());
        if marker > 0 || !store.try_exists()? || has_keyspaces(&store)? {
            return Ok(());
        }
        tracing::info!("a database whose creation was cut short is made anew");
        fs::remove_dir_all(store)
    }

    /// Says that the journals hold nothing that is not in tables too, and that nobody writes any more.
    pub(crate) fn set_everything_is_in_tables(&self) {
        self.everything_is_in_tables.store(true, Ordering::Release);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.everything_is_in_tables.load(Ordering::Acquire)
            && let Err(error) = empty_journals(&self.store())
        {
            tracing::warn!(%error, "the journals could not be emptied; the next start takes longer");
        }
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

fn has_keyspaces(store: &Path) -> io::Result<bool> {
    let keyspaces = match fs::read_dir(store.join(ENGINE_KEYSPACES)) {
        Ok(keyspaces) => keyspaces,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for keyspace in keyspaces {
        if keyspace?.file_name() != "0" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Empties the engine's journals, so that the next start has nothing to replay.
///
/// The engine replays whole journals, 1 to 2 µs an item, before it finds that the tables have it all; it takes
/// an empty journal for one without writes. Its own bound for a journal, 64 MB, is a second of replay.
fn empty_journals(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == JOURNAL_EXTENSION) {
            let journal = OpenOptions::new().write(true).open(path)?;
            journal.set_len(0)?;
            journal.sync_all()?;
        }
    }
    Ok(())
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
    fn only_a_store_that_was_never_finished_is_cleared() {
        for (marker, keyspace, cleared) in
            [(None, "0", true), (Some(""), "0", true), (Some("FJL3"), "0", false), (None, "1", false)]
        {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::lock(dir.path()).unwrap();
            fs::create_dir_all(folder.store().join(ENGINE_KEYSPACES).join(keyspace)).unwrap();
            if let Some(text) = marker {
                fs::write(folder.store().join(ENGINE_MARKER), text).unwrap();
            }
            folder.clear_unfinished_store().unwrap();
            assert_eq!(!folder.store().exists(), cleared, "{marker:?} {keyspace}");
        }
    }

    #[test]
    fn journals_are_emptied_only_when_everything_is_in_tables() {
        for in_tables in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::lock(dir.path()).unwrap();
            let journal = folder.store().join("7.jnl");
            fs::create_dir_all(folder.store()).unwrap();
            fs::write(&journal, "data").unwrap();
            if in_tables {
                folder.set_everything_is_in_tables();
            }
            drop(folder);
            assert_eq!(fs::metadata(&journal).unwrap().len() == 0, in_tables);
        }
    }
}
