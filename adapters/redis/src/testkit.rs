//! Servers of one's own for tests: started, killed and restarted.
//!
//! Each answers `None` when `redis-server` is not installed, so that the test is skipped; see
//! [`server`]. Their methods block: an async test runs on several threads.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod sentinels;

use std::time::{Duration, Instant};

use mini_platform_core::testkit::server::{self, Process};
use redis::{Client, FromRedisValue, RedisResult, Value};
use rustls::crypto::aws_lc_rs;

pub use cluster::RedisCluster;
pub use sentinels::RedisSentinels;

/// How long a server may take to become what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A server of one's own. It writes what it holds to disk, so that it is there again after a kill and restart.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
}

impl RedisServer {
    /// Starts a server, and waits until it answers.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Like [`RedisServer::start`], with more arguments, such as `["--maxmemory", "10mb"]`.
    #[must_use]
    pub fn start_with(more: &[&str]) -> Option<Self> {
        let more: Vec<String> = more.iter().copied().map(str::to_owned).collect();
        let process = Process::builder(server::program("REDIS_SERVER")?)
            .args(move |port, dir| {
                let dir = dir.display().to_string();
                let own = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", &dir];
                let own = own.iter().copied().map(str::to_owned);
                own.chain(PERSISTENT.map(str::to_owned)).chain(more.clone()).collect()
            })
            .start();
        let started = Self { process };
        started.wait_until_ready();
        Some(started)
    }

    /// Returns its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Returns its URL.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port())
    }

    /// Kills it at once. What it answered is there after a restart.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port with the data that it wrote, and waits until it answers.
    pub fn restart(&mut self) {
        self.process.restart();
        self.wait_until_ready();
    }

    /// Sends one command past the adapter, and returns the answer.
    ///
    /// # Panics
    /// Panics when the server does not answer, or answers an error.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        ask(self.port(), command).unwrap_or_else(|error| panic!("{command:?} fails: {error}"))
    }

    fn wait_until_ready(&self) {
        wait_until("the server answers", || match ask::<Value>(self.port(), &["EXISTS", "none"]) {
            Ok(_) => true,
            // A server that wants a password is ready; one that loads its data is not.
            Err(error) => error.code() == Some("NOAUTH"),
        });
    }
}

/// Every write is handed to the operating system before it is answered, so a kill loses nothing. With an fsync
/// every second it would not be: writes wait in the process while one is under way.
const PERSISTENT: [&str; 8] =
    ["--save", "", "--appendonly", "yes", "--appendfsync", "no", "--repl-diskless-sync-delay", "0"];

/// A key prefix that no other test has.
///
/// # Panics
/// Panics when the system gives no random numbers.
#[must_use]
pub fn unique_prefix() -> String {
    let mut bytes = [0; 8];
    aws_lc_rs::default_provider().secure_random.fill(&mut bytes).expect("random numbers");
    format!("test-{:016x}", u64::from_ne_bytes(bytes))
}

/// Removes the keys of a prefix from one server when it is dropped.
#[derive(Debug)]
pub struct Cleanup {
    /// Where the keys are.
    pub url: String,
    /// What they start with, after the brace of a hash tag if there is one.
    pub prefix: String,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // A server that is gone holds nothing.
        let Ok(mut connection) = Client::open(self.url.as_str()).and_then(|client| client.get_connection())
        else {
            return;
        };
        for pattern in [format!("{}*", self.prefix), format!("{{{}*", self.prefix)] {
            drop(remove(&mut connection, &pattern));
        }
    }
}

fn remove(connection: &mut redis::Connection, pattern: &str) -> RedisResult<()> {
    let mut scan = redis::cmd("SCAN");
    let scan = scan.cursor_arg(0).arg("MATCH").arg(pattern).arg("COUNT").arg(10_000).clone();
    let keys: Vec<Vec<u8>> = scan.iter(connection)?.collect::<RedisResult<_>>()?;
    if keys.is_empty() { Ok(()) } else { redis::cmd("UNLINK").arg(keys).query(connection) }
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn ask<T: FromRedisValue>(port: u16, command: &[&str]) -> RedisResult<T> {
    let mut connection = Client::open(url(port))?.get_connection_with_timeout(Duration::from_secs(5))?;
    let mut asked = redis::Cmd::new();
    for word in command {
        asked.arg(word);
    }
    asked.query(&mut connection)
}

/// Blocks until something is so.
///
/// # Panics
/// Panics when it is not so after a minute.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(POLL);
    }
}
