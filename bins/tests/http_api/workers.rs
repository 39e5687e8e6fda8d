//! The members of the cluster.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use mini_platform_core::dispatcher::ClusterConfig;
use mini_platform_core::domain::{
    Epoch, EventBatch, Incarnation, IngestOutcome, JoinToken, NodeAddress, ProtocolVersion, WorkerId,
};
use mini_platform_core::error::{Fault, FaultKind, FetchError, IngestError};
use mini_platform_core::port::{
    Dialled, FetchAnswer, FetchQuery, JoinAnswer, JoinRequest, Membership, WorkerDialer, WorkerNode,
};
use serde_json::{Value, json};

use crate::support::{GatedWorker, TestApp, plain_worker, settings, transaction};

#[tokio::test]
async fn a_worker_is_shown_with_what_it_does() {
    let worker = GatedWorker::new(plain_worker().await);
    let app = TestApp::start_on(settings(), worker.clone()).await;
    let answer = app.get("/v1/workers").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        answer.json(),
        json!({"items": [{"id": "local", "address": null, "state": "ready", "in_flight": 0, "latency_ms": null,
            "finished": 0, "failed": 0, "epoch": null}]})
    );
    let body = transaction("t1");
    tokio::join!(app.store(&body), async {
        worker.arrival().await;
        assert_eq!(app.get("/v1/workers").await.json()["items"][0]["in_flight"], 1);
        worker.permits.add_permits(1);
    });
    let shown = app.get("/v1/workers").await.json()["items"][0].clone();
    assert_eq!((&shown["in_flight"], &shown["finished"]), (&json!(0), &json!(1)), "{shown}");
    assert!(shown["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{shown}");
}

#[tokio::test]
async fn without_workers_the_page_is_empty() {
    let app = TestApp::start_without_worker(settings()).await;
    assert_eq!(app.get("/v1/workers").await.json(), json!({"items": []}));
}

#[tokio::test]
async fn the_page_is_only_read_and_takes_no_parameters() {
    let app = TestApp::start().await;
    let answer = app.request(Method::HEAD, "/v1/workers", &[], "").await;
    assert_eq!((answer.status, answer.text()), (200, ""));
    let answer = app.post("/v1/workers", "{}").await;
    answer.assert_problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "GET, HEAD");
    app.get("/v1/workers?limit=1").await.assert_problem(400, "invalid_parameter");
    app.get("/v1/workers/").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn a_service_without_a_ready_worker_is_not_ready() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    app.dispatcher.remove_member(&WorkerId::LOCAL);
    let answer = app.get("/readyz").await;
    assert_eq!((answer.status, &answer.json()["checks"]["worker"]["ok"]), (503, &Value::Bool(false)));
    app.post("/v1/transactions", &transaction("t1").to_string()).await.assert_problem(503, "no_workers");
}

/// A worker whose machine is gone.
struct Gone;

#[async_trait]
impl WorkerNode for Gone {
    async fn ingest(&self, _: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        Err(Fault::new("worker", "ingest", FaultKind::Unavailable).into())
    }

    async fn fetch(&self, _: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        Err(Fault::new("worker", "fetch", FaultKind::Unavailable).into())
    }
}

#[async_trait]
impl WorkerDialer for Gone {
    async fn dial(&self, _: &NodeAddress) -> Result<Dialled, Fault> {
        let (id, incarnation) = (WorkerId::new("w-1").unwrap(), Incarnation(1));
        Ok(Dialled { id, incarnation, node: Arc::new(Self) })
    }
}

#[tokio::test]
async fn a_worker_that_cannot_be_reached_is_shown_and_does_not_count_as_ready() {
    let app = TestApp::start_without_worker(settings()).await;
    let membership = app.dispatcher.membership(ClusterConfig::default(), Arc::new(Gone), Epoch(7));
    let request = JoinRequest {
        id: WorkerId::new("w-1").unwrap(),
        address: NodeAddress::new("http://10.0.0.5:9082").unwrap(),
        incarnation: Incarnation(1),
        protocol: ProtocolVersion::CURRENT,
        token: JoinToken::default(),
    };
    assert!(matches!(membership.join(&request).await, Ok(JoinAnswer::Joined(_))));
    let shown = app.get("/v1/workers").await.json()["items"][0].clone();
    assert_eq!((&shown["id"], &shown["state"]), (&json!("w-1"), &json!("ready")), "{shown}");
    assert_eq!((&shown["address"], &shown["epoch"]), (&json!("http://10.0.0.5:9082"), &json!(7)), "{shown}");
    app.post("/v1/transactions", &transaction("t1").to_string()).await.assert_problem(503, "unavailable");
    let shown = app.get("/v1/workers").await.json()["items"][0].clone();
    assert_eq!((&shown["state"], &shown["finished"]), (&json!("ejected"), &json!(0)), "{shown}");
    assert!(shown["failed"].as_u64().is_some_and(|failed| failed > 0), "{shown}");
    let ready = app.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["checks"]["worker"]["ok"]), (503, &Value::Bool(false)));
    assert_eq!(ready.json()["checks"]["worker"]["detail"], "no worker is ready");
}
