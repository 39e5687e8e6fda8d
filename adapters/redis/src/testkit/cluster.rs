//! A cluster of one's own.

use mini_platform_core::testkit::server::{self, Process, free_port};
use redis::{FromRedisValue, Value};

use super::{PERSISTENT, ask, wait_until};

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
/// How many slots a cluster has.
const SLOTS: usize = 16_384;

/// Three primaries with a replica each. A primary that is killed is replaced within a few seconds.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Process>,
}

impl RedisCluster {
    /// Starts a cluster, and waits until all slots are served and all replicas are in step.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = server::program("REDIS_SERVER")?;
        let node = || Process::builder(&program).args(arguments).start();
        let cluster = Self { nodes: std::iter::repeat_with(node).take(NODES).collect() };
        cluster.share_slots();
        cluster.introduce();
        cluster.add_replicas();
        cluster.wait_until_ready();
        Some(cluster)
    }

    /// Returns its URL, which names all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.ports().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Kills the primary that holds a key, and returns which node it is.
    ///
    /// # Panics
    /// Panics when no running node holds the key.
    pub fn kill_primary_of(&mut self, key: &str) -> usize {
        let number = self.primary_of(key);
        if let Some(node) = self.nodes.get_mut(number) {
            node.kill();
        }
        number
    }

    /// Starts a killed node again, and waits until all are in step.
    pub fn restart(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.restart();
        }
        self.wait_until_ready();
    }

    /// Sends a command without keys to the primary that holds a key.
    ///
    /// # Panics
    /// Panics when no running node holds the key.
    pub fn ask_primary_of(&self, key: &str, command: &[&str]) {
        if let Some(node) = self.nodes.get(self.primary_of(key)) {
            tell(node.port(), command);
        }
    }

    fn primary_of(&self, key: &str) -> usize {
        let holds = |port: u16| ask::<Value>(port, &["EXISTS", key]).is_ok();
        self.nodes.iter().position(|node| holds(node.port())).expect("a primary of the key")
    }

    /// Sends a command without keys to every running node.
    pub fn ask_all(&self, command: &[&str]) {
        for port in self.ports() {
            drop(ask::<Value>(port, command));
        }
    }

    fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.nodes.iter().map(Process::port)
    }

    fn share_slots(&self) {
        for (number, port) in self.ports().take(PRIMARIES).enumerate() {
            let (first, last) = (number * SLOTS / PRIMARIES, (number + 1) * SLOTS / PRIMARIES - 1);
            tell(port, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            tell(port, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
    }

    fn introduce(&self) {
        let Some(first) = self.nodes.first().map(Process::port) else { return };
        let bus: Vec<String> = get(first, &["CONFIG", "GET", "cluster-port"]);
        let bus = bus.last().cloned().unwrap_or_default();
        for port in self.ports().skip(1) {
            tell(port, &["CLUSTER", "MEET", "127.0.0.1", &first.to_string(), &bus]);
        }
        wait_until("all nodes know each other", || {
            self.ports().all(|port| info(port).contains(&format!("cluster_known_nodes:{NODES}")))
        });
    }

    fn add_replicas(&self) {
        for (primary, replica) in self.ports().zip(self.ports().skip(PRIMARIES)) {
            let id: String = get(primary, &["CLUSTER", "MYID"]);
            wait_until("a replica knows its primary", || {
                ask::<Value>(replica, &["CLUSTER", "REPLICATE", &id]).is_ok()
            });
        }
    }

    fn wait_until_ready(&self) {
        wait_until("the cluster is whole", || self.ports().all(is_ready));
    }
}

fn arguments(port: u16, dir: &std::path::Path) -> Vec<String> {
    let (port, dir, bus) = (port.to_string(), dir.display().to_string(), free_port().to_string());
    let own = ["--port", &port, "--bind", "127.0.0.1", "--dir", &dir, "--cluster-port", &bus];
    let clustered = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    own.iter().chain(&clustered).chain(&PERSISTENT).map(|word| (*word).to_owned()).collect()
}

fn info(port: u16) -> String {
    ask(port, &["CLUSTER", "INFO"]).unwrap_or_default()
}

/// Whether a node sees all slots served, and is a primary with a replica or a replica in step.
fn is_ready(port: u16) -> bool {
    let replication: String = ask(port, &["INFO", "replication"]).unwrap_or_default();
    let in_step = replication.contains("master_link_status:up") || replication.contains("state=online");
    in_step && info(port).contains("cluster_state:ok")
}

fn get<T: FromRedisValue>(port: u16, command: &[&str]) -> T {
    ask(port, command).unwrap_or_else(|error| panic!("{command:?} fails: {error}"))
}

fn tell(port: u16, command: &[&str]) {
    let _: Value = get(port, command);
}
