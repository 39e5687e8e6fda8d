//! Servers of one's own: started, killed and restarted by a test.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::free_port;

/// How often the port of a starting server is tried.
const POLL: Duration = Duration::from_millis(20);
/// How many times before the server is given up: 30 seconds.
const POLLS: usize = 1_500;
/// How many ports are tried, as another may take one between our look and the server's.
const PORTS: usize = 5;
/// How much of the log a failure shows.
const TAIL: usize = 4_096;

type Args = Box<dyn Fn(u16, &Path) -> Vec<String> + Send + Sync>;

/// How a server is started.
pub struct ProcessBuilder {
    program: PathBuf,
    args: Args,
    port: Option<u16>,
}

impl std::fmt::Debug for ProcessBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("program", &self.program)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl ProcessBuilder {
    /// Sets the arguments, given the port and the data folder.
    #[must_use]
    pub fn args(mut self, args: impl Fn(u16, &Path) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.args = Box::new(args);
        self
    }

    /// Sets the port; else it is a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the server and blocks until its port accepts connections.
    ///
    /// # Panics
    /// Panics with the end of its log when it ends, and when it does not accept within 30 seconds.
    #[must_use]
    pub fn start(self) -> Process {
        let tries = if self.port.is_some() { 1 } else { PORTS };
        let mut problem = String::new();
        for _ in 0..tries {
            let mut process = Process {
                port: self.port.unwrap_or_else(free_port),
                program: self.program.clone(),
                args: Vec::new(),
                folder: tempfile::tempdir().expect("a temporary folder"),
                child: None,
            };
            std::fs::create_dir(process.dir()).expect("a data folder");
            process.args = (self.args)(process.port, &process.dir());
            match process.try_launch() {
                Ok(()) => return process,
                Err(why) => problem = why,
            }
        }
        panic!("{problem}");
    }
}

/// A running server on the loopback address with a data folder of its own; stops when it is dropped.
///
/// Its methods block: an async test that needs its other tasks meanwhile runs on several threads.
#[derive(Debug)]
pub struct Process {
    port: u16,
    program: PathBuf,
    args: Vec<String>,
    folder: TempDir,
    child: Option<Child>,
}

impl Process {
    /// Describes a server that is started with a program.
    #[must_use]
    pub fn builder(program: impl Into<PathBuf>) -> ProcessBuilder {
        ProcessBuilder { program: program.into(), args: Box::new(|_, _| Vec::new()), port: None }
    }

    /// Returns its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Returns its data folder.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns what it printed since its first start.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Tells whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills it at once, as a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop and waits until it has; kills it after 30 seconds.
    pub fn terminate(&mut self) {
        if let Some(child) = &self.child {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        }
        for _ in 0..POLLS {
            if !self.is_running() {
                break;
            }
            std::thread::sleep(POLL);
        }
        self.kill();
    }

    /// Starts it again with the same arguments, port and data, and blocks until its port accepts connections;
    /// kills it first if it runs.
    ///
    /// # Panics
    /// Panics with the end of its log when it ends, and when it does not accept within 30 seconds.
    pub fn restart(&mut self) {
        self.kill();
        if let Err(problem) = self.try_launch() {
            panic!("{problem}");
        }
    }

    fn try_launch(&mut self) -> Result<(), String> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let child = Command::new(&self.program)
            .args(&self.args)
            .current_dir(self.dir())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()));
        self.child = Some(child);
        for _ in 0..POLLS {
            let accepts = TcpStream::connect(self.addr()).is_ok();
            if !self.is_running() {
                return Err(self.problem("ended while it started"));
            }
            if accepts {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        self.kill();
        Err(self.problem("does not accept connections after 30 s"))
    }

    fn problem(&self, what: &str) -> String {
        let log = self.log();
        let tail = log.get(log.floor_char_boundary(log.len().saturating_sub(TAIL))..).unwrap_or_default();
        format!("{} on port {} {what}; the end of its log:\n{tail}", self.program.display(), self.port)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::testkit::server;

    const REDIS: fn(u16, &Path) -> Vec<String> = |port, dir| {
        let dir = dir.display().to_string();
        ["--port", &port.to_string(), "--dir", &dir, "--appendonly", "yes"].map(str::to_owned).to_vec()
    };

    fn ask(server: &Process, command: &str) -> String {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        write!(stream, "{command}\r\nQUIT\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn a_server_keeps_port_and_data_over_a_restart() {
        let Some(program) = server::program("REDIS_SERVER") else { return };
        let mut redis = Process::builder(program).args(REDIS).start();
        let port = redis.port();
        ask(&redis, "SET name ann");
        redis.terminate();
        assert!(!redis.is_running() && TcpStream::connect(redis.addr()).is_err());
        redis.restart();
        assert_eq!(redis.port(), port);
        // It accepts before it has loaded its data.
        while ask(&redis, "GET name").starts_with("-LOADING") {}
        assert!(ask(&redis, "GET name").contains("ann"));
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let Some(program) = server::program("REDIS_SERVER") else { return };
        let redis = Process::builder(program).args(REDIS).start();
        let (addr, dir) = (redis.addr(), redis.dir());
        drop(redis);
        assert!(TcpStream::connect(addr).is_err());
        assert!(!dir.exists());
    }

    #[test]
    #[should_panic(expected = "complaint of the server")]
    fn a_server_that_does_not_start_shows_its_log() {
        let complain = ["-c", "echo complaint of the server; exit 1"].map(str::to_owned).to_vec();
        let _ = Process::builder("/bin/sh").args(move |_, _| complain.clone()).start();
    }
}
