use std::fs;

use mini_platform_core::domain::Outcome;
use mini_platform_core::testkit::{log_record, transfer};
use tempfile::TempDir;

use super::*;
use crate::segments::fakes::{FailingDisk, Fate, UnsafeDisk};

fn records(ids: &[&str]) -> Vec<LogRecord> {
    ids.iter().map(|id| log_record(transfer(id, "ann", "bob", 1), Outcome::Stored)).collect()
}

fn ids(records: &[LogRecord]) -> Vec<&str> {
    records.iter().map(|record| record.event.id().as_str()).collect()
}

struct Scene {
    folder: TempDir,
    config: FileOutboxConfig,
    segment_bytes: u64,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = FileOutboxConfig::new(folder.path());
        Self { folder, config, segment_bytes: SEGMENT_BYTES }
    }

    /// With segments that take one call each.
    fn of_small_segments() -> Self {
        Self { segment_bytes: 1, ..Self::new() }
    }

    fn open(&self) -> FileOutbox {
        FileOutbox::open_with(&self.config, self.segment_bytes, Arc::new(LocalDisk)).unwrap()
    }

    /// Returns an outbox with records, one a call.
    async fn with(&self, ids: &[&str]) -> FileOutbox {
        let outbox = self.open();
        for id in ids {
            outbox.append(&records(&[id])).await.unwrap();
        }
        outbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|ending| ending == "ndjson")).collect();
        segments.sort();
        segments
    }

    fn put_aside(&self) -> String {
        fs::read(self.path("corrupt")).map(|text| text.escape_ascii().to_string()).unwrap_or_default()
    }
}

async fn forget(outbox: &FileOutbox, records: usize) {
    let page = outbox.read(records).await.unwrap();
    outbox.forget(page.end).await.unwrap();
}

async fn left(outbox: &FileOutbox) -> Vec<String> {
    ids(&outbox.read(100).await.unwrap().records).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn segments_are_removed_when_all_of_them_is_forgotten() {
    let scene = Scene::of_small_segments();
    let outbox = scene.with(&["a", "b", "c", "d"]).await;
    assert_eq!(scene.segments().len(), 4);
    forget(&outbox, 2).await;
    assert_eq!(scene.segments().len(), 2, "those of the first two are gone");
    assert_eq!(left(&outbox).await, ["c", "d"]);
    forget(&outbox, 9).await;
    assert_eq!(scene.segments().len(), 1, "the newest stays, so that no place is taken twice");
    outbox.append(&records(&["e"])).await.unwrap();
    assert_eq!(left(&outbox).await, ["e"]);
    forget(&outbox, 1).await;
    outbox.close().await;
    let outbox = scene.open();
    assert_eq!(outbox.status().bytes, 0);
    outbox.append(&records(&["f"])).await.unwrap();
    assert_eq!(left(&outbox).await, ["f"]);
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let scene = Scene::new();
    let outbox = scene.with(&["a", "b", "c"]).await;
    forget(&outbox, 1).await;
    let (bytes, cursor) = (outbox.status().bytes, fs::read(scene.path("cursor")).unwrap());
    outbox.close().await;
    let outbox = scene.open();
    assert_eq!((left(&outbox).await, outbox.status().bytes), (vec!["b".into(), "c".into()], bytes));
    drop(outbox);
    assert_eq!(fs::read(scene.path("cursor")).unwrap(), cursor);
}

#[tokio::test]
async fn without_its_cursor_an_outbox_is_read_again_from_its_oldest_segment() {
    let scene = Scene::of_small_segments();
    let outbox = scene.with(&["a", "b", "c"]).await;
    forget(&outbox, 2).await;
    drop(outbox);
    for cursor in [None, Some(&b""[..]), Some(b"\0\0\0"), Some(b"\xff"), Some(b"7 7"), Some(b"1\n")] {
        match cursor {
            Some(cursor) => fs::write(scene.path("cursor"), cursor).unwrap(),
            None => fs::remove_file(scene.path("cursor")).unwrap(),
        }
        assert_eq!(left(&scene.open()).await, ["c"], "{cursor:?}");
    }
    fs::write(scene.path("cursor"), u64::MAX.to_string()).unwrap();
    let outbox = scene.open();
    assert_eq!(outbox.status().bytes, 0, "more than everything cannot be forgotten");
    outbox.append(&records(&["d"])).await.unwrap();
    assert_eq!(left(&outbox).await, ["d"]);
}

#[tokio::test]
async fn damaged_lines_are_put_aside_once_and_the_rest_goes_on() {
    let scene = Scene::new();
    let outbox = scene.with(&["a", "b", "c", "d"]).await;
    let segment = scene.segments().remove(0);
    let mut content = fs::read(&segment).unwrap();
    let line = content.len() / 4;
    content[line..line + 7].copy_from_slice(b"\0\0damag");
    content[3 * line - 1] = b'x';
    fs::write(&segment, &content).unwrap();
    for appended in [&["a"][..], &["a"], &["a", "f"]] {
        if appended.len() > 1 {
            outbox.append(&records(&["f"])).await.unwrap();
        }
        assert_eq!(left(&outbox).await, appended, "b is damaged, and the end between c and d");
        let aside = scene.put_aside();
        assert!(aside.starts_with("\\x00\\x00damag"), "{aside}");
        assert_eq!(aside.matches("\\n").count(), 2, "{aside}");
    }
    forget(&outbox, 9).await;
    assert_eq!(outbox.status().bytes, 0);
    outbox.append(&records(&["e"])).await.unwrap();
    assert_eq!(left(&outbox).await, ["e"]);
}

#[tokio::test]
async fn an_outbox_that_is_all_damage_empties_itself() {
    let scene = Scene::new();
    let outbox = scene.with(&["a"]).await;
    // Far more than is in memory at a time, with and without ends of lines.
    let bytes = 5 << 20;
    let large: Vec<_> = (0..1000).map(|n| format!("e{n}")).collect();
    let large: Vec<_> = large.iter().map(String::as_str).collect();
    while outbox.status().bytes < bytes {
        outbox.append(&records(&large)).await.unwrap();
    }
    let segment = scene.segments().remove(0);
    let length = usize::try_from(fs::metadata(&segment).unwrap().len()).unwrap();
    let mut damaged = vec![0; length];
    for place in (0..length / 2).step_by(100) {
        damaged[place] = b'\n';
    }
    fs::write(&segment, damaged).unwrap();
    let page = outbox.read(100).await.unwrap();
    assert_eq!((page.records.len(), outbox.status().bytes), (0, 0), "there is nothing to be published");
    let aside = fs::metadata(scene.path("corrupt")).unwrap().len();
    assert!(aside >= length as u64, "{aside} bytes of {length} are put aside");
    outbox.append(&records(&["z"])).await.unwrap();
    assert_eq!(left(&outbox).await, ["z"]);
}

#[tokio::test]
async fn what_is_missing_is_passed_over() {
    let scene = Scene::of_small_segments();
    let outbox = scene.with(&["a", "b", "c", "d"]).await;
    let segments = scene.segments();
    fs::remove_file(&segments[1]).unwrap();
    fs::write(&segments[2], "").unwrap();
    for _ in 0..2 {
        assert_eq!(left(&outbox).await, ["a", "d"]);
    }
    forget(&outbox, 9).await;
    assert_eq!(outbox.status().bytes, 0);
}

#[tokio::test]
async fn a_disk_that_is_full_takes_nothing_and_the_outbox_goes_on() {
    let scene = Scene::new();
    let disk = FailingDisk::new([Fate::Pass, Fate::Full(50), Fate::FailSync]);
    let outbox = FileOutbox::open_with(&scene.config, SEGMENT_BYTES, disk.clone()).unwrap();
    outbox.append(&records(&["a"])).await.unwrap();
    let bytes = outbox.status().bytes;
    for _ in 0..2 {
        assert!(matches!(outbox.append(&records(&["b"])).await, Err(LogError::Fault(_))));
        assert_eq!((left(&outbox).await, outbox.status().bytes), (vec!["a".into()], bytes));
    }
    outbox.append(&records(&["c"])).await.unwrap();
    assert_eq!(left(&outbox).await, ["a", "c"]);
    drop(outbox);
    assert_eq!(left(&scene.open()).await, ["a", "c"]);
}

#[tokio::test]
async fn a_power_failure_leaves_what_was_answered() {
    let scene = Scene::of_small_segments();
    let disk = UnsafeDisk::new(scene.folder.path());
    let outbox = FileOutbox::open_with(&scene.config, scene.segment_bytes, disk.clone()).unwrap();
    for (last, id) in ["a", "b", "c"].into_iter().enumerate() {
        outbox.append(&records(&[id])).await.unwrap();
        let folder = disk.cut_power();
        let outbox = FileOutbox::open(&FileOutboxConfig::new(folder.path())).unwrap();
        assert_eq!(left(&outbox).await, ["a", "b", "c"][..=last]);
    }
}

#[tokio::test]
async fn a_torn_end_is_cut_off() {
    let scene = Scene::new();
    drop(scene.with(&["a", "b"]).await);
    let segment = scene.segments().remove(0);
    let content = fs::read(&segment).unwrap();
    fs::write(&segment, &content[..content.len() - 1]).unwrap();
    let outbox = scene.open();
    assert_eq!(left(&outbox).await, ["a"]);
    outbox.append(&records(&["c"])).await.unwrap();
    assert_eq!(left(&outbox).await, ["a", "c"]);
    assert_eq!(scene.put_aside(), "");
}

#[tokio::test]
async fn a_second_user_is_refused() {
    let scene = Scene::new();
    let outbox = scene.open();
    assert!(matches!(FileOutbox::open(&scene.config), Err(OpenError::Locked { .. })));
    outbox.close().await;
    assert!(FileOutbox::open(&scene.config).is_ok());
}
