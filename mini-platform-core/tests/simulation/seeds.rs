//! Which seeds are run, and what is told of them.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::coverage::Coverage;
use super::history::fingerprint;
use super::run::{Ran, run};

/// How many seeds are run unless somebody asks for more.
const SEEDS: u64 = 240;

/// How many seeds are run twice.
const SAME: u64 = 6;

/// After how many seeds that break a law no more are run, unless somebody asks for fewer.
const ENOUGH: u64 = 10;

/// How many lines of the history are shown of a seed that breaks a law.
const SHOWN: usize = 60;

#[expect(clippy::disallowed_methods, reason = "a test is told by its environment what to run")]
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn last_line(seed: u64, history: &[String]) -> String {
    format!("history of seed {seed}: {:016x}", fingerprint(history))
}

/// Says which laws a seed broke, with what it did to what they are about.
fn report(ran: &Ran) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for violation in ran.violations.iter().take(5) {
        let _ = writeln!(text, "seed {}: {}: {}", ran.seed, violation.law, violation.says);
    }
    if let Some(first) = ran.violations.first() {
        let is_about = |line: &&String| {
            let has = |name: &String| {
                let mut words = line.split([' ', '[', ']', '=', ',', ':']);
                words.any(|word| word == name.trim())
            };
            first.about.is_empty() || first.about.iter().any(has)
        };
        let lines: Vec<&String> = ran.history.iter().filter(is_about).collect();
        for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
            let _ = writeln!(text, "  {line}");
        }
    }
    let _ = write!(text, "again, with its whole history: scripts/simulate 1 {}", ran.seed);
    text
}

/// Runs seeds on all cores. Returns those that broke a law, and what all of them met.
fn run_all(first: u64, count: u64) -> (Vec<Ran>, Coverage) {
    let (next, broken, met) =
        (AtomicU64::new(first), Mutex::new(Vec::new()), Mutex::new(Coverage::default()));
    let enough = told("MP_SIM_ENOUGH").unwrap_or(ENOUGH);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || broken.lock().unwrap().len() as u64 >= enough {
                        return;
                    }
                    let ran = run(seed);
                    met.lock().unwrap().add(&ran.coverage);
                    if !ran.violations.is_empty() {
                        broken.lock().unwrap().push(ran);
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap();
    broken.sort_by_key(|ran| ran.seed);
    (broken, met.into_inner().unwrap())
}

#[test]
fn every_seed_keeps_every_law() {
    let (first, count) = (told("MP_SIM_FIRST").unwrap_or(1), told("MP_SIM_SEEDS").unwrap_or(SEEDS));
    let started = Instant::now();
    let (broken, met) = run_all(first, count);
    println!("{count} seeds took {:?} and met:", started.elapsed());
    met.lines().for_each(|line| println!("{line}"));
    if let Some(ran) = broken.first() {
        let seeds: Vec<u64> = broken.iter().map(|ran| ran.seed).collect();
        panic!("{} of {count} seeds break a law: {seeds:?}\n{}", seeds.len(), report(ran));
    }
    let missing = met.missing();
    assert!(count < SEEDS || missing.is_empty(), "no seed met any of {missing:?}");
}

#[test]
fn one_seed_keeps_every_law() {
    let ran = run(told("MP_SIM_SEED").unwrap_or(1));
    ran.history.iter().for_each(|line| println!("{line}"));
    println!("{}", last_line(ran.seed, &ran.history));
    assert!(ran.violations.is_empty(), "{}", report(&ran));
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1..=SAME {
        let (one, other) = (run(seed).history, run(seed).history);
        let differs = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed} does not do the same again");
        assert_eq!(one.len(), other.len(), "seed {seed} does not do the same again");
    }
}

#[test]
fn the_same_seed_gives_the_same_history_in_another_process() {
    let seed = 3;
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["simulation::seeds::one_seed_keeps_every_law", "--exact", "--nocapture"])
        .env("MP_SIM_SEED", seed.to_string())
        .output()
        .unwrap();
    let (told, own) = (String::from_utf8(other.stdout).unwrap(), last_line(seed, &run(seed).history));
    assert!(told.lines().any(|line| line == own), "{own:?} is not what the other process says: {told}");
}

#[test]
fn other_seeds_give_other_histories() {
    let histories: BTreeSet<u64> = (1..=SAME).map(|seed| fingerprint(&run(seed).history)).collect();
    assert_eq!(histories.len() as u64, SAME);
}
