//! The feeder of its own, from S3 to Redis.

use std::process::Command;

use crate::support::servers::Servers;
use crate::support::{Running, complaint, wait_until};
use crate::{start_feeder, start_platform};

/// Sends a transaction and tells whether it was fraudulent.
fn is_stopped(platform: &Running, id: &str, receiver: &str) -> bool {
    let send = ["send", "transaction", "--id", id, "--from", "Payer", "--to", receiver, "--amount", "1"];
    let output = platform.client(&send);
    match output.status.code() {
        Some(0) => false,
        Some(3) => true,
        code => panic!("{code:?}: {}{}", complaint(&output), platform.log()),
    }
}

/// Tells the verdict on a name, from the copy of the list that the platform screens against.
fn is_listed(platform: &Running, name: &str) -> bool {
    let output = platform.client(&["fetch", "fraud-list", "--check", name]);
    assert!(output.status.success(), "{}", complaint(&output));
    String::from_utf8_lossy(&output.stdout).contains("\"hit\"")
}

#[test]
fn a_removed_name_passes_and_an_added_name_is_stopped_after_the_next_feed() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nGone Soon\nStays Listed\n");
    let feeder = start_feeder(&servers);
    let platform = start_platform(&servers, &[]);
    assert!(
        is_stopped(&platform, "before-1", "gone  SOON") && !is_stopped(&platform, "before-2", "New Name")
    );
    servers.upload("name\nStays Listed\nNew Name\n");
    wait_until(
        "the new name is listed",
        || feeder.log() + &platform.log(),
        || is_listed(&platform, "new name"),
    );
    assert!(is_stopped(&platform, "after-1", "New Name"), "an added name is stopped");
    assert!(!is_stopped(&platform, "after-2", "Gone Soon"), "a removed name passes");
    assert!(is_stopped(&platform, "after-3", "Stays Listed"));
    assert!(platform.stop().success() && feeder.stop().success(), "both end well when they are told to");
}

#[test]
fn a_feeder_says_how_it_is() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nAnn\nBob\n");
    let feeder = start_feeder(&servers);
    assert!(feeder.log().lines().next().unwrap().contains("mini-platform-feeder"), "{}", feeder.log());
    assert_eq!(feeder.get("/livez").0, 200);
    let (status, ready) = feeder.get("/readyz");
    assert_eq!(status, 200, "{ready}");
    let (_, list) = feeder.get("/v1/fraud-list");
    assert!(list.contains("\"entries\":2") && list.contains(&servers.source()), "{list}");
    let (_, metrics) = feeder.get("/metrics");
    for line in [
        "# HELP mini_platform_feeder_refreshes_total",
        "mini_platform_feeder_refreshes_total{result=\"replaced\"} 1",
        "mini_platform_feeder_list_entries 2",
        "mini_platform_feeder_list_age_seconds ",
    ] {
        assert!(metrics.contains(line), "{line} must be in\n{metrics}");
    }
    assert_eq!(feeder.get("/v1/clients/Ann").0, 404, "a feeder knows no clients");
    let text = feeder.log() + &metrics + &ready;
    assert!(!text.contains("testtest"), "no secret is told");
}

#[test]
fn a_platform_is_ready_as_long_as_a_feeder_elsewhere_confirms_the_list() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nAnn\nBob\n");
    let feeder = start_feeder(&servers);
    let platform = start_platform(&servers, &["feeder.max_age=3s"]);
    let confirmed = |list: &str| {
        let list: serde_json::Value = serde_json::from_str(list).unwrap();
        (list["loaded_at"].clone(), list["confirmed_at"].clone())
    };
    let list = || platform.get("/v1/fraud-list").1;
    wait_until("a list is confirmed", list, || {
        let (loaded_at, confirmed_at) = confirmed(&list());
        loaded_at != confirmed_at
    });
    assert!(feeder.stop().success());
    let ready = || platform.get("/readyz");
    wait_until("the list is too old", || ready().1, || ready().0 == 503);
    assert!(ready().1.contains("at most 3 s"), "{}", ready().1);
    servers.upload("name\nAnn\nBob\nEve\n");
    let _feeder = start_feeder(&servers);
    wait_until("a feeder confirms the list", || ready().1, || ready().0 == 200);
}

#[test]
fn every_refusal_leaves_the_old_list_in_force_and_is_in_log_and_metric() {
    let Some(servers) = Servers::find() else { return };
    let good: String = (0..300).map(|number| format!("Listed {number}\n")).collect();
    let good = format!("name\n{good}");
    servers.upload(&good);
    let feeder = start_feeder(&servers);
    // When it was last confirmed changes by itself.
    let list = || feeder.get("/v1/fraud-list").1.split("\"confirmed_at\"").next().map(str::to_owned);
    let in_force = list();
    let half: String = good.lines().take(120).map(|line| format!("{line}\n")).collect();
    let malformed = good.lines().map(|line| format!("{line}\nx,y,z\n")).collect::<String>();
    let refused: [(&str, Vec<u8>); 8] = [
        ("empty", Vec::new()),
        ("html", b"<!DOCTYPE html><html><body>Sign in</body></html>\n".to_vec()),
        ("git_lfs_pointer", LFS_POINTER.to_vec()),
        ("binary", [0xff, 0x00, 0x01, 0xfe].repeat(64)),
        ("truncated", format!("{good}\"Open Quote").into_bytes()),
        ("malformed", malformed.into_bytes()),
        ("shrunk", half.into_bytes()),
        ("json", b"{\"names\": [\"Ann\"]}\n".to_vec()),
    ];
    for (reason, content) in refused {
        servers.upload(content);
        let label = format!("mini_platform_feeder_refusals_total{{reason=\"{reason}\"}}");
        let state = || format!("{reason}\n{}{}", feeder.log(), feeder.get("/metrics").1);
        wait_until("the metric names the reason", state, || feeder.get("/metrics").1.contains(&label));
        wait_until("the log names the reason", state, || {
            feeder.log().lines().any(|line| line.contains("is refused") && line.contains(reason))
        });
        assert_eq!(list(), in_force, "after {reason} the old list is in force");
    }
    servers.upload(format!("{good}Another\n"));
    let entries = || feeder.get("/v1/fraud-list").1;
    wait_until("a good list comes into force", entries, || entries().contains("\"entries\":301"));
}

const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n\
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

#[test]
fn a_feeder_of_a_list_that_nobody_else_reads_is_refused() {
    for backend in ["embedded", "memory"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_mini-platform-feeder"));
        let output = program.args(["--set", &format!("registry.backend={backend}")]).output().unwrap();
        let told = complaint(&output);
        assert_eq!(output.status.code(), Some(78), "{told}");
        assert!(
            told.contains("registry.backend: expected \"redis\", because no other process reads"),
            "{told}"
        );
    }
}

#[test]
fn a_platform_and_a_feeder_do_not_fight_over_the_list() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nOnly Here\n");
    let feeder = start_feeder(&servers);
    let platform = start_platform(&servers, &["feeder.source=none"]);
    assert!(is_listed(&platform, "Only Here"));
    let (status, ready) = platform.get("/readyz");
    assert_eq!(status, 200, "{ready}");
    assert!(ready.contains("0 s old") || ready.contains("1 s old"), "the feeder confirms the list: {ready}");
    assert!(!platform.log().contains("bundled"), "{}", platform.log());
    drop(feeder);
}
