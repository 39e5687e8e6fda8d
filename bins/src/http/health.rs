//! Probes: does the process live, and should it get requests.

use std::time::Duration;

use http::StatusCode;
use mini_platform_core::dispatcher::WorkerState;
use mini_platform_core::domain::{ListInfo, Timestamp};
use mini_platform_core::port::{FetchAnswer, FetchQuery};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warp::reply::Response;

use super::render;
use super::state::State;

#[derive(Serialize)]
struct LiveJson {
    live: bool,
}

/// Answers that the process serves requests.
pub(super) fn live() -> Response {
    render::read(StatusCode::OK, &LiveJson { live: true })
}

#[derive(Serialize)]
struct ReadyJson<C> {
    ready: bool,
    checks: C,
}

#[derive(Serialize)]
struct Checks {
    worker: Check,
    fraud_list: Check,
    running: Check,
}

/// One thing that has to be right before a service is ready.
#[derive(Serialize)]
pub(super) struct Check {
    ok: bool,
    detail: String,
}

impl Check {
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into() }
    }

    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: detail.into() }
    }

    pub(super) fn is_ok(&self) -> bool {
        self.ok
    }
}

/// Answers whether a service is ready, with what was checked.
pub(super) fn readiness(ready: bool, checks: impl Serialize) -> Response {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    render::read(status, &ReadyJson { ready, checks })
}

/// Answers whether the service can take events, and what is missing if it cannot.
pub(super) async fn ready(state: &State) -> Response {
    let running = running(&[&state.draining, &state.stopping]);
    let checks = Checks { worker: worker(state), fraud_list: fraud_list(state).await, running };
    let ready = [&checks.worker, &checks.fraud_list, &checks.running].iter().all(|check| check.ok);
    readiness(ready, checks)
}

fn worker(state: &State) -> Check {
    let now = Instant::now();
    let view = state.dispatcher.view();
    match view.members().iter().filter(|member| member.state(now) == WorkerState::Ready).count() {
        0 => Check::failed("no worker is ready"),
        1 => Check::ok("1 worker is ready"),
        workers => Check::ok(format!("{workers} workers are ready")),
    }
}

async fn fraud_list(state: &State) -> Check {
    match state.dispatcher.fetch(&FetchQuery::ListInForce).await {
        Ok(FetchAnswer::ListInForce(Some(list))) => {
            age(&list, state.settings.max_list_age, state.clock.now())
        }
        Ok(_) => Check::failed("no fraud list is loaded"),
        Err(error) => Check::failed(error.to_string()),
    }
}

/// Checks the age of a list: since a feeder, here or elsewhere, last found that there is no newer one.
pub(super) fn age(list: &ListInfo, max: Duration, now: Timestamp) -> Check {
    let age = now.since(list.confirmed_at);
    let detail = format!("version {}, {} s old, at most {} s", list.version, age.as_secs(), max.as_secs());
    if age > max { Check::failed(detail) } else { Check::ok(detail) }
}

/// Checks that nobody asked the service to stop.
pub(super) fn running(ends: &[&CancellationToken]) -> Check {
    if ends.iter().any(|end| end.is_cancelled()) {
        Check::failed("shutting down")
    } else {
        Check::ok("running")
    }
}
