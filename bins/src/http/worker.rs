//! What a worker of its own says about itself: probes and metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::port::FraudRegistry;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::health::{self, Check};
use super::render;
use super::request::{ApiRequest, request};
use super::routes::{no_such_path, read_only};
use crate::telemetry::Metrics;

/// How long the registry may take to answer a probe: less than most probes wait.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a worker serves over HTTP.
#[derive(Clone)]
pub struct WorkerApi {
    registry: Arc<dyn FraudRegistry>,
    memberships: Vec<watch::Receiver<bool>>,
    metrics: Metrics,
    draining: CancellationToken,
}

impl fmt::Debug for WorkerApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerApi").field("memberships", &self.memberships.len()).finish_non_exhaustive()
    }
}

impl WorkerApi {
    /// Serves how a worker does: ready with a fraud list and at least one membership, until `draining` is
    /// cancelled.
    #[must_use]
    pub fn new(
        registry: Arc<dyn FraudRegistry>,
        memberships: Vec<watch::Receiver<bool>>,
        metrics: Metrics,
        draining: CancellationToken,
    ) -> Self {
        Self { registry, memberships, metrics, draining }
    }
}

#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Live,
    Ready,
    Metrics,
}

/// Makes the filter of the worker's own pages. It answers every request.
pub(super) fn routes(api: WorkerApi) -> BoxedFilter<(Response,)> {
    let live = warp::path!("livez").map(|| Endpoint::Live);
    let ready = warp::path!("readyz").map(|| Endpoint::Ready);
    let metrics = warp::path!("metrics").map(|| Endpoint::Metrics);
    live.or(ready)
        .unify()
        .or(metrics)
        .unify()
        .and(request())
        .then(move |endpoint, request| answer(api.clone(), endpoint, request))
        .recover(no_such_path)
        .unify()
        .boxed()
}

async fn answer(api: WorkerApi, endpoint: Endpoint, request: ApiRequest) -> Response {
    let page = async {
        match endpoint {
            Endpoint::Live => health::live(),
            Endpoint::Ready => ready(&api).await,
            Endpoint::Metrics => render::metrics(&api.metrics),
        }
    };
    read_only(request, page).await
}

#[derive(Serialize)]
struct Checks {
    membership: Check,
    fraud_list: Check,
    running: Check,
}

async fn ready(api: &WorkerApi) -> Response {
    let running = health::running(&[&api.draining]);
    let checks = Checks { membership: membership(api), fraud_list: fraud_list(api).await, running };
    let is_ready =
        [&checks.membership, &checks.fraud_list, &checks.running].iter().all(|check| check.is_ok());
    health::readiness(is_ready, checks)
}

fn membership(api: &WorkerApi) -> Check {
    let joined = api.memberships.iter().filter(|is_member| *is_member.borrow()).count();
    let detail = format!("a member of {joined} of {} clusters", api.memberships.len());
    if joined == 0 { Check::failed(detail) } else { Check::ok(detail) }
}

/// Checks that events can be screened. How old a list may be is for dispatchers and the feeder to watch.
async fn fraud_list(api: &WorkerApi) -> Check {
    match tokio::time::timeout(PROBE_TIMEOUT, api.registry.in_force()).await {
        Ok(Ok(Some(list))) => Check::ok(format!("version {}", list.version)),
        Ok(Ok(None)) => Check::failed("no fraud list is loaded"),
        Ok(Err(error)) => Check::failed(format!("the list in force cannot be told: {error}")),
        Err(_) => Check::failed("the fraud registry did not answer in time"),
    }
}
