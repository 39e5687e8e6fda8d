//! A dispatcher and several workers as processes of their own, on MongoDB, Redis and S3, whose members are killed,
//! frozen and replaced under load.
//!
//! Skipped without servers: `scripts/test-servers run cargo nextest run -p mini-platform-bins --features full`.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod killed;
mod replaced;

use mini_platform_core::testkit::server::free_port;
use serde_json::Value;
use support::load::LISTED;
use support::servers::Servers;
use support::{Running, wait_until};

/// How many events are acknowledged between two blows.
const BETWEEN_BLOWS: usize = 2_000;

/// A feeder, a dispatcher and workers that joined it.
struct Cluster {
    servers: Servers,
    dispatcher: Running,
    workers: Vec<Worker>,
    _feeder: Running,
}

/// A worker at an address that it keeps when it is started again.
struct Worker {
    program: Running,
    id: String,
    listen: String,
}

impl Cluster {
    /// Starts everything, and waits until all workers are ready.
    fn start(workers: usize, more: &[&str]) -> Option<Self> {
        let servers = Servers::find()?;
        servers.upload(format!("name\n{LISTED}\n"));
        let feeder = Running::feeder(&borrowed(&servers.settings()));
        let listen = format!("grpc.listen=127.0.0.1:{}", free_port());
        let dispatcher = Running::dispatcher(&[&["dispatch.timeout=10s", &listen][..], more].concat());
        let mut cluster = Self { servers, dispatcher, workers: Vec::new(), _feeder: feeder };
        for number in 0..workers {
            let listen = format!("127.0.0.1:{}", free_port());
            let worker = cluster.worker(&format!("w{number}"), listen);
            cluster.workers.push(worker);
        }
        cluster.wait_until_ready(workers);
        Some(cluster)
    }

    fn worker(&self, id: &str, listen: String) -> Worker {
        let own = [
            format!("cluster.join={}", self.dispatcher.grpc()),
            format!("cluster.worker_id={id}"),
            format!("grpc.listen={listen}"),
        ];
        let settings = [self.servers.settings(), own.to_vec()].concat();
        Worker { program: Running::worker(&borrowed(&settings)), id: id.to_owned(), listen }
    }

    /// Starts a worker that ended again, at the address that it had.
    fn start_again(&mut self, id: &str, listen: String) {
        let worker = self.worker(id, listen);
        self.workers.push(worker);
    }

    /// Returns the members as the dispatcher shows them.
    fn members(&self) -> Vec<Value> {
        let (status, page) = self.dispatcher.get("/v1/workers");
        assert_eq!(status, 200, "{page}");
        let page: Value = serde_json::from_str(&page).unwrap();
        page["items"].as_array().unwrap().clone()
    }

    fn member(&self, id: &str) -> Option<Value> {
        self.members().into_iter().find(|member| member["id"] == id)
    }

    fn wait_until_ready(&self, workers: usize) {
        let ready = || self.members().iter().filter(|member| member["state"] == "ready").count();
        let state = || format!("{:?}\n{}", self.members(), self.dispatcher.log());
        wait_until("the workers are ready", state, || ready() == workers);
    }
}

/// Returns how many requests the dispatcher gave to a member, with those that are under way.
fn picks(member: &Value) -> u64 {
    ["finished", "failed", "in_flight"].iter().map(|count| member[count].as_u64().unwrap()).sum()
}

fn borrowed(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}
