//! The committed code is what the files in `proto/` say, and those keep the rules of `proto/README.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/generated/mini_platform.v1.rs");

/// Messages that hold names; their `Debug` is in `src/debug.rs`.
const HIDDEN: [&str; 3] =
    [".mini_platform.v1.Transaction", ".mini_platform.v1.Operation", ".mini_platform.v1.EventScreening.Hit"];

fn proto_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto")
}

fn proto_files() -> Vec<PathBuf> {
    let folder = proto_folder().join("mini_platform/v1");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "proto")).collect();
    files.sort();
    files
}

/// Returns what prost makes of the files today.
fn generate() -> String {
    let folder = tempfile::tempdir().unwrap();
    let files = protox::compile(proto_files(), [proto_folder()]).unwrap();
    prost_build::Config::new().out_dir(folder.path()).skip_debug(HIDDEN).compile_fds(files).unwrap();
    fs::read_to_string(folder.path().join("mini_platform.v1.rs")).unwrap()
}

#[test]
fn the_committed_code_is_what_the_proto_files_say() {
    let committed = fs::read_to_string(COMMITTED).unwrap();
    assert!(committed == generate(), "stale: run `cargo test -p mini-platform-grpc -- --ignored regenerate`");
}

#[test]
#[ignore = "writes src/generated/"]
fn regenerate_the_committed_code() {
    fs::write(COMMITTED, generate()).unwrap();
}

#[test]
fn the_zero_value_of_every_enum_is_unspecified() {
    let files = protox::compile(proto_files(), [proto_folder()]).unwrap();
    for kind in files.file.iter().flat_map(|file| &file.enum_type) {
        let zero = kind.value.iter().find(|value| value.number() == 0).unwrap();
        assert!(zero.name().ends_with("_UNSPECIFIED"), "{} begins with {}", kind.name(), zero.name());
    }
}
