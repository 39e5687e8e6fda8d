//! Probes: does the process live, and should it get requests.

use http::StatusCode;
use mini_platform_core::domain::{ListInfo, Timestamp};
use mini_platform_core::port::{FetchAnswer, FetchQuery};
use serde::Serialize;
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
struct ReadyJson {
    ready: bool,
    checks: Checks,
}

#[derive(Serialize)]
struct Checks {
    worker: Check,
    fraud_list: Check,
    running: Check,
}

#[derive(Serialize)]
struct Check {
    ok: bool,
    detail: String,
}

impl Check {
    fn ok(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into() }
    }

    fn failed(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: detail.into() }
    }
}

/// Answers whether the service can take events, and what is missing if it cannot.
pub(super) async fn ready(state: &State) -> Response {
    let checks =
        Checks { worker: worker(state), fraud_list: fraud_list(state).await, running: running(state) };
    let ready = [&checks.worker, &checks.fraud_list, &checks.running].iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    render::read(status, &ReadyJson { ready, checks })
}

fn worker(state: &State) -> Check {
    match state.dispatcher.view().members().len() {
        0 => Check::failed("no worker is ready"),
        1 => Check::ok("1 worker is ready"),
        workers => Check::ok(format!("{workers} workers are ready")),
    }
}

async fn fraud_list(state: &State) -> Check {
    match state.dispatcher.fetch(&FetchQuery::ListInForce).await {
        Ok(FetchAnswer::ListInForce(Some(list))) => age(state, &list, state.clock.now()),
        Ok(_) => Check::failed("no fraud list is loaded"),
        Err(error) => Check::failed(error.to_string()),
    }
}

/// Checks the age of a list: since it was loaded, or since a feeder last found that there is no newer one.
fn age(state: &State, list: &ListInfo, now: Timestamp) -> Check {
    let fresh_at =
        state.freshness.confirmed_at().map_or(list.loaded_at, |confirmed| confirmed.max(list.loaded_at));
    let (age, max) = (now.since(fresh_at).as_secs(), state.settings.max_list_age);
    let detail = format!("version {}, {age} s old, at most {} s", list.version, max.as_secs());
    if now.since(fresh_at) > max { Check::failed(detail) } else { Check::ok(detail) }
}

fn running(state: &State) -> Check {
    if state.draining.is_cancelled() || state.stopping.is_cancelled() {
        Check::failed("shutting down")
    } else {
        Check::ok("running")
    }
}
