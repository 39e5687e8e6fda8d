//! A master with replicas, watched by Sentinels, of one's own.

use std::path::Path;

use mini_platform_core::testkit::server::{self, Process};
use redis::Value;

use super::{PERSISTENT, ask, wait_until};

const SERVERS: usize = 3;
const SENTINELS: usize = 3;

/// The name that the Sentinels know the master by.
const MASTER: &str = "main";

/// A master with two replicas and three Sentinels. A master that is killed is replaced within a few seconds.
#[derive(Debug)]
pub struct RedisSentinels {
    servers: Vec<Process>,
    sentinels: Vec<Process>,
}

impl RedisSentinels {
    /// Starts everything, and waits until the Sentinels know each other and the replicas are in step.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = server::program("REDIS_SERVER")?;
        let master = Process::builder(&program).args(|port, dir| server_arguments(port, dir, None)).start();
        let master_port = master.port();
        let replica = || {
            Process::builder(&program)
                .args(move |port, dir| server_arguments(port, dir, Some(master_port)))
                .start()
        };
        let mut servers = vec![master];
        servers.extend(std::iter::repeat_with(replica).take(SERVERS - 1));
        let sentinel = || {
            let arguments = move |port, dir: &Path| sentinel_arguments(port, dir, master_port);
            Process::builder(&program).args(arguments).start()
        };
        let sentinels = std::iter::repeat_with(sentinel).take(SENTINELS).collect();
        let started = Self { servers, sentinels };
        started.wait_until_ready();
        Some(started)
    }

    /// Returns its URL, which names the Sentinels.
    #[must_use]
    pub fn url(&self) -> String {
        let host = |sentinel: &Process| format!("127.0.0.1:{}", sentinel.port());
        let hosts: Vec<String> = self.sentinels.iter().map(host).collect();
        format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// Kills the master, and returns which server it is.
    ///
    /// # Panics
    /// Panics when the Sentinels know no running master.
    pub fn kill_master(&mut self) -> usize {
        let port = self.master_port().expect("the Sentinels know the master");
        let number = self.servers.iter().position(|server| server.port() == port).expect("it is one of ours");
        if let Some(server) = self.servers.get_mut(number) {
            server.kill();
        }
        number
    }

    /// Starts a killed server again, and waits until all are in step.
    pub fn restart(&mut self, number: usize) {
        if let Some(server) = self.servers.get_mut(number) {
            server.restart();
        }
        self.wait_until_ready();
    }

    /// Sends a command to every running server, but no Sentinel.
    pub fn ask_all(&self, command: &[&str]) {
        for server in &self.servers {
            drop(ask::<Value>(server.port(), command));
        }
    }

    fn master_port(&self) -> Option<u16> {
        let sentinel = self.sentinels.first()?;
        let address: Vec<String> =
            ask(sentinel.port(), &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).unwrap_or_default();
        address.last()?.parse().ok()
    }

    fn wait_until_ready(&self) {
        wait_until("all Sentinels know all", || {
            self.sentinels.iter().all(|sentinel| {
                let info: String = ask(sentinel.port(), &["INFO", "sentinel"]).unwrap_or_default();
                let whole = format!("slaves={},sentinels={SENTINELS}", SERVERS - 1);
                info.contains("status=ok") && info.contains(&whole)
            })
        });
        wait_until("all replicas are in step", || {
            let port = self.master_port().unwrap_or_default();
            let info: String = ask(port, &["INFO", "replication"]).unwrap_or_default();
            info.matches("state=online").count() == SERVERS - 1
        });
    }
}

fn server_arguments(port: u16, dir: &Path, master: Option<u16>) -> Vec<String> {
    let (port, dir) = (port.to_string(), dir.display().to_string());
    let own = ["--port", &port, "--bind", "127.0.0.1", "--dir", &dir];
    let mut arguments: Vec<String> = own.iter().chain(&PERSISTENT).map(|word| (*word).to_owned()).collect();
    if let Some(master) = master {
        arguments.extend(["--replicaof".to_owned(), format!("127.0.0.1 {master}")]);
    }
    arguments
}

fn sentinel_arguments(port: u16, dir: &Path, master: u16) -> Vec<String> {
    // Sentinels write what they learn into this file.
    let file = dir.join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n"
    );
    std::fs::write(&file, text).expect("a file in the data folder");
    vec![file.display().to_string(), "--sentinel".to_owned()]
}
