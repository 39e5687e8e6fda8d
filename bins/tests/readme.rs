//! Every command of the README is run, and prints what the README says.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use support::{PROGRAM, Running};

const README: &str = include_str!("../../README.md");

/// Returns the commands of the `console` blocks with the output that stands under each.
fn examples() -> Vec<(String, String)> {
    let blocks = README.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
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

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Running::start(&folder.path().join("data"), &[]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let examples = examples();
    assert!(examples.len() > 12, "the README has examples");
    for (command, expected) in examples {
        let runnable = runnable(&command, platform.base());
        let output = Command::new("sh").args(["-c", &runnable]).current_dir(root).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        assert!(fits(&printed, &expected), "{command}\nmust print\n{expected}\nand printed\n{printed}");
    }
}

/// Points a command to the program and the platform under test.
fn runnable(command: &str, base: &str) -> String {
    let command = command.replace("http://127.0.0.1:8080", base);
    match command.strip_prefix("target/release/mini-platform ") {
        Some(arguments) => format!("{PROGRAM} {arguments} --url {base}"),
        None => command.replace("target/release/mini-platform", PROGRAM),
    }
}

#[test]
fn an_ellipsis_stands_for_anything() {
    assert!(fits("abc", "abc") && fits("abc", "a…c") && fits("abc", "…") && fits("a-b-c", "a…b…c"));
    assert!(!fits("abc", "ab") && !fits("abc", "b…c") && !fits("abc", "a…b") && !fits("ab", "a…b…c"));
}
