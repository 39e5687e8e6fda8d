//! Brokers of one's own for tests: started, killed and restarted.
//!
//! Each answers `None` when `tansu` is not installed, so that the test is skipped; see [`server`]. Their methods
//! block: an async test runs on several threads.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use mini_platform_core::testkit::server::{self, Process};

/// A broker of one's own. It writes what it holds to disk, so that it is there again after a kill and restart.
#[derive(Debug)]
pub struct KafkaBroker {
    process: Process,
}

impl KafkaBroker {
    /// Starts a broker, and waits until it accepts connections.
    #[must_use]
    pub fn start() -> Option<Self> {
        let port = server::free_port();
        Self::start_behind(port, port)
    }

    /// Starts a broker on a port that sends its clients to another one, where a proxy stands in front of it.
    #[must_use]
    pub fn start_behind(port: u16, advertised: u16) -> Option<Self> {
        let process = Process::builder(server::program("TANSU")?).port(port).args(move |port, _| {
            // The database is in the folder that the broker starts in: it takes no absolute path.
            let engine = "--storage-engine=sqlite://t.db".to_owned();
            let listener = format!("--listener-url=tcp://127.0.0.1:{port}");
            let advertised = format!("--advertised-listener-url=tcp://127.0.0.1:{advertised}");
            vec!["broker".to_owned(), engine, listener, advertised]
        });
        Some(Self { process: process.start() })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> String {
        self.process.addr().to_string()
    }

    /// Kills it at once. What it acknowledged is there after a restart.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port with the records that it wrote.
    pub fn restart(&mut self) {
        self.process.restart();
    }
}

/// Answers a shared broker, from `MP_TEST_KAFKA_BROKERS`.
#[must_use]
pub fn shared_broker() -> Option<String> {
    server::brokers("KAFKA")
}

/// Answers a topic that no other test has.
#[must_use]
pub fn unique_topic() -> String {
    format!("test-{:016x}", RandomState::new().build_hasher().finish())
}
