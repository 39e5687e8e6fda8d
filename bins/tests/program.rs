//! What the program does on the command line: exit codes, one process a folder, a fraud list that changes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::{Running, complaint, printed, run, wait_until};

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
fn an_operator_needs_the_platform_stopped_on_the_embedded_store_and_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = format!("embedded.dir={}", folder.path().display());
    let platform = Running::start(folder.path(), &[]);
    let metrics = || platform.get("/metrics").1;
    wait_until("the list is counted", metrics, || metrics().contains("mini_platform_feeder_list_entries "));
    for command in
        [&["lists"][..], &["feed"], &["verify"], &["rebuild"], &["rollback", "2026-01-31T08:00:00Z_v1"]]
    {
        let output = run(&[command, &["--set", &dir]].concat());
        assert_eq!(output.status.code(), Some(70), "{command:?}: {}", complaint(&output));
        assert!(complaint(&output).contains("in use by process"), "{}", complaint(&output));
    }
    let sent = platform.client(&["send", "transaction", "--from", "Ann", "--to", "Bob", "--amount", "1"]);
    assert!(sent.status.success(), "{}", complaint(&sent));
    assert!(platform.stop().success());
    let lists = printed(&run(&["lists", "--set", &dir]));
    assert!(lists.starts_with("in force  ") && lists.contains("from bundled"), "{lists}");
    assert!(printed(&run(&["feed", "--set", &dir])).starts_with("unchanged"));
    let verified = run(&["verify", "--set", &dir]);
    assert_eq!(verified.status.code(), Some(0), "{}", complaint(&verified));
    assert!(
        printed(&verified).contains("2 clients") && printed(&verified).contains("0 differ"),
        "{}",
        printed(&verified)
    );
    assert_eq!(run(&["rebuild", "--set", &dir]).status.code(), Some(0));
}

#[test]
fn an_operator_has_nothing_to_look_at_in_memory() {
    let memory = ["store.backend=memory", "adjacency.backend=memory", "registry.backend=memory"];
    let sets: Vec<&str> = memory.iter().flat_map(|setting| ["--set", setting]).collect();
    for (command, key) in
        [("lists", "registry.backend"), ("verify", "store.backend"), ("rebuild", "adjacency.backend")]
    {
        let output = run(&[&[command][..], &sets].concat());
        assert_eq!(output.status.code(), Some(78), "{}", complaint(&output));
        assert!(
            complaint(&output).contains(&format!("{key}: expected a backend that outlives")),
            "{}",
            complaint(&output)
        );
    }
    let output = run(&["feed", "--set", "feeder.source=none"]);
    assert_eq!(output.status.code(), Some(78), "{}", complaint(&output));
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
    let log = || platform.log();
    assert!(verdict("old name") && !verdict("New Name"));
    replace("<!DOCTYPE html><html><body>Not found</body></html>\n");
    wait_until("the page is refused", log, || log().contains("refused"));
    assert!(verdict("old name"), "the list in force stays");
    replace("Both\nNew Name\n");
    wait_until("the new name is stopped", log, || verdict("new name"));
    assert!(!verdict("old name"), "a name that left the list passes");
}
