//! The walls inside of this crate: which module may import which.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

/// Returns the sources in a folder, or that of a file, without tests and comments.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let paths = match folder.is_dir() {
        true => fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect(),
        false => vec![folder.to_owned()],
    };
    for path in paths {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let code = source.split("mod tests {").next().unwrap_or_default();
        let code =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        found.push((path.display().to_string(), code));
    }
    found
}

/// Returns the modules of this crate that the sources in a folder name, with the file that names each.
fn imports(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (file, code) in sources(folder) {
        for rest in code.split("crate::").skip(1) {
            let module: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((file.clone(), module));
        }
    }
    found
}

fn assert_imports_only(folder: &str, allowed: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    for (file, module) in imports(&path) {
        if module != folder && !allowed.contains(&module.as_str()) {
            panic!("{file} imports {module}; {folder} may import {allowed:?} only");
        }
    }
}

#[test]
fn the_domain_imports_nothing() {
    assert_imports_only("domain", &[]);
}

#[test]
fn errors_know_the_domain_only() {
    assert_imports_only("error", &["domain"]);
}

#[test]
fn ports_know_the_domain_and_errors_only() {
    assert_imports_only("port", &["domain", "error", "mock"]);
}

#[test]
fn the_worker_knows_ports_and_never_an_adapter() {
    assert_imports_only("worker", &["deadline", "domain", "error", "port", "retry"]);
}

#[test]
fn the_dispatcher_knows_workers_as_a_port_only() {
    assert_imports_only(
        "dispatcher",
        &["codec", "deadline", "domain", "error", "port", "telemetry", "trace", "mock"],
    );
}

#[test]
fn the_dispatcher_reaches_data_only_through_workers() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dispatcher"));
    assert!(sources.len() > 10, "the sources were found");
    for (file, code) in sources {
        for port in ["EventStore", "AdjacencyStore", "FraudRegistry"] {
            assert!(!code.contains(port), "{file} names {port}; a dispatcher holds no store");
        }
    }
}

#[test]
fn decorators_know_ports_and_how_names_are_compared() {
    assert_imports_only("decorate", &["domain", "error", "port", "matching", "retry", "telemetry"]);
}

#[test]
fn reconciliation_knows_ports_and_never_an_adapter() {
    assert_imports_only("reconcile", &["domain", "error", "port", "telemetry"]);
}

#[test]
fn the_outbox_knows_ports_and_never_an_adapter() {
    assert_imports_only("outbox", &["domain", "error", "port", "retry", "telemetry"]);
}

#[test]
fn replay_knows_ports_and_never_an_adapter() {
    assert_imports_only("replay", &["domain", "error", "port"]);
}

#[test]
fn the_feeder_knows_ports_and_never_an_adapter() {
    assert_imports_only("feeder", &["domain", "error", "port", "matching", "telemetry"]);
}

#[test]
fn lanes_know_the_domain_only() {
    assert_imports_only("lanes.rs", &["domain"]);
}

#[test]
fn forms_know_the_domain_only() {
    assert_imports_only("codec", &["domain"]);
}
