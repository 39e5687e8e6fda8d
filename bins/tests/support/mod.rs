//! Running programs, as a user would start them.
#![allow(dead_code, clippy::allow_attributes, reason = "no test binary needs all of it")]

#[cfg(all(feature = "mongodb", feature = "redis", feature = "s3"))]
pub(crate) mod load;
#[cfg(feature = "cluster")]
pub(crate) mod roles;
#[cfg(all(feature = "mongodb", feature = "redis", feature = "s3"))]
pub(crate) mod servers;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mini_platform_bins::client::PlatformClient;
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mini-platform");

/// Names the folder of the data.
const DATA: &str = "MINI_PLATFORM__EMBEDDED__DIR";

/// How long something may take that is only a matter of time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

/// Returns what a program printed on standard output.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns what a program printed on standard error.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until something holds that takes its time; `state` is what a failure shows.
pub(crate) fn wait_until(what: &str, state: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}:\n{}", state());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program in a process of its own; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    base: String,
    log: Arc<Mutex<String>>,
    /// Its data, unless the test chose another place.
    _data: TempDir,
}

impl Running {
    /// Starts the platform on a free port with its data in a folder, and waits until it is ready.
    pub(crate) fn start(dir: &Path, settings: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.env("MINI_PLATFORM__HTTP__LISTEN", "127.0.0.1:0").env(DATA, dir);
        Self::spawn(command, settings, "ready")
    }

    /// Starts a program, and waits until its log says so.
    pub(crate) fn spawn(mut command: Command, settings: &[&str], until: &str) -> Self {
        for setting in settings {
            command.args(["--set", setting]);
        }
        let data = tempfile::tempdir().unwrap();
        if !command.get_envs().any(|(name, _)| name == DATA) {
            command.env(DATA, data.path());
        }
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let reading = std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| *written.lock().unwrap() += &format!("{line}\n"));
        });
        let mut running = Self { child, base: String::new(), log, _data: data };
        wait_until(
            "the program has started",
            || running.log(),
            || {
                // Its standard error ends with it.
                assert!(!reading.is_finished(), "the program must start:\n{}", running.log());
                running.log().contains(until)
            },
        );
        let log = running.log();
        let base = log.lines().find_map(|line| line.split_once("listening on "));
        let Some((_, address)) = base else { panic!("the program must say where it listens:\n{log}") };
        running.base = address.trim().to_owned();
        running
    }

    /// Returns `http://address`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Returns what it said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Runs a sub-command that talks to it.
    pub(crate) fn client(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--url", &self.base]].concat())
    }

    /// Returns the status and the body of what it answers to a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, body) = http("GET", &self.base, path, b"");
        (status, String::from_utf8(body).unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one request on a connection of its own; returns the status and the body.
pub(crate) fn http(method: &str, base: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let (head, body) = exchange(method, base, path, body);
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// As [`http`], but returns the whole answer as text.
pub(crate) fn http_answer(method: &str, base: &str, path: &str, body: &[u8]) -> String {
    let (head, body) = exchange(method, base, path, body);
    format!("{head}\r\n\r\n{}", String::from_utf8(body).unwrap())
}

fn exchange(method: &str, base: &str, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    let host = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let (head, body) = answer.split_at(end);
    (String::from_utf8_lossy(head).into_owned(), body.split_at(4).1.to_vec())
}

/// Follows the pages of a route to their end.
pub(crate) async fn all_items(client: &PlatformClient, path: &str) -> Vec<Value> {
    let (mut items, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}?limit=1000{token}")).await.unwrap();
        items.extend(page.get("items").and_then(Value::as_array).unwrap().iter().cloned());
        match page.get("next_page_token").and_then(Value::as_str) {
            Some(next) => token = format!("&page_token={next}"),
            None => return items,
        }
    }
}
