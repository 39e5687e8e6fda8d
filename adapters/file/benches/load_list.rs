//! How long a fraud list takes from the file to being in force: read, recognised, parsed, guarded and indexed.
//!
//! `cargo bench -p mini-platform-file [-- LIST]`; without a list, 7,400 made-up rows in the form of `sdn.csv`. The
//! ceiling is reading and hashing the same file twice, as the source does to see that it did not change meanwhile.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_platform_core::feeder::{Feeder, ListSource, Refresh};
use mini_platform_core::memory::MemoryFraudRegistry;
use mini_platform_file::FileSource;
use sha2::{Digest, Sha256};

const ROUNDS: usize = 31;

fn made_up(folder: &Path) -> PathBuf {
    let mut rows = String::new();
    for number in 0..7_400 {
        let remarks =
            "DOB 14 Jun 1975; nationality Nowhere; Passport 717637093; Linked To: A MADE-UP AGENCY. "
                .repeat(2);
        writeln!(rows, "{number},\"FAMILY {number:05}, Given Name\",\"individual\",\"SDGT\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,\"{remarks}\"").unwrap();
    }
    let path = folder.join("sdn.csv");
    fs::write(&path, rows).unwrap();
    path
}

async fn load(path: &Path) -> (Duration, u64) {
    let mut feeder = Feeder::new(
        Arc::new(MemoryFraudRegistry::default()),
        ListSource::new(Arc::new(FileSource::new(path))),
    );
    let start = Instant::now();
    let Refresh::Replaced { list, .. } = feeder.refresh().await.unwrap() else { return (start.elapsed(), 0) };
    (start.elapsed(), list.entries)
}

fn read_and_hash(path: &Path) -> Duration {
    let start = Instant::now();
    for _ in 0..2 {
        std::hint::black_box(Sha256::digest(fs::read(path).unwrap()));
    }
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).unwrap().as_secs_f64() * 1e3
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let path = given.map_or_else(|| made_up(folder.path()), PathBuf::from);
    let (mut loads, mut reads, mut entries) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let (time, count) = load(&path).await;
        loads.push(time);
        reads.push(read_and_hash(&path));
        entries = count;
    }
    let (load, read) = (median(loads), median(reads));
    println!("a list of {entries} names, from the file to being in force");
    println!("  read and hashed twice {read:>7.2} ms  (ceiling)");
    println!("  loaded                {load:>7.2} ms");
    println!("  ratio                 {:>7.2}", read / load);
}
