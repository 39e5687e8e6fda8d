//! Replica sets of one's own for tests: started, killed and restarted.
//!
//! The methods that kill and start block their thread for as long as it takes: an async test that needs its other
//! tasks meanwhile runs on several threads.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use mini_platform_core::testkit::server::{Process, program};
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};

/// The user of a set that wants credentials.
pub const USER: &str = "tester";

/// The password of [`USER`], with characters that a connection string must escape.
pub const PASSWORD: &str = "s3cret/p@ss";

/// [`PASSWORD`] as it stands in a connection string.
pub const ESCAPED_PASSWORD: &str = "s3cret%2Fp%40ss";

const NAME: &str = "rs0";

/// How long a set may take to become what a test waits for. A loaded machine starts three servers slowly.
const PATIENCE: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(50);

/// A replica set of `mongod` processes on the loopback address; they stop when it is dropped.
#[derive(Debug)]
pub struct MongoSet {
    nodes: Vec<Process>,
    auth: bool,
}

impl MongoSet {
    /// Starts a set and waits until it has a primary and all others are secondaries.
    ///
    /// Returns `None` where there is no `mongod`, after printing `SKIP`.
    ///
    /// # Panics
    /// Panics when the set does not come up.
    pub async fn start(nodes: usize) -> Option<Self> {
        Self::start_set(nodes, false).await
    }

    /// Starts a set of one node that wants the credentials of [`USER`].
    ///
    /// # Panics
    /// Panics when the set does not come up.
    pub async fn start_with_auth() -> Option<Self> {
        Self::start_set(1, true).await
    }

    /// Starts one server that is no member of a replica set.
    ///
    /// # Panics
    /// Panics when it does not come up.
    pub async fn start_standalone() -> Option<Self> {
        Self::start_single(&[]).await
    }

    /// Starts one server that is to be in a replica set, without making the set.
    ///
    /// # Panics
    /// Panics when it does not come up.
    pub async fn start_uninitiated() -> Option<Self> {
        Self::start_single(&["--replSet", NAME]).await
    }

    async fn start_single(more: &[&str]) -> Option<Self> {
        let program = program("MONGOD")?;
        let more: Vec<String> = more.iter().copied().map(str::to_owned).collect();
        let node = Process::builder(program).args(move |port, dir| arguments(port, dir, &more)).start();
        let set = Self { nodes: vec![node], auth: false };
        set.until(async || set.try_run(0, doc! { "ping": 1 }).await.is_some()).await;
        Some(set)
    }

    async fn start_set(nodes: usize, auth: bool) -> Option<Self> {
        let program = program("MONGOD")?;
        let start = |_| {
            Process::builder(&program)
                .args(move |port, dir| {
                    let mut more = vec!["--replSet".to_owned(), NAME.to_owned()];
                    if auth {
                        more.extend(["--auth".to_owned(), "--keyFile".to_owned(), key_file(dir)]);
                    }
                    arguments(port, dir, &more)
                })
                .start()
        };
        let set = Self { nodes: (0..nodes).map(start).collect(), auth };
        set.initiate().await;
        Some(set)
    }

    async fn initiate(&self) {
        let members = self
            .nodes
            .iter()
            .zip(0_i32..)
            .map(|(node, id)| Bson::Document(doc! { "_id": id, "host": node.addr().to_string() }));
        let config = doc! {
            "_id": NAME,
            "members": members.collect::<Vec<_>>(),
            // Elections in a second or two, so that tests need not wait.
            "settings": { "electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 300 },
        };
        self.run(0, doc! { "replSetInitiate": config }).await;
        if self.auth {
            self.until(async || self.is_primary(0).await).await;
            let roles = vec![Bson::from("root")];
            let user = doc! { "createUser": USER, "pwd": PASSWORD, "roles": roles };
            // Who comes from the same machine may make the first user.
            let client = Client::with_uri_str(self.direct_uri_without_credentials(0)).await;
            client.expect("a client").database("admin").run_command(user).await.expect("the first user");
        }
        self.wait_until_steady().await;
    }

    /// Returns the connection string of the whole set.
    #[must_use]
    pub fn uri(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        format!("mongodb://{}{}/?replicaSet={NAME}", self.credentials(), hosts.join(","))
    }

    /// Returns the connection string of one node, whatever its role.
    #[must_use]
    pub fn direct_uri(&self, node: usize) -> String {
        format!("mongodb://{}{}/?directConnection=true", self.credentials(), self.nodes[node].addr())
    }

    fn direct_uri_without_credentials(&self, node: usize) -> String {
        format!("mongodb://{}/?directConnection=true", self.nodes[node].addr())
    }

    fn credentials(&self) -> String {
        if self.auth { format!("{USER}:{ESCAPED_PASSWORD}@") } else { String::new() }
    }

    /// Returns the address of a node, such as `127.0.0.1:12345`.
    #[must_use]
    pub fn addr(&self, node: usize) -> String {
        self.nodes[node].addr().to_string()
    }

    /// Waits for a primary and returns which node it is.
    ///
    /// # Panics
    /// Panics when there is none for a long time.
    pub async fn primary(&self) -> usize {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            for node in 0..self.nodes.len() {
                if self.is_primary(node).await {
                    return node;
                }
            }
            assert!(tokio::time::Instant::now() < deadline, "the set has no primary");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills a node as a power cut would.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a node again on its port and data.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].restart();
    }

    /// Kills the primary and returns which node it was.
    pub async fn kill_primary(&mut self) -> usize {
        let node = self.primary().await;
        self.kill(node);
        node
    }

    /// Makes the primary step down and keeps it from standing for election for ten seconds.
    pub async fn step_down(&self) {
        let node = self.primary().await;
        // It may close our connection with its answer.
        let command = doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5, "force": true };
        let _ = self.try_run(node, command).await;
    }

    /// Waits until all nodes that run are primary or secondary, and one is primary.
    ///
    /// # Panics
    /// Panics when that takes too long.
    pub async fn wait_until_steady(&self) {
        self.until(async || {
            let (mut primaries, mut others) = (0, 0);
            for node in 0..self.nodes.len() {
                let Some(hello) = self.try_run(node, doc! { "hello": 1 }).await else { return false };
                primaries += usize::from(hello.get_bool("isWritablePrimary").unwrap_or(false));
                others += usize::from(hello.get_bool("secondary").unwrap_or(false));
            }
            primaries == 1 && primaries + others == self.nodes.len()
        })
        .await;
    }

    /// Runs a command on the `admin` database of a node.
    ///
    /// # Panics
    /// Panics when it fails.
    pub async fn run(&self, node: usize, command: Document) -> Document {
        let what = command.keys().next().cloned().unwrap_or_default();
        match self.try_run(node, command).await {
            Some(answer) => answer,
            None => panic!("{what} failed on node {node}"),
        }
    }

    async fn try_run(&self, node: usize, command: Document) -> Option<Document> {
        // Nobody can log in before there is a user, and a set without a primary makes none.
        let is_setup =
            self.auth && (command.contains_key("replSetInitiate") || command.contains_key("hello"));
        let uri = if is_setup { self.direct_uri_without_credentials(node) } else { self.direct_uri(node) };
        let uri = format!("{uri}&serverSelectionTimeoutMS=2000&connectTimeoutMS=2000");
        let client = Client::with_uri_str(uri).await.ok()?;
        let admin = client.database("admin");
        let answer = tokio::time::timeout(PATIENCE, admin.run_command(command).into_future()).await;
        client.shutdown().immediate(true).await;
        answer.ok()?.ok()
    }

    async fn is_primary(&self, node: usize) -> bool {
        let hello = self.try_run(node, doc! { "hello": 1 }).await;
        hello.is_some_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
    }

    async fn until(&self, condition: impl AsyncFn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !condition().await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the set does not get ready; the log of its first node:\n{}",
                self.nodes[0].log()
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

fn arguments(port: u16, dir: &Path, more: &[String]) -> Vec<String> {
    let (port, dir) = (port.to_string(), dir.display().to_string());
    let own = ["--port", &port, "--dbpath", &dir, "--bind_ip", "127.0.0.1", "--oplogSize", "64"];
    let small =
        ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"];
    let faults = ["--setParameter", "enableTestCommands=1"];
    let all = own.into_iter().chain(small).chain(faults).map(str::to_owned);
    all.chain(more.iter().cloned()).collect()
}

/// Writes the secret by which the members of a set know each other, and returns where it is.
fn key_file(dir: &Path) -> String {
    let file = dir.join("key");
    std::fs::write(&file, "bWluaS1wbGF0Zm9ybQ==").expect("a key file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a private key file");
    file.display().to_string()
}
