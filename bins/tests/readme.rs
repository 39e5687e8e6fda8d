//! Every command of the README is run, and prints what the README says.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use support::{PROGRAM, Running};

const README: &str = include_str!("../../README.md");

/// The sections whose commands need real servers, one behind the other.
const REAL_BACKENDS: &str = "\n## On real backends\n";
const CLUSTER: &str = "\n## A cluster\n";

/// Returns what stands before a section, the section, and what stands behind it.
fn around(section: &str) -> (&'static str, &'static str, &'static str) {
    let (before, rest) = README.split_once(section).unwrap();
    let end = rest.find("\n## ").unwrap();
    (before, &rest[..end], &rest[end..])
}

/// Returns the commands of the `console` blocks with the output that stands under each.
fn examples(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut examples: Vec<(String, String)> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push((command.to_owned(), String::new())),
            None => examples.last_mut().unwrap().1 += &format!("{line}\n"),
        }
    }
    examples
}

/// Whether a text is the expected one, in which `…` stands for anything.
fn fits(text: &str, expected: &str) -> bool {
    let mut parts = expected.trim().split('…');
    let Some(mut rest) = text.trim().strip_prefix(parts.next().unwrap()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Runs a command as a shell does, and compares what it prints.
fn check(shell: &mut Command, command: &str, runnable: &str, expected: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = shell.args(["-c", runnable]).current_dir(root).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    assert!(fits(&printed, expected), "{command}\nmust print\n{expected}\nand printed\n{printed}");
}

/// Points a command to the program and the platform under test.
fn runnable(command: &str, base: &str) -> String {
    let command = command.replace("http://127.0.0.1:8080", base);
    let rest = command.strip_prefix("target/release/mini-platform ").unwrap_or_default();
    let verb = rest.split(' ').next().unwrap_or_default();
    let talks = ["send", "fetch", "import", "parked", "dead-letters"].contains(&verb);
    let command = command.replace("target/release/mini-platform", PROGRAM);
    if talks { format!("{command} --url {base}") } else { command }
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Running::start(&folder.path().join("data"), &[]);
    let (before, _, _) = around(REAL_BACKENDS);
    let (_, _, behind) = around(CLUSTER);
    let examples = [examples(before), examples(behind)].concat();
    assert!(examples.len() > 12, "the README has examples");
    let [log, rebuilt] = ["data/log", "rebuilt"].map(|name| folder.path().join(name).display().to_string());
    for (command, expected) in examples {
        let runnable = runnable(&command, platform.base());
        let runnable = runnable.replace("data/log", &log).replace("target/rebuilt", &rebuilt);
        check(&mut Command::new("sh"), &command, &runnable, &expected);
    }
}

#[cfg(all(feature = "embedded", feature = "mongodb", feature = "redis", feature = "s3"))]
mod real_backends {
    use super::*;
    use support::servers::{SECOND, Servers};

    /// Publishes with `curl`, where the README publishes to the servers of `up`.
    fn published(command: &str, servers: &Servers) -> String {
        let command = command.replace("s3://lists/", &format!("s3://{}/", servers.name()));
        let Some(rest) = command.strip_prefix("./scripts/test-servers upload ") else { return command };
        let (file, target) = rest.split_once(" s3://").unwrap();
        let words: Vec<String> = servers.curl(target).iter().map(|word| format!("'{word}'")).collect();
        format!("curl {} < {file}", words.join(" "))
    }

    /// The programs of a section.
    struct Section<'a> {
        servers: &'a Servers,
        settings: Vec<String>,
        /// Where the user's own list is written.
        list: String,
        /// Those that run; the last one is talked to.
        running: Vec<Running>,
    }

    impl<'a> Section<'a> {
        fn new(servers: &'a Servers, folder: &Path) -> Self {
            let source = format!("s3://{}/fraud-list.txt", servers.name());
            let mut settings = servers.settings();
            // Its next look comes after the test, so that the commands find what they say.
            settings.extend([format!("feeder.source={source}"), "feeder.interval=1h".to_owned()]);
            let list = folder.join("list.txt").display().to_string();
            Self { servers, settings, list, running: Vec::new() }
        }

        fn settings(&self) -> Vec<&str> {
            self.settings.iter().map(String::as_str).collect()
        }

        fn start_feeder(&mut self) {
            self.running.push(Running::feeder(&self.settings()));
        }

        /// Runs one example.
        fn check(&self, command: &str, expected: &str) {
            if command.contains(" upload ") {
                // S3 tells the time of an upload to the second.
                std::thread::sleep(SECOND);
            }
            let base = self.running.last().map_or("", Running::base);
            let runnable = runnable(&published(command, self.servers), base);
            let expected = expected.replace("s3://lists/", &format!("s3://{}/", self.servers.name()));
            let mut shell = Command::new("sh");
            for setting in &self.settings {
                let (key, value) = setting.split_once('=').unwrap();
                shell.env(format!("MINI_PLATFORM__{}", key.to_uppercase().replace('.', "__")), value);
            }
            check(&mut shell, command, &runnable.replace("target/list.txt", &self.list), &expected);
        }
    }

    #[test]
    fn the_commands_on_real_backends_print_what_the_readme_says() {
        let Some(servers) = Servers::find() else { return };
        let folder = tempfile::tempdir().unwrap();
        let mut section = Section::new(&servers, folder.path());
        let examples = examples(around(REAL_BACKENDS).1);
        assert!(examples.len() > 8, "the section has examples");
        for (number, (command, expected)) in examples.iter().enumerate() {
            if number == 1 {
                // The README starts both once the first list is published.
                section.start_feeder();
                let settings =
                    [&section.settings()[..], &["http.listen=127.0.0.1:0", "feeder.source=none"]].concat();
                section.running.push(Running::spawn(Command::new(PROGRAM), &settings, "ready"));
            }
            section.check(command, expected);
        }
    }

    #[test]
    fn the_commands_on_a_cluster_print_what_the_readme_says() {
        let Some(servers) = Servers::find() else { return };
        let folder = tempfile::tempdir().unwrap();
        let mut section = Section::new(&servers, folder.path());
        let [before, own] = [REAL_BACKENDS, CLUSTER].map(|section| examples(around(section).1));
        assert!(own.len() > 2, "the section has examples");
        let (command, expected) = before.first().unwrap();
        section.check(command, expected);
        section.start_feeder();
        // Made for all programs of a machine, as the environment is.
        let dispatcher = Running::dispatcher(&section.settings());
        let join = format!("cluster.join={}", dispatcher.grpc());
        let settings = [&section.settings()[..], &[&join]].concat();
        let workers = [Running::worker(&settings), Running::worker(&settings), Running::worker(&settings)];
        workers.iter().for_each(|worker| worker.wait_until_ready(true));
        section.running.extend(workers);
        section.running.push(dispatcher);
        for (command, expected) in &own {
            section.check(command, expected);
        }
    }
}

#[test]
fn an_ellipsis_stands_for_anything() {
    assert!(fits("abc", "abc") && fits("abc", "a…c") && fits("abc", "…") && fits("a-b-c", "a…b…c"));
    assert!(!fits("abc", "ab") && !fits("abc", "b…c") && !fits("abc", "a…b") && !fits("ab", "a…b…c"));
}
