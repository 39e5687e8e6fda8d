//! The fraud source in a file.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use mini_platform_core::domain::{Etag, ListVersion, Timestamp};
use mini_platform_core::error::SourceError;
use mini_platform_core::port::{Clock, Fetched, FraudSource, RawList, SystemClock};
use sha2::{Digest, Sha256};

use crate::error::FileError;

/// How many bytes of the file are in memory at a time, per piece.
const PIECE_BYTES: usize = 256 * 1024;

/// How many bytes of the SHA-256 make the etag: collisions are beyond reach, and logs stay readable.
const ETAG_BYTES: usize = 16;

/// How long a file must not have changed before its times are believed.
///
/// Two changes within one tick of a file system's clock leave the same time. Ticks are 10 ms at most on file
/// systems of Linux, and 2 s on FAT.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// A [`FraudSource`] in a local file: published when the file was modified, told apart by its content.
///
/// A file that did not change is not read. One that did is read twice: to hash it, and to hand it on.
pub struct FileSource {
    place: String,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Option<Seen>>>,
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource").field("path", &self.path).finish_non_exhaustive()
    }
}

impl FileSource {
    /// Makes a source of the file at a path, which need not exist yet.
    ///
    /// A relative path is relative to the folder that the process runs in.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let place = format!("file:{}", path.display());
        Self { place, path, clock: Arc::new(SystemClock), seen: Arc::default() }
    }

    /// Compares the times of the file with another clock than that of the operating system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

#[async_trait]
impl FraudSource for FileSource {
    fn place(&self) -> String {
        self.place.clone()
    }

    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
        let (place, path, now) = (self.place.clone(), self.path.clone(), self.clock.now());
        let seen = Arc::clone(&self.seen);
        let opened = in_background(&self.place, move || Opened::new(&path, place, now, &seen)).await?;
        if since.is_some_and(|since| since.etag() == opened.version.etag()) {
            return Ok(Fetched::NotModified);
        }
        let (version, length) = (opened.version.clone(), opened.length);
        Ok(Fetched::Changed(RawList { version, announced_bytes: Some(length), bytes: opened.into_bytes() }))
    }
}

/// Runs what waits for the disk on a thread that may.
async fn in_background<T: Send + 'static>(
    place: &str,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(FileError::Stopped { place: place.to_owned() }))
}

/// What changes when a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: SystemTime,
    identity: Identity,
}

#[cfg(unix)]
type Identity = (u64, u64, i64, i64);

/// Returns the device, the inode, and the time of the last change of either content or attributes, which cannot be
/// set back.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
type Identity = ();

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { length: metadata.len(), modified: metadata.modified()?, identity: identity(metadata) })
    }

    fn published_at(&self) -> Timestamp {
        let micros = match self.modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()),
            Err(before) => i64::try_from(before.duration().as_micros()).map(i64::saturating_neg),
        };
        micros.ok().and_then(|micros| Timestamp::from_micros(micros).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Whether a further change is sure to change the stamp, too.
    fn is_settled(&self, now: Timestamp) -> bool {
        now.since(self.published_at()) >= SETTLED_AFTER
    }
}

/// The version of the content that the file had under a stamp.
#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    version: ListVersion,
}

/// A file whose version is known, at its start.
#[derive(Debug)]
struct Opened {
    file: File,
    place: String,
    version: ListVersion,
    length: u64,
}

impl Opened {
    fn new(
        path: &Path,
        place: String,
        now: Timestamp,
        seen: &Mutex<Option<Seen>>,
    ) -> Result<Self, FileError> {
        // Before it is opened, since opening a pipe waits for its writer.
        check_is_file(path, &place)?;
        let failed = |cause| FileError::Io { place: place.clone(), cause };
        let stamp_of = |file: &File| file.metadata().and_then(|metadata| Stamp::of(&metadata));
        let mut file = File::open(path).map_err(failed)?;
        let stamp = stamp_of(&file).map_err(failed)?;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.as_ref().filter(|known| known.stamp == stamp) {
            let version = known.version.clone();
            return Ok(Self { file, place, version, length: stamp.length });
        }
        let etag = hash(&mut file, stamp.length).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if stamp_of(&file).map_err(failed)? != stamp {
            return Err(FileError::Changed { place });
        }
        let (length, version) = (stamp.length, ListVersion::new(stamp.published_at(), etag));
        *seen = stamp.is_settled(now).then(|| Seen { stamp, version: version.clone() });
        Ok(Self { file, place, version, length })
    }

    /// Returns the content in pieces; what is not the content of the version ends in an `Err`.
    fn into_bytes(self) -> BoxStream<'static, Result<Bytes, SourceError>> {
        let place = self.place.clone();
        let reading = Reading { left: self.length, opened: self, hash: Sha256::new() };
        try_unfold(reading, move |reading| {
            let place = place.clone();
            async move { Ok(in_background(&place, || reading.next_piece()).await?) }
        })
        .boxed()
    }
}

fn check_is_file(path: &Path, place: &str) -> Result<(), FileError> {
    let place = || place.to_owned();
    match fs::metadata(path).map_err(|cause| FileError::Io { place: place(), cause })?.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(FileError::Folder { place: place() }),
        _ => Err(FileError::Special { place: place() }),
    }
}

/// Returns the etag of the first `length` bytes.
fn hash(file: &mut File, length: u64) -> io::Result<Etag> {
    let (mut hash, mut file) = (Sha256::new(), file.take(length));
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    loop {
        piece.clear();
        if file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)? == 0 {
            return etag(hash);
        }
        hash.update(&piece);
    }
}

fn etag(hash: Sha256) -> io::Result<Etag> {
    let digest = hash.finalize();
    Etag::new(HEXLOWER.encode(digest.get(..ETAG_BYTES).unwrap_or_default())).map_err(io::Error::other)
}

/// A file on the way from its start to its end.
#[derive(Debug)]
struct Reading {
    opened: Opened,
    left: u64,
    hash: Sha256,
}

impl Reading {
    /// Returns the next piece, or `None` at the end of the very content that was hashed before.
    fn next_piece(mut self) -> Result<Option<(Bytes, Self)>, FileError> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let result = self.opened.file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
        let count = result.map_err(|cause| FileError::Io { place: self.opened.place.clone(), cause })? as u64;
        match self.left.checked_sub(count) {
            Some(left) if count > 0 => {
                self.left = left;
                self.hash.update(&piece);
                Ok(Some((piece.into(), self)))
            }
            Some(0) => self.end(),
            _ => Err(FileError::Changed { place: self.opened.place }),
        }
    }

    fn end(self) -> Result<Option<(Bytes, Self)>, FileError> {
        let Opened { place, version, .. } = self.opened;
        match etag(self.hash) {
            Ok(etag) if etag == *version.etag() => Ok(None),
            _ => Err(FileError::Changed { place }),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use mini_platform_core::testkit::ManualClock;

    use super::*;

    /// A file in a folder of its own, and a source of it whose clock is an hour ahead: its times are believed.
    struct Scene {
        _folder: tempfile::TempDir,
        path: PathBuf,
        source: FileSource,
    }

    impl Scene {
        fn new(content: impl AsRef<[u8]>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("list.txt");
            fs::write(&path, content).unwrap();
            let clock = ManualClock::new(SystemClock.now().saturating_add(Duration::from_secs(3600)));
            let source = FileSource::new(&path).with_clock(Arc::new(clock));
            Self { _folder: folder, path, source }
        }

        async fn fetch(&self) -> RawList {
            match self.source.fetch_if_changed(None).await.unwrap() {
                Fetched::Changed(list) => list,
                other => panic!("{other:?}"),
            }
        }

        async fn is_modified(&self, since: &ListVersion) -> bool {
            let fetched = self.source.fetch_if_changed(Some(since.clone())).await.unwrap();
            matches!(fetched, Fetched::Changed(_))
        }

        fn set_modified(&self, seconds: u64) {
            let file = File::options().write(true).open(&self.path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        }
    }

    fn sentinel() -> ListVersion {
        ListVersion::new(Timestamp::UNIX_EPOCH, Etag::new("sentinel").unwrap())
    }

    #[tokio::test]
    async fn the_version_is_the_time_of_the_file_and_the_hash_of_its_content() {
        let scene = Scene::new("abc");
        scene.set_modified(1_700_000_000);
        let version = scene.fetch().await.version;
        assert_eq!(version.to_string(), "2023-11-14T22:13:20Z_ba7816bf8f01cfea414140de5dae2223");
    }

    #[tokio::test]
    async fn touching_a_file_is_no_change() {
        let scene = Scene::new("abc");
        let version = scene.fetch().await.version;
        scene.set_modified(1_700_000_000);
        assert!(!scene.is_modified(&version).await);
    }

    #[tokio::test]
    async fn a_file_that_another_takes_the_place_of_is_changed() {
        let scene = Scene::new("abc");
        scene.set_modified(1_700_000_000);
        let version = scene.fetch().await.version;
        let other = scene.path.with_extension("new");
        fs::write(&other, "abd").unwrap();
        fs::rename(&other, &scene.path).unwrap();
        scene.set_modified(1_700_000_000);
        assert!(scene.is_modified(&version).await, "though its length and time are the same");
    }

    #[tokio::test]
    async fn a_settled_file_is_not_read_again() {
        let scene = Scene::new("abc");
        let _ = scene.fetch().await;
        scene.source.seen.lock().unwrap().as_mut().expect("its times are believed").version = sentinel();
        assert_eq!(scene.fetch().await.version, sentinel(), "its version is remembered, not found out");
        assert!(!scene.is_modified(&sentinel()).await);
        scene.set_modified(1_700_000_000);
        assert_ne!(scene.fetch().await.version, sentinel(), "until its stamp changes");
    }

    #[tokio::test]
    async fn the_times_of_a_fresh_file_are_not_believed() {
        let mut scene = Scene::new("abc");
        scene.set_modified(1_700_000_000);
        let just_after = Timestamp::from_micros(1_700_000_001_000_000).unwrap();
        scene.source = FileSource::new(&scene.path).with_clock(Arc::new(ManualClock::new(just_after)));
        let _ = scene.fetch().await;
        assert!(scene.source.seen.lock().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_file_of_before_1970_has_its_time() {
        let scene = Scene::new("abc");
        let file = File::options().write(true).open(&scene.path).unwrap();
        file.set_modified(UNIX_EPOCH - Duration::from_secs(1)).unwrap();
        assert_eq!(scene.fetch().await.version.published_at().as_micros(), -1_000_000);
    }

    #[tokio::test]
    async fn content_that_changes_while_it_is_read_ends_in_an_error() {
        let long = vec![b'x'; PIECE_BYTES * 3];
        let changed = [&long[..PIECE_BYTES * 2], &vec![b'y'; PIECE_BYTES]].concat();
        let longer = [&long[..], b"y"].concat();
        for content in [&changed[..], &longer, &long[..PIECE_BYTES * 2], b""] {
            let scene = Scene::new(&long);
            let mut bytes = scene.fetch().await.bytes;
            assert!(bytes.try_next().await.unwrap().is_some());
            fs::write(&scene.path, content).unwrap();
            let end = loop {
                match bytes.try_next().await {
                    Ok(Some(_)) => {}
                    end => break end,
                }
            };
            assert!(matches!(end, Err(SourceError::ChangedWhileReading { .. })), "{end:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_while_it_is_read_is_read_to_its_end() {
        let scene = Scene::new(vec![b'x'; PIECE_BYTES * 2]);
        let mut bytes = scene.fetch().await.bytes;
        assert!(bytes.try_next().await.unwrap().is_some());
        let other = scene.path.with_extension("new");
        fs::write(&other, "y").unwrap();
        fs::rename(&other, &scene.path).unwrap();
        let rest: Vec<Bytes> = bytes.try_collect().await.expect("the old file is whole");
        assert_eq!(rest.concat(), vec![b'x'; PIECE_BYTES]);
    }

    #[tokio::test]
    async fn a_missing_file_and_a_folder_are_told_apart() {
        let scene = Scene::new("abc");
        let folder = FileSource::new(scene.path.parent().unwrap());
        let told = chain(&folder.fetch_if_changed(None).await.unwrap_err());
        assert!(told.contains("is a folder, not a file"), "{told}");
        for missing in [scene.path.with_extension("none"), scene.path.join("below")] {
            let error = FileSource::new(&missing).fetch_if_changed(None).await.unwrap_err();
            assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
        }
        fs::remove_file(&scene.path).unwrap();
        let error = scene.source.fetch_if_changed(Some(sentinel())).await.unwrap_err();
        assert!(matches!(error, SourceError::NotFound { .. }), "also when it was there before");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_socket_is_refused_without_waiting_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let told = chain(&FileSource::new(&path).fetch_if_changed(None).await.unwrap_err());
        assert!(told.contains("device, pipe or socket"), "{told}");
    }

    fn chain(error: &dyn std::error::Error) -> String {
        let cause = error.source().map(chain).unwrap_or_default();
        format!("{error}: {cause}")
    }
}
