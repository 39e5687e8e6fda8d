//! The cluster that is under attack.

use std::fs;

use mini_platform_core::testkit::server::{Process, free_port};
use serde_json::Value;

use super::killer::Blow;
use super::program::Program;
use super::scene::Scene;
use super::servers::{self, get};
use super::summary::Summary;
use super::wait_until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mini-platform");
const DISPATCHER: &str = env!("CARGO_BIN_EXE_mini-platform-dispatcher");
const WORKER: &str = env!("CARGO_BIN_EXE_mini-platform-worker");
const FEEDER: &str = env!("CARGO_BIN_EXE_mini-platform-feeder");

const WORKERS: usize = 2;

/// The name that no fraud list may leave out.
const LISTED: &str = "Mallory";

/// What can be struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Dispatcher(usize),
    Worker(usize),
    Feeder,
    Mongodb,
    Redis,
    Kafka,
}

/// What a cluster is made of, besides servers and a feeder.
pub(crate) struct Setup {
    pub(crate) dispatchers: usize,
    /// Settings of the dispatchers.
    pub(crate) dispatching: Vec<String>,
    /// Settings of the workers.
    pub(crate) working: Vec<String>,
}

impl Setup {
    /// As the defaults are.
    pub(crate) fn usual(dispatchers: usize) -> Self {
        Self { dispatchers, dispatching: Vec::new(), working: Vec::new() }
    }
}

/// What is sent: `name` is that of the ledger and of the logs.
pub(crate) struct Load<'a> {
    pub(crate) name: &'a str,
    /// Events a second.
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
    /// How else, as the command line has it.
    pub(crate) how: &'a str,
}

/// What a check said.
pub(crate) struct Checked {
    pub(crate) is_clean: bool,
    pub(crate) said: String,
}

/// Programs of every role on servers of their own.
pub(crate) struct Cluster {
    dispatchers: Vec<Program>,
    /// Where each dispatcher listens for clients.
    addresses: Vec<String>,
    workers: Vec<Program>,
    feeder: Program,
    mongodb: Process,
    redis: Process,
    kafka: Process,
    /// Where the log of each server belongs when the run fails.
    server_logs: [std::path::PathBuf; 3],
}

/// Servers of one's own.
pub(crate) struct Servers {
    pub(crate) mongodb: Process,
    pub(crate) redis: Process,
    pub(crate) kafka: Process,
}

impl Servers {
    /// Starts them; `None` when there are no programs and none are required.
    pub(crate) fn start() -> Option<Self> {
        Some(Self { mongodb: servers::mongodb()?, redis: servers::redis()?, kafka: servers::kafka()? })
    }
}

/// Where the programs listen.
struct Ports {
    http: Vec<u16>,
    grpc: Vec<u16>,
}

impl Cluster {
    /// Starts everything; `None` when there are no servers and none are required.
    pub(crate) fn start(scene: &Scene, setup: &Setup) -> Option<Self> {
        let servers = Servers::start()?;
        Some(Self::on(servers, scene, setup))
    }

    /// Starts programs on servers.
    pub(crate) fn on(servers: Servers, scene: &Scene, setup: &Setup) -> Self {
        let Servers { mongodb, redis, kafka } = servers;
        let dispatchers = setup.dispatchers;
        let free = |count: usize| (0..count).map(|_| free_port()).collect::<Vec<_>>();
        let ports = Ports { http: free(dispatchers), grpc: free(dispatchers) };
        let list = scene.file("list.txt");
        fs::write(&list, format!("{LISTED}\n")).unwrap();
        let shared = [
            "store.backend=mongodb".to_owned(),
            "adjacency.backend=redis".to_owned(),
            "registry.backend=redis".to_owned(),
            format!("mongodb.uri=mongodb://{}/?replicaSet=rs0", mongodb.addr()),
            format!("redis.url=redis://{}", redis.addr()),
            format!("feeder.source=file:{}", list.display()),
            "feeder.interval=500ms".to_owned(),
        ];
        let feeder = Program::start(
            scene,
            "feeder",
            FEEDER,
            settings(&shared, &["feeder.listen=127.0.0.1:0".to_owned()]),
        );
        let dispatcher = |number: usize| {
            let own = dispatcher_settings(scene, number, &ports, &redis, &kafka);
            let name = format!("dispatcher-{number}");
            Program::start(scene, &name, DISPATCHER, settings(&own, &setup.dispatching))
        };
        let worker = |number: usize| {
            let own = [worker_settings(number, &ports), setup.working.clone()].concat();
            Program::start(scene, &format!("worker-{number}"), WORKER, settings(&shared, &own))
        };
        Self {
            dispatchers: (0..dispatchers).map(dispatcher).collect(),
            addresses: ports.http.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
            workers: (0..WORKERS).map(worker).collect(),
            feeder,
            mongodb,
            redis,
            kafka,
            server_logs: ["mongodb", "redis", "kafka"].map(|name| scene.file(&format!("{name}.log"))),
        }
    }

    /// Starts a load, which ends by itself.
    pub(crate) fn load(&self, scene: &Scene, load: &Load<'_>) -> Program {
        let Load { name, rate, seconds, how } = load;
        let ledger = scene.file(name).display().to_string();
        let mut arguments = vec!["load".to_owned(), "--ledger".to_owned(), ledger];
        for address in &self.addresses {
            arguments.extend(["--url".to_owned(), format!("http://{address}")]);
        }
        let how =
            format!("--rate {rate} --duration {seconds}s --fraudulent 0.05 --fraud-name {LISTED} {how}");
        arguments.extend(how.split_whitespace().map(str::to_owned));
        Program::start(scene, &format!("{name}-load"), PROGRAM, arguments)
    }

    /// Sends a load and waits for its end.
    pub(crate) fn bear(&self, scene: &Scene, load: &Load<'_>) -> Summary {
        let mut sending = self.load(scene, load);
        sending.wait();
        let summary = Summary::of(&sending);
        scene.note(&format!("{}:\n{}", load.name, summary.said()));
        summary
    }

    /// Returns everything that can be struck, always in the same order.
    pub(crate) fn victims(&self) -> Vec<Victim> {
        let dispatchers = (0..self.dispatchers.len()).map(Victim::Dispatcher);
        let workers = (0..self.workers.len()).map(Victim::Worker);
        let others = [Victim::Feeder, Victim::Mongodb, Victim::Redis, Victim::Kafka];
        dispatchers.chain(workers).chain(others).collect()
    }

    fn program(&mut self, victim: Victim) -> Option<&mut Program> {
        match victim {
            Victim::Dispatcher(number) => self.dispatchers.get_mut(number),
            Victim::Worker(number) => self.workers.get_mut(number),
            Victim::Feeder => Some(&mut self.feeder),
            Victim::Mongodb | Victim::Redis | Victim::Kafka => None,
        }
    }

    fn server(&mut self, victim: Victim) -> Option<&mut Process> {
        match victim {
            Victim::Mongodb => Some(&mut self.mongodb),
            Victim::Redis => Some(&mut self.redis),
            Victim::Kafka => Some(&mut self.kafka),
            Victim::Dispatcher(_) | Victim::Worker(_) | Victim::Feeder => None,
        }
    }

    pub(crate) fn strike(&mut self, victim: Victim, blow: Blow) {
        if let Some(program) = self.program(victim) {
            match blow {
                Blow::Kill => program.kill(),
                Blow::Stop => program.ask_to_stop(),
            }
        } else if let Some(server) = self.server(victim) {
            match blow {
                Blow::Kill => server.kill(),
                Blow::Stop => server.terminate(),
            }
        }
    }

    pub(crate) fn bring_back(&mut self, victim: Victim) {
        if let Some(program) = self.program(victim) {
            program.let_run();
        } else if let Some(server) = self.server(victim) {
            server.restart();
        }
    }

    fn programs(&mut self) -> impl Iterator<Item = &mut Program> {
        self.dispatchers.iter_mut().chain(&mut self.workers).chain([&mut self.feeder])
    }

    /// Starts programs again that ended and are to run.
    pub(crate) fn tend(&mut self, scene: &Scene) {
        self.programs().for_each(|program| program.tend(scene));
    }

    /// Whether every dispatcher has all workers and a fraud list.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.addresses.iter().all(|address| {
            let is_ready = get(address, "/readyz").is_some_and(|(status, _)| status == 200);
            let members = get(address, "/v1/workers").map_or(0, |(_, page)| ready_members(&page));
            is_ready && members == WORKERS
        })
    }

    fn is_lot_empty(&mut self) -> bool {
        self.addresses.iter().all(|address| {
            let page = get(address, "/v1/parked?limit=1").filter(|(status, _)| *status == 200);
            page.is_some_and(|(_, page)| items(&page).is_some_and(|items| items.is_empty()))
        })
    }

    /// Returns how many events are tried no more.
    pub(crate) fn dead_letters(&self) -> u64 {
        let (_, page) = get(self.addresses.first().unwrap(), "/v1/parked?limit=1").unwrap();
        let page: Value = serde_json::from_str(&page).unwrap();
        page.get("dead_letters").and_then(Value::as_u64).unwrap()
    }

    pub(crate) fn are_outboxes_empty(&mut self) -> bool {
        self.addresses.iter().all(|address| {
            let metrics = get(address, "/metrics").map_or_else(String::new, |(_, metrics)| metrics);
            let waiting = metrics.lines().find_map(|line| line.strip_prefix("mini_platform_outbox_bytes "));
            waiting.and_then(|bytes| bytes.trim().parse::<f64>().ok()) == Some(0.0)
        })
    }

    /// Has every promise of a ledger checked.
    pub(crate) fn check(&self, scene: &Scene, ledger: &str) -> Checked {
        let address = self.addresses.first().unwrap();
        let name = format!("{ledger}-check");
        let (ledger, kafka) = (scene.file(ledger).display().to_string(), self.kafka.addr());
        // The broker of the tests takes its time to begin to read hundreds of thousands of records.
        let how = format!(
            "--set kafka.brokers={kafka} --set kafka.timeout=3m load check --url http://{address} --log kafka {ledger}"
        );
        let mut check = Program::start(scene, &name, PROGRAM, how.split(' ').map(str::to_owned).collect());
        let is_clean = check.wait().success();
        Checked { is_clean, said: format!("{}{}", check.said(), check.log()) }
    }

    /// Returns how much memory the first dispatcher has resident.
    pub(crate) fn dispatcher_bytes(&self) -> u64 {
        self.dispatchers.first().unwrap().resident_bytes()
    }

    /// Waits until nothing is under way any more and has the ledgers' promises checked, one after the other.
    pub(crate) fn assert_every_promise_is_kept(&mut self, scene: &Scene, ledgers: &[&str]) {
        wait_until("nothing is parked any more", self, scene, Self::is_lot_empty);
        wait_until("every record has left its outbox", self, scene, Self::are_outboxes_empty);
        for ledger in ledgers {
            let report = self.check(scene, ledger);
            scene.note(&format!("{ledger} is checked:\n{}", report.said));
            assert!(report.is_clean, "every promise of {ledger} is kept");
        }
        self.assert_nobody_panicked();
    }

    fn assert_nobody_panicked(&mut self) {
        for program in self.programs() {
            assert!(!program.log().contains("panicked"), "{} panicked", program.name);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (path, server) in self.server_logs.iter().zip([&self.mongodb, &self.redis, &self.kafka]) {
                // What cannot be kept is not worth more than what failed.
                let _ = fs::write(path, server.log());
            }
        }
    }
}

fn settings(shared: &[String], own: &[String]) -> Vec<String> {
    shared.iter().chain(own).flat_map(|setting| ["--set".to_owned(), setting.clone()]).collect()
}

fn dispatcher_settings(
    scene: &Scene,
    number: usize,
    ports: &Ports,
    redis: &Process,
    kafka: &Process,
) -> Vec<String> {
    let port = |ports: &[u16]| ports.get(number).copied().unwrap();
    let outbox = scene.file(&format!("outbox-{number}"));
    vec![
        format!("http.listen=127.0.0.1:{}", port(&ports.http)),
        format!("grpc.listen=127.0.0.1:{}", port(&ports.grpc)),
        "parking.backend=redis".to_owned(),
        format!("redis.url=redis://{}", redis.addr()),
        "log.backend=kafka".to_owned(),
        format!("kafka.brokers={}", kafka.addr()),
        format!("log.outbox_dir={}", outbox.display()),
        // What is parked comes back soon, whoever had it when he was killed.
        "parking.lease=5s".to_owned(),
        "parking.max_pause=2s".to_owned(),
    ]
}

fn worker_settings(number: usize, ports: &Ports) -> Vec<String> {
    let join: Vec<String> = ports.grpc.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    vec![
        format!("cluster.join={}", join.join(",")),
        format!("cluster.worker_id=w{number}"),
        format!("grpc.listen=127.0.0.1:{}", free_port()),
        "worker.listen=127.0.0.1:0".to_owned(),
    ]
}

fn items(page: &str) -> Option<Vec<Value>> {
    let page: Value = serde_json::from_str(page).ok()?;
    page.get("items")?.as_array().cloned()
}

fn ready_members(page: &str) -> usize {
    let is_ready = |member: &&Value| member.get("state").is_some_and(|state| state == "ready");
    items(page).unwrap_or_default().iter().filter(is_ready).count()
}
