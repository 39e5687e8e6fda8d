//! Starting the programs of a cluster, each on free ports.

use std::process::{Command, Output};

use super::{DATA, Running, wait_until};

pub(crate) const DISPATCHER: &str = env!("CARGO_BIN_EXE_mini-platform-dispatcher");
pub(crate) const WORKER: &str = env!("CARGO_BIN_EXE_mini-platform-worker");

/// What a program of a cluster logs once it listens.
const LISTENS: &str = "serving gRPC on ";

impl Running {
    /// Starts a dispatcher, and waits until it listens. Later settings win, also over the free ports.
    pub(crate) fn dispatcher(settings: &[&str]) -> Self {
        let own = ["http.listen=127.0.0.1:0", "grpc.listen=127.0.0.1:0"];
        Self::spawn(Command::new(DISPATCHER), &[&own[..], settings].concat(), LISTENS)
    }

    /// Starts a worker, and waits until it listens; `cluster.join` names its dispatchers. Needs real stores.
    pub(crate) fn worker(settings: &[&str]) -> Self {
        let own = ["worker.listen=127.0.0.1:0", "grpc.listen=127.0.0.1:0"];
        Self::spawn(Command::new(WORKER), &[&own[..], settings].concat(), LISTENS)
    }

    /// Starts a feeder, and waits until its list is in force.
    #[cfg(feature = "redis")]
    pub(crate) fn feeder(settings: &[&str]) -> Self {
        let program = Command::new(env!("CARGO_BIN_EXE_mini-platform-feeder"));
        Self::spawn(program, &[&["feeder.listen=127.0.0.1:0"], settings].concat(), "is in force")
    }

    /// Returns `http://address` of where it serves gRPC.
    pub(crate) fn grpc(&self) -> String {
        let log = self.log();
        let address = log.lines().find_map(|line| line.split_once(LISTENS)).unwrap().1;
        address.split([',', ' ']).next().unwrap().to_owned()
    }

    /// Waits until its probe says that it is ready, or that it is not.
    pub(crate) fn wait_until_ready(&self, ready: bool) {
        let state = || format!("{}\n{}", self.get("/readyz").1, self.log());
        let what = if ready { "it is ready" } else { "it is not ready any more" };
        wait_until(what, state, || (self.get("/readyz").0 == 200) == ready);
    }
}

/// Runs a program of a cluster that ends by itself.
pub(crate) fn run(program: &str, settings: &[&str], more: &[&str]) -> Output {
    let sets = settings.iter().flat_map(|setting| ["--set", setting]);
    let data = tempfile::tempdir().unwrap();
    Command::new(program).env(DATA, data.path()).args(sets).args(more).output().unwrap()
}
