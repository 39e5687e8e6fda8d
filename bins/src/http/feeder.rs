//! What a feeder says about itself: probes, metrics, and the list that it keeps in force.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use mini_platform_core::domain::ListInfo;
use mini_platform_core::error::RegistryError;
use mini_platform_core::port::{Clock, FraudRegistry, SystemClock};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::health::{self, Check};
use super::problem::{Code, Problem};
use super::render::{self, ListJson};
use super::request::{ApiRequest, request};
use super::routes::{Answer, no_such_path, read_only};
use crate::telemetry::Metrics;

/// How long the registry may take to answer a probe: less than most probes wait.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a feeder serves over HTTP.
#[derive(Clone)]
pub struct FeederApi {
    registry: Arc<dyn FraudRegistry>,
    max_list_age: Duration,
    metrics: Metrics,
    draining: CancellationToken,
}

impl fmt::Debug for FeederApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeederApi").field("max_list_age", &self.max_list_age).finish_non_exhaustive()
    }
}

impl FeederApi {
    /// Serves what is known of the list in a registry; not ready with a list that is older than `max_list_age`,
    /// and once `draining` is cancelled.
    #[must_use]
    pub fn new(
        registry: Arc<dyn FraudRegistry>,
        max_list_age: Duration,
        metrics: Metrics,
        draining: CancellationToken,
    ) -> Self {
        Self { registry, max_list_age, metrics, draining }
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, Problem> {
        match tokio::time::timeout(PROBE_TIMEOUT, self.registry.in_force()).await {
            Ok(Ok(list)) => Ok(list),
            Ok(Err(error)) => Err(unavailable(&error)),
            Err(_) => Err(Problem::new(Code::Timeout, "The fraud registry did not answer in time.")),
        }
    }
}

fn unavailable(error: &RegistryError) -> Problem {
    Problem::new(Code::Unavailable, format!("The list in force cannot be told: {error}."))
}

#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Live,
    Ready,
    Metrics,
    FraudList,
}

/// Makes the filter of the feeder's own pages. It answers every request.
pub(super) fn routes(api: FeederApi) -> BoxedFilter<(Response,)> {
    let live = warp::path!("livez").map(|| Endpoint::Live);
    let ready = warp::path!("readyz").map(|| Endpoint::Ready);
    let metrics = warp::path!("metrics").map(|| Endpoint::Metrics);
    let list = warp::path!("v1" / "fraud-list").map(|| Endpoint::FraudList);
    live.or(ready)
        .unify()
        .or(metrics)
        .unify()
        .or(list)
        .unify()
        .and(request())
        .then(move |endpoint, request| answer(api.clone(), endpoint, request))
        .recover(no_such_path)
        .unify()
        .boxed()
}

async fn answer(api: FeederApi, endpoint: Endpoint, request: ApiRequest) -> Response {
    let page = async { handle(&api, endpoint).await.unwrap_or_else(Problem::into_response) };
    read_only(request, page).await
}

async fn handle(api: &FeederApi, endpoint: Endpoint) -> Answer {
    match endpoint {
        Endpoint::Live => Ok(health::live()),
        Endpoint::Ready => Ok(ready(api).await),
        Endpoint::Metrics => Ok(render::metrics(&api.metrics)),
        Endpoint::FraudList => match api.in_force().await? {
            Some(list) => Ok(render::read(StatusCode::OK, &ListJson::new(&list))),
            None => Err(render::no_fraud_list()),
        },
    }
}

#[derive(Serialize)]
struct Checks {
    fraud_list: Check,
    running: Check,
}

async fn ready(api: &FeederApi) -> Response {
    let fraud_list = match api.in_force().await {
        Ok(Some(list)) => health::age(&list, api.max_list_age, SystemClock.now()),
        Ok(None) => Check::failed("no fraud list is loaded"),
        Err(problem) => Check::failed(problem.detail().to_owned()),
    };
    let running = health::running(&[&api.draining]);
    let is_ready = fraud_list.is_ok() && running.is_ok();
    health::readiness(is_ready, Checks { fraud_list, running })
}
