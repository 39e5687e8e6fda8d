//! Paths, methods, and who answers them.

use std::convert::Infallible;
use std::sync::Arc;

use http::Method;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::event_json::Kind;
use super::fetch::{self, ClientRead};
use super::problem::Problem;
use super::request::{ApiRequest, request};
use super::state::State;
use super::{array, body, dead_letters, health, ingest, lines, parked, render, workers};

/// What a handler makes of a request.
pub(super) type Answer = Result<Response, Problem>;

/// What a path is for. Names from the path are as they were sent: percent-encoded.
#[derive(Debug)]
enum Endpoint {
    Ingest(Kind),
    IngestMany,
    Client(String, ClientRead),
    Event(String),
    FraudList,
    FraudCheck,
    Workers,
    Parked,
    DeadLetters,
    DeadLetter(String),
    Redrive(String),
    Live,
    Ready,
    Metrics,
}

impl Endpoint {
    /// Returns the methods that the path answers, as in `Allow`.
    fn allow(&self) -> &'static str {
        match self {
            Self::Ingest(_) | Self::IngestMany | Self::Redrive(_) => "POST",
            Self::DeadLetter(_) => "GET, HEAD, DELETE",
            _ => "GET, HEAD",
        }
    }

    fn allows(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// Makes the filter of the whole API. It answers every request.
pub(super) fn routes(state: Arc<State>) -> BoxedFilter<(Response,)> {
    ingest_paths()
        .or(read_paths())
        .unify()
        .or(lot_paths())
        .unify()
        .and(request())
        .then(move |endpoint, request| answer(Arc::clone(&state), endpoint, request))
        .recover(no_such_path)
        .unify()
        .boxed()
}

fn ingest_paths() -> BoxedFilter<(Endpoint,)> {
    let transactions = warp::path!("v1" / "transactions").map(|| Endpoint::Ingest(Kind::Transaction));
    let operations = warp::path!("v1" / "operations").map(|| Endpoint::Ingest(Kind::Operation));
    let events = warp::path!("v1" / "events").map(|| Endpoint::IngestMany);
    transactions.or(operations).unify().or(events).unify().boxed()
}

fn read_paths() -> BoxedFilter<(Endpoint,)> {
    let event = warp::path!("v1" / "events" / String).map(Endpoint::Event);
    let list = warp::path!("v1" / "fraud-list").map(|| Endpoint::FraudList);
    let check = warp::path!("v1" / "fraud-list" / "check").map(|| Endpoint::FraudCheck);
    let workers = warp::path!("v1" / "workers").map(|| Endpoint::Workers);
    let live = warp::path!("livez").map(|| Endpoint::Live);
    let ready = warp::path!("readyz").map(|| Endpoint::Ready);
    let metrics = warp::path!("metrics").map(|| Endpoint::Metrics);
    let service = list.or(check).unify().or(workers).unify();
    let probes = live.or(ready).unify().or(metrics).unify();
    client_paths().or(event).unify().or(service).unify().or(probes).unify().boxed()
}

fn lot_paths() -> BoxedFilter<(Endpoint,)> {
    let parked = warp::path!("v1" / "parked").map(|| Endpoint::Parked);
    let letters = warp::path!("v1" / "dead-letters").map(|| Endpoint::DeadLetters);
    let letter = warp::path!("v1" / "dead-letters" / String).map(Endpoint::DeadLetter);
    let redrive = warp::path!("v1" / "dead-letters" / String / "redrive").map(Endpoint::Redrive);
    parked.or(letters).unify().or(letter).unify().or(redrive).unify().boxed()
}

fn client_paths() -> BoxedFilter<(Endpoint,)> {
    let overview =
        warp::path!("v1" / "clients" / String).map(|client| Endpoint::Client(client, ClientRead::Overview));
    let transactions = warp::path!("v1" / "clients" / String / "transactions")
        .map(|client| Endpoint::Client(client, ClientRead::Transactions));
    let operations = warp::path!("v1" / "clients" / String / "operations")
        .map(|client| Endpoint::Client(client, ClientRead::Operations));
    let interactions = warp::path!("v1" / "clients" / String / "interactions")
        .map(|client| Endpoint::Client(client, ClientRead::Interactions));
    let branches = warp::path!("v1" / "clients" / String / "branches")
        .map(|client| Endpoint::Client(client, ClientRead::Branches));
    overview
        .or(transactions)
        .unify()
        .or(operations)
        .unify()
        .or(interactions)
        .unify()
        .or(branches)
        .unify()
        .boxed()
}

/// Answers the only rejection there is: no path matched.
pub(super) async fn no_such_path(_: Rejection) -> Result<Response, Infallible> {
    Ok(unknown_path().into_response())
}

pub(super) fn unknown_path() -> Problem {
    Problem::not_found("There is nothing at this path.")
}

/// Answers a request of pages that can only be read.
pub(super) async fn read_only(request: ApiRequest, answer: impl Future<Output = Response>) -> Response {
    if request.path.as_str().ends_with('/') {
        return unknown_path().into_response();
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Problem::method_not_allowed("GET, HEAD").into_response();
    }
    let response = answer.await;
    if request.method == Method::HEAD { render::without_body(response) } else { response }
}

async fn answer(state: Arc<State>, endpoint: Endpoint, request: ApiRequest) -> Response {
    // warp takes a path with a slash at its end for the one without.
    if request.path.as_str().ends_with('/') {
        return unknown_path().into_response();
    }
    if !endpoint.allows(&request.method) {
        return Problem::method_not_allowed(endpoint.allow()).into_response();
    }
    let head = request.method == Method::HEAD;
    let response = handle(state, endpoint, request).await.unwrap_or_else(Problem::into_response);
    if head { render::without_body(response) } else { response }
}

async fn handle(state: Arc<State>, endpoint: Endpoint, request: ApiRequest) -> Answer {
    match endpoint {
        Endpoint::Ingest(kind) => ingest::one(&state, kind, request).await,
        Endpoint::IngestMany => ingest_many(state, request).await,
        Endpoint::Client(client, what) => fetch::client(&state, &client, what, &request.query).await,
        Endpoint::Event(id) => fetch::event(&state, &id, &request.query).await,
        Endpoint::FraudList => fetch::fraud_list(&state, &request.query).await,
        Endpoint::FraudCheck => fetch::fraud_check(&state, &request.query).await,
        Endpoint::Workers => workers::list(&state, &request.query),
        Endpoint::Parked => parked::list(&state, &request.query).await,
        Endpoint::DeadLetters => dead_letters::list(&state, &request.query).await,
        Endpoint::DeadLetter(id) if request.method == Method::DELETE => {
            dead_letters::discard(&state, &id, &request.query).await
        }
        Endpoint::DeadLetter(id) => dead_letters::show(&state, &id, &request.query).await,
        Endpoint::Redrive(id) => dead_letters::redrive(&state, &id, &request.query).await,
        Endpoint::Live => Ok(health::live()),
        Endpoint::Ready => Ok(health::ready(&state).await),
        Endpoint::Metrics => Ok(render::metrics(&state.metrics)),
    }
}

async fn ingest_many(state: Arc<State>, request: ApiRequest) -> Answer {
    match body::media_type(&request.headers, &[body::MediaType::Ndjson, body::MediaType::Json])? {
        body::MediaType::Ndjson => lines::many(state, request),
        body::MediaType::Json => array::many(state, request).await,
    }
}
