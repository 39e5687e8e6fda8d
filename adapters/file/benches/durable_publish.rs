//! Records a second that the log makes durable, next to what the disk does by itself.
//!
//! The other side writes the same bytes, one call at a time, each with a write and an `fdatasync`; the log also encodes
//! them, and callers that come together share a sync. Rounds alternate, because the machine is noisy.
//!
//! `cargo bench -p mini-platform-file --bench durable_publish [-- ROUNDS [FOLDER]]`

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use mini_platform_core::domain::{LogRecord, Outcome};
use mini_platform_core::port::LongTermLog;
use mini_platform_core::testkit::{log_record, transfer};
use mini_platform_file::{FileLog, FileLogConfig};

/// Records a call, calls a round, and callers at the same time.
const CASES: [(usize, usize, usize); 6] =
    [(1, 300, 1), (64, 300, 1), (512, 150, 1), (1, 6_000, 64), (64, 1_500, 16), (512, 300, 8)];

fn calls(records: usize, calls: usize) -> Vec<Vec<LogRecord>> {
    let record = |number: usize| {
        let event = transfer(
            &format!("019a2b3c-{:04x}-7{:03x}-8000-000000000000", number >> 12, number & 0xfff),
            &format!("Client Number {:06}", number % 50_000),
            &format!("Client Number {:06}", (number + 7_919) % 50_000),
            1_760_000_000,
        );
        log_record(event, Outcome::Stored)
    };
    (0..calls).map(|call| (call * records..(call + 1) * records).map(record).collect()).collect()
}

async fn publish(dir: &Path, calls: &[Vec<LogRecord>], callers: usize) -> Duration {
    let log = Arc::new(FileLog::open(&FileLogConfig::new(dir)).unwrap());
    let start = Instant::now();
    let publish = |call: Vec<LogRecord>| {
        let log = Arc::clone(&log);
        async move { tokio::spawn(async move { log.publish(&call).await }).await.unwrap().unwrap() }
    };
    stream::iter(calls.to_vec()).for_each_concurrent(callers, publish).await;
    start.elapsed()
}

fn bare(dir: &Path, calls: &[Vec<LogRecord>]) -> Duration {
    let line = |record: &LogRecord| [record.to_json(), b"\n".to_vec()].concat();
    let writes: Vec<Vec<u8>> = calls.iter().map(|call| call.iter().flat_map(line).collect()).collect();
    let mut file = File::create(dir.join("bare")).unwrap();
    let start = Instant::now();
    for bytes in writes {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
    }
    start.elapsed()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    *numbers.get(numbers.len() / 2).unwrap()
}

fn main() {
    let mut given = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let rounds = given.next().map_or(9, |rounds| rounds.parse().unwrap());
    let parent = given.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (records, count, callers) in CASES {
        let calls = calls(records, count);
        let (mut log, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let dir = tempfile::tempdir_in(&parent).unwrap();
            let took = runtime.block_on(publish(&dir.path().join("log"), &calls, callers)).as_secs_f64();
            ratios.push(bare(dir.path(), &calls).as_secs_f64() / took);
            log.push(f64::from(u32::try_from(records * count).unwrap()) / took);
        }
        println!(
            "{records:3} records a call, {callers:2} callers: {:7.0} records/s, {:.2} of a write and fdatasync a call",
            median(log),
            median(ratios)
        );
    }
}
