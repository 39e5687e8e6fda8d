//! The programs on MongoDB, Redis and S3.
//!
//! Skipped without servers: `scripts/test-servers run cargo nextest run -p mini-platform-bins --features full`.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod connect;
mod feeder;
mod operator;
mod rebuild;
mod replayed;
mod same_answers;
mod worker;

use std::process::{Command, Output};

use support::servers::Servers;
use support::{PROGRAM, Running};

fn borrowed(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// Starts the feeder and waits until its list is in force.
fn start_feeder(servers: &Servers) -> Running {
    Running::feeder(&borrowed(&servers.settings()))
}

/// Starts the platform beside a feeder elsewhere, and waits until it is ready.
fn start_platform(servers: &Servers, more: &[&str]) -> Running {
    let settings = servers.settings();
    let own = ["http.listen=127.0.0.1:0", "feeder.source=none"];
    let settings = [borrowed(&settings), own.to_vec(), more.to_vec()].concat();
    Running::spawn(Command::new(PROGRAM), &settings, "ready")
}

/// Runs a sub-command on the servers.
fn operate(servers: &Servers, arguments: &[&str]) -> Output {
    let settings = servers.settings();
    let sets = settings.iter().flat_map(|setting| ["--set", setting]);
    Command::new(PROGRAM).args(arguments).args(sets).output().unwrap()
}
