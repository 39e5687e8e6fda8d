//! One check against a list of a million names, in process, and what the list costs.
//!
//! `cargo bench -p mini-platform-core --bench screening`. The ceiling is the standard library's hash set of the
//! same normalised names, asked with names that are normalised already.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::collections::HashSet;
use std::time::Instant;

use foldhash::fast::RandomState;
use mini_platform_core::domain::{ListEntry, MatchMode};
use mini_platform_core::matching::{FraudIndexBuilder, normalize};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const NAMES: usize = 1_000_000;
const CHECKS: usize = 2_000_000;
const ROUNDS: usize = 7;

fn name(rng: &mut SmallRng) -> String {
    const FIRST: [&str; 8] = ["Anna", "Boris", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hana"];
    const LAST: [&str; 8] = ["Novak", "Ivanov", "Wei", "Smith", "Haddad", "Kim", "Silva", "Okafor"];
    let pick = |names: [&'static str; 8], n: usize| names.get(n % 8).copied().unwrap();
    let (first, last) = (rng.random_range(0..8), rng.random_range(0..8));
    format!("{}, {} {:07x}", pick(LAST, last), pick(FIRST, first), rng.random::<u32>() >> 4)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / CHECKS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

fn main() {
    let mut rng = SmallRng::seed_from_u64(11);
    let names: Vec<String> = (0..NAMES).map(|_| name(&mut rng)).collect();
    let mut builder = FraudIndexBuilder::new(MatchMode::Normalized);
    let start = Instant::now();
    for name in &names {
        builder.push(&ListEntry::new(name).unwrap()).unwrap();
    }
    let index = builder.build();
    let built = start.elapsed();
    // One in a hundred is a hit, as an alarm would be rare; the rest are names of the same shape.
    let asked: Vec<String> = (0..CHECKS)
        .map(|_| {
            if rng.random_ratio(1, 100) {
                names.get(rng.random_range(0..NAMES)).unwrap().to_uppercase()
            } else {
                name(&mut rng)
            }
        })
        .collect();
    let normal = |name: &str| {
        let mut out = String::new();
        normalize(name, &mut out);
        out
    };
    let set: HashSet<String, RandomState> = names.iter().map(|name| normal(name)).collect();
    let asked_normal: Vec<String> = asked.iter().map(|name| normal(name)).collect();
    let (mut checks, mut lookups) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut scratch = String::new();
        let start = Instant::now();
        let hits = asked.iter().filter(|name| index.find_with(name, &mut scratch).is_some()).count();
        checks.push(nanoseconds(start));
        let start = Instant::now();
        let found = asked_normal.iter().filter(|name| set.contains(name.as_str())).count();
        lookups.push(nanoseconds(start));
        assert_eq!(hits, found, "both find the same names");
    }
    let texts: usize = names.iter().map(String::len).sum();
    let (check, lookup) = (median(checks), median(lookups));
    println!("one name against {} names", index.len());
    println!("  hash set, normalised before {lookup:>7.1} ns  (ceiling)");
    println!("  whole check                 {check:>7.1} ns");
    println!("  ratio                       {:>7.2}", lookup / check);
    println!(
        "  built in {} ms; {} bytes an entry beyond the names",
        built.as_millis(),
        (index.heap_bytes() - texts) / index.len()
    );
}
