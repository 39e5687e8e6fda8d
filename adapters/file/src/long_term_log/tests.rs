use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use mini_platform_core::domain::{Outcome, Timestamp};
use mini_platform_core::error::{Causes, FaultKind};
use mini_platform_core::port::LogReader;
use mini_platform_core::testkit::{ManualClock, log_record, transfer};
use tempfile::TempDir;

use super::*;
use crate::segments::fakes::{FailingDisk, Fate, UnsafeDisk};

fn record(id: &str) -> LogRecord {
    log_record(transfer(id, "ann", "bob", 1), Outcome::Stored)
}

fn records(ids: &[&str]) -> Vec<LogRecord> {
    ids.iter().map(|id| record(id)).collect()
}

fn ids(records: &[LogRecord]) -> Vec<String> {
    records.iter().map(|record| record.event.id().to_string()).collect()
}

struct Scene {
    folder: TempDir,
    config: FileLogConfig,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = FileLogConfig::new(folder.path());
        Self { folder, config }
    }

    /// With segments that take one call each.
    fn of_small_segments() -> Self {
        let mut scene = Self::new();
        scene.config.segment_bytes = 1;
        scene
    }

    fn open(&self) -> FileLog {
        FileLog::open(&self.config).unwrap()
    }

    fn reader(&self) -> FileLogReader {
        FileLogReader::new(self.folder.path())
    }

    async fn found(&self) -> Vec<String> {
        ids(&self.reader().records().await.unwrap().try_collect::<Vec<_>>().await.unwrap())
    }

    /// Returns what is read before a failure, and the failure.
    async fn failure(&self) -> (Vec<String>, LogError) {
        let mut stream = self.reader().records().await.unwrap();
        let mut read = Vec::new();
        loop {
            match stream.next().await.expect("the end is a failure") {
                Ok(record) => read.push(record),
                Err(error) => {
                    assert!(stream.next().await.is_none(), "nothing follows a failure");
                    return (ids(&read), error);
                }
            }
        }
    }

    /// Returns the names of the segments and their lengths.
    fn segments(&self) -> Vec<(String, u64)> {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap);
        let named = entries.map(|entry| {
            (entry.file_name().into_string().unwrap(), entry.metadata().map_or(0, |found| found.len()))
        });
        let mut segments: Vec<_> = named.filter(|(name, _)| name.contains(".ndjson")).collect();
        segments.sort();
        segments
    }

    fn names(&self) -> Vec<String> {
        self.segments().into_iter().map(|(name, _)| name).collect()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    async fn wait_for(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(&self.names()) {
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", self.names());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn name(base: u64) -> String {
    format!("{base:020}.ndjson")
}

/// How many bytes a record of a one-letter id takes.
fn record_bytes() -> u64 {
    encode(&records(&["a"])).len() as u64
}

#[tokio::test]
async fn a_failed_write_acknowledges_nothing_and_leaves_no_torn_line() {
    for fate in [Fate::Full(0), Fate::Full(10), Fate::Full(500), Fate::FailSync] {
        let scene = Scene::new();
        let disk = FailingDisk::new([Fate::Pass, fate, fate]);
        let log = FileLog::open_with(&scene.config, disk.clone()).unwrap();
        log.publish(&records(&["a"])).await.unwrap();
        for _ in 0..2 {
            let error = log.publish(&records(&["b", "c"])).await.unwrap_err();
            let LogError::Fault(fault) = &error else { panic!("a fault: {error:?}") };
            let expected = match fate {
                Fate::Full(_) => FaultKind::Unavailable,
                _ => FaultKind::Internal,
            };
            assert_eq!(fault.kind(), expected, "a full disk passes");
            let told = Causes(&error).to_string();
            assert!(told.contains(&name(0)) || told.contains(&name(record_bytes())), "{told}");
            assert_eq!(scene.found().await, ["a"], "nothing of it is there");
        }
        log.publish(&records(&["d"])).await.unwrap();
        assert_eq!(scene.found().await, ["a", "d"], "the log goes on");
        let newest = scene.segments().pop().unwrap();
        let bytes = record_bytes();
        assert_eq!(newest, (name(bytes), bytes), "in a segment that no write has failed in");
        drop(log);
        scene.open().publish(&records(&["e"])).await.unwrap();
        assert_eq!(scene.found().await, ["a", "d", "e"], "also after a restart");
    }
}

#[tokio::test]
async fn calls_that_queue_up_share_a_sync() {
    let scene = Scene::new();
    let disk = FailingDisk::new([]);
    let log = FileLog::open_with(&scene.config, disk.clone()).unwrap();
    let calls: Vec<_> = (0..200).map(|n| records(&[&format!("e{n:03}")])).collect();
    let answers = join_all(calls.iter().map(|call| log.publish(call))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(disk.writes() < 100, "200 calls took {} syncs", disk.writes());
    assert_eq!(scene.found().await.len(), 200);
}

#[tokio::test]
async fn a_full_segment_is_compressed_and_only_then_removed() {
    let scene = Scene::of_small_segments();
    let log = scene.open();
    for id in ["a", "b", "c"] {
        log.publish(&records(&[id])).await.unwrap();
    }
    let bytes = record_bytes();
    let expected = [format!("{}.gz", name(0)), format!("{}.gz", name(bytes)), name(2 * bytes)];
    scene.wait_for("both are compressed", |names| names == expected).await;
    assert_eq!(scene.found().await, ["a", "b", "c"]);
    log.close().await;
    let log = scene.open();
    log.publish(&records(&["d"])).await.unwrap();
    assert_eq!(scene.found().await, ["a", "b", "c", "d"]);
}

/// Returns what is found in a folder, once a log was opened in it.
async fn found_after_a_start(folder: &Path) -> Vec<String> {
    drop(FileLog::open(&FileLogConfig::new(folder)).unwrap());
    let records = FileLogReader::new(folder).records().await.unwrap();
    ids(&records.try_collect::<Vec<_>>().await.unwrap())
}

/// Asserts that what was durable at one moment was so from then on, and all of it at last.
async fn assert_that_all_stays(disk: &UnsafeDisk, published: &[&str]) {
    let mut before = 0;
    for folder in disk.power_cuts().into_iter().chain([disk.cut_power()]) {
        let found = found_after_a_start(folder.path()).await;
        assert_eq!(found, published[..found.len()]);
        assert!(before <= found.len(), "{before} records were durable, then {found:?}");
        before = found.len();
    }
    assert_eq!(before, published.len());
}

#[tokio::test]
async fn a_power_failure_leaves_what_was_answered() {
    let scene = Scene::of_small_segments();
    let disk = UnsafeDisk::new(scene.folder.path());
    let log = FileLog::open_with(&scene.config, disk.clone()).unwrap();
    let published = ["a", "b", "c"];
    for (last, id) in published.into_iter().enumerate() {
        log.publish(&records(&[id])).await.unwrap();
        assert_eq!(found_after_a_start(disk.cut_power().path()).await, published[..=last]);
    }
    scene
        .wait_for("two are compressed", |names| names.iter().filter(|n| n.ends_with("gz")).count() == 2)
        .await;
    drop(log);
    assert_that_all_stays(&disk, &published).await;
}

#[tokio::test]
async fn a_power_failure_leaves_a_segment_that_a_killed_process_made() {
    let scene = Scene::new();
    scene.write(&name(0), "");
    let disk = UnsafeDisk::new(scene.folder.path());
    let log = FileLog::open_with(&scene.config, disk.clone()).unwrap();
    log.publish(&records(&["a"])).await.unwrap();
    assert_eq!(found_after_a_start(disk.cut_power().path()).await, ["a"]);
}

#[tokio::test]
async fn a_power_failure_leaves_a_segment_that_a_killed_process_compressed() {
    let scene = Scene::new();
    let disk = UnsafeDisk::new(scene.folder.path());
    let sync = |name: &str| disk.sync(&fs::File::open(scene.folder.path().join(name)).unwrap()).unwrap();
    let lines = encode(&records(&["a"]));
    scene.write(&name(0), &lines);
    sync(&name(0));
    scene.write(&name(record_bytes()), "");
    disk.sync_names(scene.folder.path()).unwrap();
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut compressed, &lines).unwrap();
    let in_place = format!("{}.gz", name(0));
    scene.write(&in_place, compressed.finish().unwrap());
    sync(&in_place);
    drop(FileLog::open_with(&scene.config, disk.clone()).unwrap());
    assert_eq!(scene.names(), [in_place, name(record_bytes())]);
    assert_that_all_stays(&disk, &["a"]).await;
}

#[tokio::test]
async fn a_segment_is_finished_when_it_is_old() {
    let mut scene = Scene::new();
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    scene.config = scene.config.with_clock(clock.clone()).with_segment_age(Duration::from_secs(60));
    let log = scene.open();
    for id in ["a", "b", "c"] {
        log.publish(&records(&[id])).await.unwrap();
        clock.advance(Duration::from_secs(59));
    }
    let bytes = record_bytes();
    let expected = [format!("{}.gz", name(0)), name(2 * bytes)];
    scene.wait_for("the first two are a segment", |names| names == expected).await;
    assert_eq!(scene.found().await, ["a", "b", "c"]);
}

#[tokio::test]
async fn what_a_crash_leaves_is_cleared_up_at_the_next_start() {
    let scene = Scene::of_small_segments();
    let bytes = record_bytes();
    let line = |id: &str| encode(&records(&[id]));
    // Compressed, but not removed; not compressed to the end; not compressed; torn.
    scene.write(&name(0), line("a"));
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut compressed, &line("a")).unwrap();
    scene.write(&format!("{}.gz", name(0)), compressed.finish().unwrap());
    scene.write(&name(bytes), line("b"));
    scene.write(&format!("{}.gz.tmp", name(bytes)), "half");
    scene.write(&name(2 * bytes), [line("c"), line("d")[..30].to_vec()].concat());
    assert_eq!(scene.found().await, ["a", "b", "c"], "a reader is not disturbed");
    let log = scene.open();
    let expected = [format!("{}.gz", name(0)), format!("{}.gz", name(bytes)), name(2 * bytes)];
    scene.wait_for("the old ones are compressed", |names| names == expected).await;
    assert_eq!(scene.segments()[2].1, bytes, "the torn line is cut off");
    log.publish(&records(&["e"])).await.unwrap();
    assert_eq!(scene.found().await, ["a", "b", "c", "e"]);
}

#[tokio::test]
async fn what_a_failed_write_left_behind_a_segment_is_not_read() {
    let scene = Scene::new();
    let bytes = record_bytes();
    scene.write(&name(0), [encode(&records(&["a", "x"])), b"{\"torn".to_vec()].concat());
    scene.write(&name(bytes), encode(&records(&["b"])));
    assert_eq!(scene.found().await, ["a", "b"]);
    let mut config = scene.config.clone();
    config.segment_bytes = 1;
    let log = FileLog::open(&config).unwrap();
    scene.wait_for("it is compressed", |names| names[0].ends_with(".gz") && names.len() == 2).await;
    drop(log);
    assert_eq!(scene.found().await, ["a", "b"]);
}

#[tokio::test]
async fn a_line_that_is_no_record_is_named_and_what_comes_before_it_is_answered() {
    let scene = Scene::new();
    let good = encode(&records(&["a", "b"]));
    let rest = encode(&records(&["c"]));
    for bad in ["{}\n", "\n", "\0\n", "{\"schema\":99}\n", &"x".repeat(70_000)] {
        scene.write(&name(7), [&good, bad.as_bytes(), b"\n", &rest].concat());
        let (read, error) = scene.failure().await;
        assert_eq!(read, ["a", "b"], "{}", &bad[..1]);
        let LogError::Undecodable { place, .. } = &error else { panic!("undecodable: {error:?}") };
        assert!(place.ends_with(&format!("{}:3", name(7))), "{place}");
    }
}

#[tokio::test]
async fn a_segment_that_lost_something_is_named() {
    let scene = Scene::of_small_segments();
    let log = scene.open();
    for id in ["a", "b", "c"] {
        log.publish(&records(&[id])).await.unwrap();
    }
    scene
        .wait_for("two are compressed", |names| names.iter().filter(|n| n.ends_with("gz")).count() == 2)
        .await;
    drop(log);
    let second = scene.folder.path().join(format!("{}.gz", name(record_bytes())));
    let whole = fs::read(&second).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x55;
    for damaged in [&flipped, &whole[..whole.len() - 9], &whole[..20]] {
        fs::write(&second, damaged).unwrap();
        let (read, error) = scene.failure().await;
        assert_eq!(read.first().map(String::as_str), Some("a"));
        if let LogError::Fault(fault) = &error {
            assert_eq!(fault.kind(), FaultKind::Corrupt);
        }
        let told = Causes(&error).to_string();
        assert!(told.contains(second.file_name().unwrap().to_str().unwrap()), "{told}");
    }
    fs::remove_file(&second).unwrap();
    fs::write(second.with_extension(""), &encode(&records(&["b"]))[..100]).unwrap();
    let (read, error) = scene.failure().await;
    assert_eq!(read, ["a"]);
    assert!(matches!(error, LogError::Undecodable { .. }), "a torn line that is not the last: {error:?}");
    fs::write(second.with_extension(""), "").unwrap();
    let (_, error) = scene.failure().await;
    let told = Causes(&error).to_string();
    assert!(told.contains(&format!("ends {} bytes early", record_bytes())), "{told}");
}

#[tokio::test]
async fn the_oldest_segments_may_be_moved_away() {
    let scene = Scene::of_small_segments();
    let log = scene.open();
    for id in ["a", "b", "c"] {
        log.publish(&records(&[id])).await.unwrap();
    }
    scene.wait_for("one is compressed", |names| names[0].ends_with(".gz")).await;
    fs::remove_file(scene.folder.path().join(&scene.names()[0])).unwrap();
    assert_eq!(scene.found().await, ["b", "c"]);
}

#[tokio::test]
async fn a_log_that_was_compressed_whole_goes_on() {
    let scene = Scene::new();
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut compressed, &encode(&records(&["a", "b"]))).unwrap();
    scene.write(&format!("{}.gz", name(0)), compressed.finish().unwrap());
    scene.open().publish(&records(&["c"])).await.unwrap();
    assert_eq!(scene.found().await, ["a", "b", "c"]);
    assert_eq!(scene.names()[1], name(2 * record_bytes()), "no place is taken twice");
}

#[tokio::test]
async fn a_missing_folder_is_told_and_an_empty_one_has_no_records() {
    let scene = Scene::new();
    assert!(scene.found().await.is_empty());
    let missing = FileLogReader::new(scene.folder.path().join("none"));
    let Err(error) = missing.records().await.map(drop) else { panic!("there is no such folder") };
    assert!(Causes(&error).to_string().contains("none cannot be read"), "{}", Causes(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_beside_the_writer_finds_a_beginning_of_what_is_published() {
    let mut scene = Scene::new();
    scene.config.segment_bytes = 3_000;
    let log = Arc::new(scene.open());
    let writing = tokio::spawn(async move {
        for n in 0..400 {
            log.publish(&records(&[&format!("e{n:03}a"), &format!("e{n:03}b")])).await.unwrap();
        }
    });
    let expected: Vec<_> = (0..400).flat_map(|n| ["a", "b"].map(|end| format!("e{n:03}{end}"))).collect();
    let mut lengths = BTreeSet::new();
    while !writing.is_finished() {
        let found = scene.found().await;
        assert!(expected.starts_with(&found), "{:?} is no beginning", found.last());
        assert!(lengths.last().is_none_or(|before| *before <= found.len()), "nothing goes away");
        lengths.insert(found.len());
    }
    writing.await.unwrap();
    assert_eq!(scene.found().await, expected);
    assert!(lengths.len() > 1, "some were read meanwhile");
}

#[tokio::test]
async fn a_second_writer_is_refused() {
    let scene = Scene::new();
    let log = scene.open();
    assert!(matches!(FileLog::open(&scene.config), Err(OpenError::Locked { .. })));
    log.close().await;
    assert!(FileLog::open(&scene.config).is_ok());
}
