//! The members of the cluster.

use std::time::Duration;

use http::StatusCode;
use mini_platform_core::dispatcher::WorkerInfo;
use mini_platform_core::domain::{Epoch, NodeAddress};
use serde::Serialize;

use super::query::Parameters;
use super::render;
use super::routes::Answer;
use super::state::State;

#[derive(Serialize)]
struct WorkersJson<'a> {
    items: Vec<WorkerJson<'a>>,
}

/// A member, as it is answered.
#[derive(Serialize)]
struct WorkerJson<'a> {
    id: &'a str,
    /// None of a worker in this process.
    address: Option<&'a NodeAddress>,
    state: &'static str,
    in_flight: usize,
    /// None before the first answer.
    latency_ms: Option<f64>,
    finished: u64,
    failed: u64,
    /// None of a worker in this process.
    epoch: Option<Epoch>,
}

impl<'a> WorkerJson<'a> {
    fn new(worker: &'a WorkerInfo) -> Self {
        Self {
            id: worker.id.as_str(),
            address: worker.address.as_ref(),
            state: worker.state.as_str(),
            in_flight: worker.in_flight,
            latency_ms: worker.latency.map(millis),
            finished: worker.finished,
            failed: worker.failed,
            epoch: worker.epoch,
        }
    }
}

/// Returns milliseconds with three digits behind the point: nobody measures finer.
fn millis(latency: Duration) -> f64 {
    (latency.as_secs_f64() * 1e6).round() / 1e3
}

/// Answers who the members are and how they do. There are few, so it is one page.
pub(super) fn list(state: &State, query: &str) -> Answer {
    Parameters::none(query)?;
    let workers = state.dispatcher.workers();
    Ok(render::read(StatusCode::OK, &WorkersJson { items: workers.iter().map(WorkerJson::new).collect() }))
}
