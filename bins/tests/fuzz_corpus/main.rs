//! Every input of the fuzz corpus, without a fuzzer: what once broke a law does not break it again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod messages;

use std::fs;
use std::path::{Path, PathBuf};

use mini_platform_bins::fuzzing::{MESSAGES, TARGETS};

/// The most that the corpus may take, in bytes: everybody who clones the project has it.
const MAX_CORPUS_BYTES: u64 = 300 * 1024;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Returns the names in a folder, without extensions, in order.
fn names_in(folder: &Path) -> Vec<String> {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| stem(entry.unwrap().path())).collect();
    names.sort_unstable();
    names
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz_folder().join("corpus").join(target);
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

#[test]
fn every_input_keeps_the_laws() {
    for (target, run) in TARGETS {
        for (path, input) in inputs(target) {
            // The last one that is shown is the one that broke a law.
            println!("{}", path.display());
            run(&input);
        }
    }
}

#[test]
fn no_input_at_all_keeps_the_laws() {
    for (_, run) in TARGETS {
        [&b""[..], b"\n", b"\n\n", b"\0", b"\xff\n\xff"].into_iter().for_each(run);
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let mut targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort_unstable();
    assert_eq!(names_in(&fuzz_folder().join("fuzz_targets")), targets);
    assert_eq!(names_in(&fuzz_folder().join("corpus")), targets);
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for target in &targets {
        assert!(manifest.contains(&format!("\nname = \"{target}\"\n")), "{target} is not built");
        assert!(!inputs(target).is_empty(), "{target} has nothing to start from");
    }
}

#[test]
fn the_corpus_is_small() {
    let sizes = TARGETS.iter().flat_map(|(target, _)| inputs(target)).map(|(_, input)| input.len() as u64);
    let size: u64 = sizes.sum();
    assert!(size <= MAX_CORPUS_BYTES, "the corpus has {size} bytes");
}

#[test]
fn every_message_has_an_input() {
    let inputs = inputs("protobuf");
    for (place, (name, _)) in MESSAGES.iter().enumerate() {
        let chosen = |input: &[u8]| input.first().is_some_and(|choice| usize::from(*choice) == place);
        assert!(inputs.iter().any(|(_, input)| chosen(input)), "{name} has nothing to start from");
    }
}

#[test]
fn every_message_that_is_sent_is_taken_with_all_it_says() {
    for (name, message) in messages::all() {
        let (_, check) = MESSAGES.iter().find(|(known, _)| *known == name).expect("it is a known message");
        assert!(
            check(&message).as_ref() == Some(&message),
            "a {name} is refused, or says less when it is sent on"
        );
    }
}

#[test]
#[ignore = "writes into the source tree: cargo test -p mini-platform-bins -F fuzzing --test fuzz_corpus -- --ignored"]
fn the_messages_are_written_anew() {
    for (name, message) in messages::all() {
        let place = MESSAGES.iter().position(|(known, _)| *known == name).expect("it is a known message");
        let input = [&[u8::try_from(place).unwrap()], message.as_slice()].concat();
        fs::write(fuzz_folder().join("corpus/protobuf").join(name), input).unwrap();
    }
}
