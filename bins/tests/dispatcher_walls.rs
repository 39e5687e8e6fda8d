//! The dispatcher reaches no data: neither does its code, nor what it is built from. Its own are a parking lot and a log.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pages of other programs, which the HTTP server can serve as well.
const OF_OTHER_PROGRAMS: [&str; 2] = ["http/feeder.rs", "http/worker.rs"];

/// The module that opens backends. It is not looked into, but at what is asked of it.
const BACKENDS: &str = "backend";

/// What code that reaches a store would have to name.
const STORES: [&str; 14] = [
    "Backends",
    "Port::Events",
    "Port::Adjacency",
    "Port::Registry",
    "fraud_sources",
    "EventStore",
    "AdjacencyStore",
    "FraudRegistry",
    "FraudSource",
    "mini_platform_embedded",
    "mini_platform_file",
    "mini_platform_mongodb",
    "mini_platform_redis",
    "mini_platform_s3",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the files of a module: its own, and those of the modules within.
fn files(module: &str) -> Vec<PathBuf> {
    let (file, folder) = (source().join(format!("{module}.rs")), source().join(module));
    if file.is_file() { vec![file] } else { files_below(&folder) }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries
        .flat_map(files)
        .filter(|path| !OF_OTHER_PROGRAMS.iter().any(|other| path.ends_with(other)))
        .collect()
}

/// Returns the code of a file without its comments and its tests.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// Returns the modules of this package that some code names, as in `crate::http::Api` or `crate::{http, feeding}`.
fn modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for root in ["crate::", "mini_platform_bins::"] {
        for (_, named) in code.match_indices(root).map(|(place, _)| code.split_at(place + root.len())) {
            let one = |text: &str| {
                text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned()
            };
            match named.strip_prefix('{') {
                // Braces within belong to a module that stands before them.
                Some(list) => modules.extend(list.split(';').next().unwrap().split(',').map(one)),
                None => modules.push(one(named)),
            }
        }
    }
    modules
        .retain(|module| source().join(module).is_dir() || source().join(format!("{module}.rs")).is_file());
    modules
}

/// Returns the code of everything that a program pulls in, by file.
fn pulled_in(program: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![source().join("bin").join(program)];
    while let Some(file) = open.pop() {
        if found.contains_key(&file) {
            continue;
        }
        let code = code(&file);
        let opened = modules(&code).into_iter().filter(|module| module != BACKENDS);
        open.extend(opened.flat_map(|module| files(&module)));
        found.insert(file, code);
    }
    found
}

/// Returns what code names that reaches a store, with the file.
fn stores(program: &str) -> Vec<String> {
    let names = |(file, code): (&PathBuf, &String)| {
        let named = STORES.into_iter().filter(|name| code.contains(name));
        named.map(|name| format!("{} in {}", name, file.display())).collect::<Vec<_>>()
    };
    pulled_in(program).iter().flat_map(names).collect()
}

#[test]
fn the_code_of_the_dispatcher_names_no_store() {
    let files = pulled_in("mini-platform-dispatcher.rs");
    for expected in ["standalone_dispatcher.rs", "http/server.rs", "config/mod.rs", "dispatching.rs"] {
        assert!(
            files.keys().any(|file| file.ends_with(expected)),
            "{expected} is pulled in: {:?}",
            files.keys()
        );
    }
    assert_eq!(stores("mini-platform-dispatcher.rs"), [] as [&str; 0]);
    assert!(!stores("mini-platform-worker.rs").is_empty(), "a worker does name them, so they would be found");
}

#[test]
fn the_dispatcher_is_built_without_any_driver() {
    let tree = |features: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "-p", "mini-platform-bins", "--no-default-features", "-F", features]);
        cargo.args(["--edges", "normal", "--prefix", "none", "--format", "{p}", "--offline"]);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let drivers = |tree: &str| -> Vec<String> {
        let is_driver =
            |name: &&str| ["mongodb", "redis", "aws-sdk-s3", "aws-config", "fjall"].contains(name);
        tree.lines().filter_map(|line| line.split(' ').next()).filter(is_driver).map(str::to_owned).collect()
    };
    let dispatcher = tree("cluster");
    assert!(dispatcher.contains("\ntonic v"), "{dispatcher}");
    assert_eq!(drivers(&dispatcher), [] as [&str; 0]);
    assert!(!drivers(&tree("full")).is_empty(), "drivers would be found");
}
