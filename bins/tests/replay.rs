//! A platform that lost its stores, made anew from its log.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use mini_platform_bins::client::{PlatformClient, path_segment};
use serde_json::{Value, json};
use support::{Running, all_items, complaint, http, printed, run};

const NAMES: [&str; 5] = ["Václav Novák", "A/B %20", "محمد", "Eve", "Mole"];
const EVENTS: usize = 300;

/// Events of every kind: some are sent twice, some conflict with another one, and some are fraudulent.
fn events() -> Vec<Value> {
    let name = |number: usize| NAMES.get(number % NAMES.len()).unwrap();
    (0..EVENTS)
        .map(|n| match n % 6 {
            0 | 1 => json!({"type": "transaction", "id": format!("t{n}"), "sender": name(n), "receiver": name(n + 1),
                            "amount": n + 1, "occurred_at": format!("2026-01-{:02}T00:00:00Z", n % 28 + 1)}),
            2 => json!({"type": "transaction", "id": format!("u{n}"), "sender": name(n), "receiver": name(n + 2),
                        "amount": n + 1}),
            3 => json!({"type": "operation", "id": format!("o{n}"), "client": name(n), "branch": "Hl.m. Praha",
                        "operation": "deposit", "amount": n + 1, "occurred_at": "2026-02-01T00:00:00.5Z"}),
            4 => json!({"type": "operation", "id": format!("o{}", n - 1), "client": name(n - 1), "branch": "Hl.m. Praha",
                        "operation": "deposit", "amount": n, "occurred_at": "2026-02-01T00:00:00.5Z"}),
            _ => json!({"type": "operation", "id": format!("o{}", n - 2), "client": name(n), "branch": "South",
                        "operation": "withdraw", "amount": n + 1}),
        })
        .collect()
}

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("list.txt"), "Mole\n").unwrap();
        Self { folder }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, name: &str) -> Running {
        let source = format!("feeder.source=file:{}", self.dir("list.txt").display());
        // So small that there are many files.
        Running::start(
            &self.dir(name),
            &[&source, "log.max_segment=20KiB", "dispatch.timeout=30s", "parking.lease=2m"],
        )
    }

    /// Runs a platform that takes in all events, one request each fifty; returns what it answers.
    async fn filled(&self, name: &str) -> Vec<Value> {
        let platform = self.start(name);
        for events in events().chunks(50) {
            let (status, _) =
                http("POST", platform.base(), "/v1/events", &serde_json::to_vec(events).unwrap());
            assert_eq!(status, 200);
        }
        let answers = answers(&platform).await;
        assert!(platform.stop().success());
        answers
    }

    async fn answers(&self, name: &str) -> Vec<Value> {
        let platform = self.start(name);
        let answers = answers(&platform).await;
        assert!(platform.stop().success());
        answers
    }

    fn replay(&self, from: Option<&Path>, into: &str) -> Output {
        let set = format!("embedded.dir={}", self.dir(into).display());
        let from = from.map(|from| ["--from".to_owned(), from.display().to_string()]);
        let mut arguments = vec!["replay", "--set", &set];
        arguments.extend(from.iter().flatten().map(String::as_str));
        run(&arguments)
    }
}

/// Everything that can be asked of every client and of every event, recording times included.
async fn answers(platform: &Running) -> Vec<Value> {
    let client = PlatformClient::new(platform.base().parse().unwrap());
    let mut answers = Vec::new();
    for name in NAMES {
        let base = format!("/v1/clients/{}", path_segment(name));
        for list in ["transactions", "operations", "interactions", "branches"] {
            answers.extend(all_items(&client, &format!("{base}/{list}")).await);
        }
    }
    for n in 0..EVENTS {
        for kind in ["t", "u", "o"] {
            let (status, body) = platform.get(&format!("/v1/events/{kind}{n}"));
            let event = if status == 200 { serde_json::from_str(&body).unwrap() } else { Value::Null };
            answers.push(event);
        }
    }
    answers
}

#[tokio::test]
async fn an_empty_store_is_made_anew_from_the_log_and_answers_the_same() {
    let scene = Scene::new();
    let expected = scene.filled("first").await;
    let log = scene.dir("first").join("log");
    assert!(fs::read_dir(&log).unwrap().count() > 3, "the log has several files");
    let replayed = scene.replay(Some(&log), "second");
    assert_eq!(replayed.status.code(), Some(0), "{}", complaint(&replayed));
    let said = printed(&replayed);
    assert!(said.starts_with("300 records read, ") && said.contains(" 0 in conflict"), "{said}");
    assert_eq!(scene.answers("second").await, expected);
    let again = printed(&scene.replay(Some(&log), "second"));
    assert!(again.contains(" 0 events stored, "), "{again}");
    assert_eq!(scene.answers("second").await, expected);
    let own = scene.replay(None, "first");
    assert_eq!(own.status.code(), Some(0), "the configured log is found: {}", complaint(&own));
    assert!(printed(&own).contains(" 0 events stored, "), "{}", printed(&own));
}

#[tokio::test]
async fn a_torn_end_is_no_problem_and_damage_is_named() {
    let scene = Scene::new();
    let expected = scene.filled("first").await;
    let log = scene.dir("first").join("log");
    let newest = || {
        let files = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "ndjson")).max().unwrap()
    };
    let append = |text: &str| {
        OpenOptions::new().append(true).open(newest()).unwrap().write_all(text.as_bytes()).unwrap();
    };
    append("{\"schema\":1,\"event\":{\"ty");
    let replayed = scene.replay(Some(&log), "second");
    assert_eq!(replayed.status.code(), Some(0), "{}", complaint(&replayed));
    assert_eq!(scene.answers("second").await, expected);
    append("\n{}\n");
    let stopped = scene.replay(Some(&log), "third");
    assert_eq!(stopped.status.code(), Some(70));
    let named = format!("{}:", newest().display());
    assert!(complaint(&stopped).contains(&named), "{}", complaint(&stopped));
    assert_eq!(scene.answers("third").await, expected, "all that comes before it is replayed");
}

#[tokio::test]
async fn another_event_of_the_same_id_is_named_and_exits_with_1() {
    let scene = Scene::new();
    scene.filled("first").await;
    let other = scene.start("second");
    let sent =
        other.client(&["send", "transaction", "--id", "t0", "--from", "X", "--to", "Y", "--amount", "1"]);
    assert!(sent.status.success(), "{}", complaint(&sent));
    assert!(other.stop().success());
    let replayed = scene.replay(Some(&scene.dir("first").join("log")), "second");
    assert_eq!(replayed.status.code(), Some(1), "{}", complaint(&replayed));
    let said = printed(&replayed);
    assert!(said.starts_with("conflict t0\n300 records read, ") && said.contains(" 1 in conflict"), "{said}");
    let (_, kept) = scene.start("second").get("/v1/events/t0");
    assert!(kept.contains("\"sender\":\"X\""), "what was stored stays: {kept}");
}

#[test]
fn a_log_that_is_not_there_is_told() {
    let scene = Scene::new();
    let missing = scene.replay(Some(&scene.dir("none")), "data");
    assert_eq!(missing.status.code(), Some(70));
    assert!(complaint(&missing).contains("none cannot be read"), "{}", complaint(&missing));
    let memory = run(&["replay", "--from", "x", "--set", "store.backend=memory"]);
    assert_eq!(memory.status.code(), Some(78), "{}", complaint(&memory));
}
