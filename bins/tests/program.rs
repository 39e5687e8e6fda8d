//! What the program does on the command line: exit codes, one process a folder, a fraud list that changes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::process::{Command, Output};

use support::{PROGRAM, Running};

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_command_line_exits_with_64() {
    let output = run(&["--no-such-flag"]);
    assert_eq!(output.status.code(), Some(64), "{}", complaint(&output));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_wrong_configuration_names_every_problem_and_exits_with_78() {
    let output = run(&[
        "--set",
        "http.listen=nowhere",
        "--set",
        "dispatch.tiemout=1s",
        "--set",
        "feeder.max_shrink=7",
    ]);
    assert_eq!(output.status.code(), Some(78));
    let complaint = complaint(&output);
    for part in ["3 problems", "http.listen", "dispatch.tiemout", "dispatch.timeout", "feeder.max_shrink"] {
        assert!(complaint.contains(part), "{part} must be in\n{complaint}");
    }
}

#[test]
fn a_second_process_on_the_same_folder_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Running::start(folder.path(), &[]);
    let dir = format!("embedded.dir={}", folder.path().display());
    let output = run(&["--set", "http.listen=127.0.0.1:0", "--set", &dir]);
    assert_eq!(output.status.code(), Some(70));
    assert!(complaint(&output).contains("in use by process"), "{}", complaint(&output));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = Running::start(&folder.path().join("one"), &[]);
    let address = first.base().trim_start_matches("http://");
    let (listen, dir) =
        (format!("http.listen={address}"), format!("embedded.dir={}", folder.path().join("two").display()));
    let output = run(&["--set", &listen, "--set", &dir]);
    assert_eq!(output.status.code(), Some(70));
    assert!(complaint(&output).contains(address), "{}", complaint(&output));
}

#[test]
fn a_demo_ends_with_a_summary() {
    let output = run(&["demo", "--once", "--events", "2000", "--set", "http.listen=127.0.0.1:0"]);
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", complaint(&output));
    assert!(summary.contains("stored") && summary.contains("fraudulent"), "{summary}");
}

#[test]
fn a_list_that_changes_is_read_again_and_a_bad_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    fs::write(&list, "Old Name\nBoth\n").unwrap();
    let source = format!("feeder.source=file:{}", list.display());
    let platform = Running::start(&folder.path().join("data"), &[&source, "feeder.interval=100ms"]);
    let replace = |content: &str| {
        let next = folder.path().join("next");
        fs::write(&next, content).unwrap();
        fs::rename(&next, &list).unwrap();
    };
    let verdict = |name: &str| {
        let output = run(&["fetch", "fraud-list", "--check", name, "--url", platform.base()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("\"hit\"")
    };
    let wait_for = |what: &str, reached: &dyn Fn() -> bool| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !reached() {
            assert!(std::time::Instant::now() < deadline, "waiting until {what}:\n{}", platform.log());
            std::thread::yield_now();
        }
    };
    assert!(verdict("old name") && !verdict("New Name"));
    replace("<!DOCTYPE html><html><body>Not found</body></html>\n");
    wait_for("the page is refused", &|| platform.log().contains("refused"));
    assert!(verdict("old name"), "the list in force stays");
    replace("Both\nNew Name\n");
    wait_for("the new name is stopped", &|| verdict("new name"));
    assert!(!verdict("old name"), "a name that left the list passes");
}
