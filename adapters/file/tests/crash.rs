//! Processes that are killed while they write.
//!
//! The tests start this test binary again as a child, with one ignored test to run, and listen to its standard output.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking; the child reports by printing")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use futures_util::TryStreamExt;
use mini_platform_core::domain::{LogRecord, Outcome};
use mini_platform_core::port::{LogReader, LongTermLog, Outbox};
use mini_platform_core::testkit::{log_record, transfer};
use mini_platform_file::{FileLog, FileLogConfig, FileLogReader, FileOutbox, FileOutboxConfig};

/// Tells a child its folder.
const FOLDER: &str = "MP_TEST_CHILD_FOLDER";
/// Tells a child with which call to start.
const START: &str = "MP_TEST_CHILD_START";
/// Marks what a child says to its parent, among what the test harness prints.
const MARK: &str = "child says ";

const CALLERS: u64 = 4;
const RECORDS: u64 = 5;
const KILLS: u64 = 6;

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(test: &str, dir: &Path, start: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", test])
            .env(FOLDER, dir)
            .env(START, start.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Returns what the child says next, or `None` when it has ended.
    fn hear(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| Some(line.split_once(MARK)?.1.to_owned()))
    }

    /// Kills the child after it said something so often; returns all that it said.
    fn kill_after(mut self, times: u64) -> Vec<String> {
        let mut said: Vec<_> = (0..times).map(|_| self.hear().unwrap()).collect();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        said.extend(std::iter::from_fn(|| self.hear()));
        said
    }
}

fn say(what: &str) {
    // One write, so that a kill leaves a whole line or none.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{MARK}{what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).unwrap().into()
}

fn start() -> u64 {
    std::env::var_os(START).unwrap().into_string().unwrap().parse().unwrap()
}

/// The records of a call; each caller has a client of its own.
fn records_of(caller: u64, call: u64) -> Vec<LogRecord> {
    let record = |n| transfer(&format!("c{caller}-{call:06}-{n}"), &format!("client {caller}"), "bob", 1);
    (0..RECORDS).map(|n| log_record(record(n), Outcome::Stored)).collect()
}

fn ids(records: &[LogRecord]) -> Vec<String> {
    records.iter().map(|record| record.event.id().to_string()).collect()
}

fn log_config(dir: &Path) -> FileLogConfig {
    FileLogConfig::new(dir).with_segment_bytes(100_000)
}

/// Publishes one call after another as several callers, and says what was acknowledged.
async fn publish(log: Arc<dyn LongTermLog>) {
    let callers = (0..CALLERS).map(|caller| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for call in start().. {
                log.publish(&records_of(caller, call)).await.unwrap();
                say(&format!("{caller} {call}"));
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

/// Asserts that every acknowledged call is there, and that each client's records are in order.
fn assert_kept(found: &[LogRecord], acknowledged: &[String]) {
    let found = ids(found);
    let known: HashSet<_> = found.iter().collect();
    for said in acknowledged {
        let (caller, call) = said.split_once(' ').unwrap();
        for id in ids(&records_of(caller.parse().unwrap(), call.parse().unwrap())) {
            assert!(known.contains(&id), "{id} was acknowledged");
        }
    }
    for caller in 0..CALLERS {
        let of_caller: Vec<_> = found.iter().filter(|id| id.starts_with(&format!("c{caller}-"))).collect();
        assert!(of_caller.is_sorted(), "the records of a client keep their order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the tests below"]
async fn child_that_publishes() {
    publish(Arc::new(FileLog::open(&log_config(&folder())).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the tests below"]
async fn child_that_appends_and_forgets() {
    let outbox = Arc::new(FileOutbox::open(&FileOutboxConfig::new(folder())).unwrap());
    let front = Arc::clone(&outbox);
    tokio::spawn(async move {
        loop {
            front.wait().await;
            let page = front.read(7).await.unwrap();
            for id in ids(&page.records) {
                say(&format!("read {id}"));
            }
            front.forget(page.end).await.unwrap();
        }
    });
    publish(Arc::new(mini_platform_core::outbox::OutboxLog::new(outbox))).await;
}

#[tokio::test]
async fn a_log_that_is_killed_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let child = Running::start("child_that_publishes", folder.path(), kill * 1_000_000);
        acknowledged.extend(child.kill_after(50 + 37 * kill));
        // As the crash left it, and as the next start does.
        for opens in [false, true] {
            let log = opens.then(|| FileLog::open(&log_config(folder.path())).unwrap());
            let records = FileLogReader::new(folder.path()).records().await.unwrap();
            let found: Vec<_> = records.try_collect().await.unwrap();
            assert_kept(&found, &acknowledged);
            drop(log);
        }
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().count() > 3, "there were several segments");
}

#[tokio::test]
async fn an_outbox_that_is_killed_keeps_what_it_acknowledged_and_did_not_forget() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut read) = (Vec::new(), Vec::new());
    for kill in 0..KILLS {
        let child = Running::start("child_that_appends_and_forgets", folder.path(), kill * 1_000_000);
        for said in child.kill_after(200 + 137 * kill) {
            match said.strip_prefix("read ") {
                Some(id) => read.push(id.to_owned()),
                None => acknowledged.push(said),
            }
        }
        let outbox = FileOutbox::open(&FileOutboxConfig::new(folder.path())).unwrap();
        let left = ids(&outbox.read(usize::MAX).await.unwrap().records);
        let known: HashSet<_> = read.iter().chain(&left).collect();
        for said in &acknowledged {
            let (caller, call) = said.split_once(' ').unwrap();
            for id in ids(&records_of(caller.parse().unwrap(), call.parse().unwrap())) {
                assert!(known.contains(&id), "{id} was acknowledged, and is neither read nor left");
            }
        }
        let repeated = left.iter().filter(|id| read.contains(id)).count();
        assert!(repeated <= 7, "at most the page that was being forgotten is read again: {repeated}");
    }
    assert!(!read.is_empty() && !folder.path().join("corrupt").exists());
}
