//! The committed code is what the files in `proto/` say. `proto_style.rs` checks the files themselves.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

const CODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/generated/mini_platform.v1.rs");

/// For server reflection.
const DESCRIPTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/generated/mini_platform.v1.bin");

/// Messages that hold names; their `Debug` is in `src/debug.rs`.
const HIDDEN: [&str; 15] = [
    ".mini_platform.v1.Transaction",
    ".mini_platform.v1.Operation",
    ".mini_platform.v1.EventScreening.Hit",
    ".mini_platform.v1.CheckNameRequest",
    ".mini_platform.v1.CheckNameResponse.Hit",
    ".mini_platform.v1.FetchTransactionsRequest",
    ".mini_platform.v1.FetchOperationsRequest",
    ".mini_platform.v1.FetchInteractionsRequest",
    ".mini_platform.v1.FetchBranchesRequest",
    ".mini_platform.v1.FetchClientRequest",
    ".mini_platform.v1.Interaction",
    ".mini_platform.v1.BranchLink",
    ".mini_platform.v1.PageRequest",
    ".mini_platform.v1.JoinRequest",
    ".mini_platform.v1.Submission",
];

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

/// What the files say today.
struct Generated {
    code: String,
    descriptors: Vec<u8>,
}

fn generate() -> Generated {
    let folder = tempfile::tempdir().unwrap();
    let files = protox::compile(proto_files(), [proto_folder()]).unwrap();
    let descriptors = files.encode_to_vec();
    tonic_prost_build::configure()
        .out_dir(folder.path())
        .skip_debug(HIDDEN)
        .emit_rerun_if_changed(false)
        .compile_fds(files)
        .unwrap();
    Generated { code: fs::read_to_string(folder.path().join("mini_platform.v1.rs")).unwrap(), descriptors }
}

#[test]
fn the_committed_code_is_what_the_proto_files_say() {
    let generated = generate();
    let stale = "stale: run `cargo test -p mini-platform-grpc -- --ignored regenerate`";
    assert!(fs::read_to_string(CODE).unwrap() == generated.code, "{stale}");
    assert!(fs::read(DESCRIPTORS).unwrap() == generated.descriptors, "{stale}");
}

#[test]
#[ignore = "writes src/generated/"]
fn regenerate_the_committed_code() {
    let generated = generate();
    fs::write(CODE, generated.code).unwrap();
    fs::write(DESCRIPTORS, generated.descriptors).unwrap();
}
