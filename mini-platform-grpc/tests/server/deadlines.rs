//! The time of a request is known to whoever works on it, and kept.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mini_platform_core::deadline;
use mini_platform_core::error::{FaultKind, IngestError};
use mini_platform_core::port::WorkerNode;
use mini_platform_grpc::v1::WorkerServiceIngestRequest;
use mini_platform_grpc::v1::worker_service_client::WorkerServiceClient;
use mini_platform_grpc::{ChannelSettings, RemoteWorker};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::support::{AT_ONCE, HeldWorker, TestServer, address, batch, eventually, settings, soon};

#[tokio::test]
async fn a_worker_sees_no_more_time_than_its_caller_has() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings()).await;
    node.release.add_permits(2);

    let sent = Duration::from_secs(7);
    deadline::within(sent, server.client().ingest(&batch("e1"))).await.unwrap().unwrap();
    let seen = node.remaining.lock().unwrap().unwrap();
    assert!(seen <= sent, "{seen:?} is more than was sent");
    assert!(seen > Duration::from_secs(1), "{seen:?} is not what was sent");

    server.client().ingest(&batch("e2")).await.unwrap();
    let seen = node.remaining.lock().unwrap().unwrap();
    assert!(seen > sent, "without a limit of the caller there is a longer one: {seen:?}");
}

#[tokio::test]
async fn work_is_dropped_when_its_caller_is_gone() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings()).await;
    let client = server.client();
    let call = tokio::spawn(async move { client.ingest(&batch("e1")).await });
    eventually("the batch arrives", || node.entered() == 1).await;
    assert_eq!(server.activity.in_flight(), 1);

    call.abort();
    eventually("the work is dropped", || node.left() == 1).await;
    server.is_idle().await;
}

#[tokio::test]
async fn work_is_dropped_when_its_time_is_up_though_the_caller_still_waits() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings()).await;
    // A client that sends a deadline and does not keep it.
    let lax = Client::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new());
    let origin = format!("http://{}", server.addr).parse().unwrap();
    let mut lax = WorkerServiceClient::with_origin(lax, origin);
    let mut request = Request::new(WorkerServiceIngestRequest::from(&batch("e1")));
    request.set_timeout(Duration::from_millis(200));

    let refused = soon(lax.ingest(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused}");
    assert!(!refused.details().is_empty(), "it says why");
    assert_eq!((node.entered(), node.left()), (1, 1), "the work was begun, and dropped");
    server.is_idle().await;
}

#[tokio::test]
async fn a_caller_gives_up_on_a_worker_that_never_answers() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = RemoteWorker::new(&address(silent.local_addr().unwrap()), &ChannelSettings::default());
    let start = Instant::now();
    let limit = Duration::from_millis(200);
    let answer = deadline::within(limit, async { client.ingest(&batch("e1")).await }).await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    if let Ok(answer) = answer {
        let Err(IngestError::Fault(fault)) = answer else { panic!("{answer:?}") };
        assert_eq!(fault.kind(), FaultKind::Timeout);
    }
}
