//! A running `mini-platform`, as a user would start it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mini-platform");

/// A platform in a process of its own; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    base: String,
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Running {
    /// Starts it on a free port with its data in a folder, and waits until it is ready.
    pub(crate) fn start(dir: &Path, settings: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.env("MINI_PLATFORM__HTTP__LISTEN", "127.0.0.1:0").env("MINI_PLATFORM__EMBEDDED__DIR", dir);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let mut base = None;
        for line in lines.by_ref() {
            let line = line.unwrap();
            *log.lock().unwrap() += &format!("{line}\n");
            if let Some((_, address)) = line.split_once("listening on ") {
                base = Some(address.trim().to_owned());
            }
            if line.contains("ready") {
                break;
            }
        }
        let base = base.unwrap_or_else(|| panic!("the platform must start:\n{}", log.lock().unwrap()));
        let rest = std::sync::Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| *rest.lock().unwrap() += &format!("{line}\n"));
        });
        Self { child, base, log }
    }

    /// Returns `http://address`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Returns what it said so far.
    #[allow(dead_code, clippy::allow_attributes, reason = "not every test binary reads the log")]
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Kills it as `kill -9` does.
    #[allow(dead_code, clippy::allow_attributes, reason = "not every test binary kills")]
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits for its end.
    #[allow(dead_code, clippy::allow_attributes, reason = "not every test binary stops")]
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
