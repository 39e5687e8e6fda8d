//! What makes things durable.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::folder;

/// What makes things durable: the disk of this machine, but for tests.
pub(crate) trait Disk: Send + Sync {
    /// Makes bytes durable at the end of a file.
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)?;
        file.sync_data()
    }

    /// Makes a file durable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Makes names that were added to or removed from a folder durable.
    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        folder::sync(dir)
    }
}

/// The disk of this machine.
pub(crate) struct LocalDisk;

impl Disk for LocalDisk {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    /// Takes every write, and refuses every sync.
    const NO_DISK: &str = "/dev/null";

    #[test]
    fn what_cannot_be_synced_is_not_durable() {
        let mut file = OpenOptions::new().append(true).open(NO_DISK).unwrap();
        file.write_all(b"x").unwrap();
        let synced = [
            LocalDisk.append(&mut file, b"x"),
            LocalDisk.sync(&file),
            LocalDisk.sync_names(Path::new(NO_DISK)),
        ];
        assert_eq!(synced.map(|synced| synced.is_ok()), [false; 3]);
    }
}
