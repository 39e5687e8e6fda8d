//! What is too much is refused, and harms nobody else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mini_platform_core::domain::ClientId;
use mini_platform_core::error::{FaultKind, IngestError, Retry};
use mini_platform_core::port::{FetchQuery, WorkerNode};
use mini_platform_core::testkit::{self, client, transfer};
use mini_platform_grpc::v1::cluster_service_client::ClusterServiceClient;
use mini_platform_grpc::v1::worker_service_client::WorkerServiceClient;
use mini_platform_grpc::v1::{FetchFraudListRequest, IdentifyRequest};
use mini_platform_grpc::{ChannelSettings, RemoteWorker, Services, v1};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::{
    AT_ONCE, HeldWorker, TestServer, Welcoming, batch, eventually, longest_event, settings, soon, worker,
};

fn fault_kind(error: &IngestError) -> FaultKind {
    let IngestError::Fault(fault) = error else { panic!("{error:?}") };
    fault.kind()
}

#[tokio::test]
async fn a_message_that_is_too_large_for_the_server_is_refused() {
    let server = TestServer::of(worker().await, settings().with_max_message(4 << 10)).await;
    let client = server.client();
    let many = testkit::batch((0..1024).map(|n| transfer(&format!("e{n}"), "ann", "bob", 1)));
    let error = soon(client.ingest(&many)).await.unwrap_err();
    assert_eq!((fault_kind(&error), error.retry()), (FaultKind::Internal, Retry::Never), "{error:?}");
    client.ingest(&batch("small")).await.unwrap();
}

#[tokio::test]
async fn the_longest_batch_is_taken_and_a_message_beyond_it_is_not() {
    let server = TestServer::of(worker().await, settings()).await;
    let most = testkit::batch((0..1024).map(longest_event));
    assert_eq!(soon(server.client().ingest(&most)).await.unwrap().len(), 1024);

    let mut client = WorkerServiceClient::new(channel(&server));
    let events = vec![v1::Event::default(); 600_000];
    let request = v1::WorkerServiceIngestRequest { batch: Some(v1::EventBatch { events }) };
    let refused = soon(client.ingest(request)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused}");
}

#[tokio::test]
async fn questions_that_are_short_may_not_be_long() {
    let server = TestServer::start(settings(), Services::new().with_cluster(Arc::new(Welcoming))).await;
    let long = "x".repeat(17 << 10);
    let mut cluster = ClusterServiceClient::new(channel(&server));
    let request = v1::JoinRequest { token: long.clone(), ..v1::JoinRequest::default() };
    let refused = soon(cluster.join(request)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused}");

    let mut reflection = ServerReflectionClient::new(channel(&server));
    let question = ServerReflectionRequest {
        host: long,
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = soon(reflection.server_reflection_info(stream::iter([question]))).await.unwrap();
    let answer = soon(answers.into_inner().next()).await;
    assert!(!matches!(answer, Some(Ok(_))), "{answer:?}");
}

fn channel(server: &TestServer) -> Channel {
    Channel::from_shared(format!("http://{}", server.addr)).unwrap().connect_lazy()
}

#[tokio::test]
async fn a_message_that_is_too_large_for_the_client_is_refused() {
    let server = TestServer::of(worker().await, settings()).await;
    let many = testkit::batch((0..64).map(|n| transfer(&format!("e{n}"), "ann", "bob", 1)));
    server.client().ingest(&many).await.unwrap();
    let narrow = RemoteWorker::new(&server.address(), &ChannelSettings::default().with_max_message(1 << 10));
    let error = soon(narrow.fetch(&FetchQuery::Overview(client("ann")))).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error:?}");
    let error = soon(narrow.ingest(&many)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error:?}");
    narrow.ingest(&batch("small")).await.unwrap();
}

#[tokio::test]
async fn a_request_with_too_long_a_head_is_refused() {
    let node = HeldWorker::new().await;
    node.release.add_permits(1);
    let server = TestServer::of(node.clone(), settings().with_max_header(4 << 10)).await;
    let channel = Channel::from_shared(format!("http://{}", server.addr)).unwrap().connect_lazy();
    let mut client = WorkerServiceClient::new(channel);
    let mut request = tonic::Request::new((&batch("e1")).into());
    request.metadata_mut().insert("padding", "x".repeat(8 << 10).parse().unwrap());
    assert!(soon(client.ingest(request)).await.is_err());
    assert_eq!(node.entered(), 0, "it reaches no worker");
    server.is_idle().await;
    soon(client.ingest(tonic::Request::new((&batch("e2")).into()))).await.unwrap();
}

#[tokio::test]
async fn more_requests_than_may_be_under_way_are_refused_at_once_and_not_queued() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings().with_max_in_flight(2)).await;
    // All on one connection, where they must not wait unseen either.
    let client = server.client();
    let held: Vec<_> = (0..2)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.ingest(&batch(&format!("held-{n}"))).await })
        })
        .collect();
    eventually("both are under way", || node.entered() == 2).await;

    let start = Instant::now();
    let error = client.ingest(&batch("too-many")).await.unwrap_err();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(fault_kind(&error), FaultKind::Throttled);
    assert!(matches!(error.retry(), Retry::After(pause) if pause > Duration::ZERO), "{error:?}");
    assert_eq!(node.entered(), 2, "it reaches no worker");
    // Who is about to dial the worker is not kept out by its load.
    client.identify().await.unwrap();

    node.release.add_permits(3);
    for call in held {
        soon(call).await.unwrap().unwrap();
    }
    client.ingest(&batch("once-more")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusing_thousands_of_large_requests_breaks_no_connection() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings().with_max_in_flight(1)).await;
    let client = server.client();
    let held = {
        let client = client.clone();
        tokio::spawn(async move { client.ingest(&batch("held")).await })
    };
    eventually("it is under way", || node.entered() == 1).await;

    let large = testkit::batch((0..256).map(|n| transfer(&format!("e{n}"), "ann", "bob", 1)));
    let refused = stream::iter(0..1500).map(|_| client.ingest(&large)).buffer_unordered(64);
    let kinds = refused.map(|answer| fault_kind(&answer.unwrap_err()));
    soon(kinds.for_each(|kind| async move { assert_eq!(kind, FaultKind::Throttled) })).await;
    node.release.add_permits(1);
    soon(held).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_on_many_requests_breaks_no_connection() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings()).await;
    let client = server.client();
    let held = {
        let client = client.clone();
        tokio::spawn(async move { client.ingest(&batch("held")).await })
    };
    eventually("it is under way", || node.entered() == 1).await;
    for _ in 0..30 {
        // Each is answered while its caller gives up.
        let late = stream::iter(0..50).map(|_| async {
            let overview = FetchQuery::Overview(client_id());
            let _ = tokio::time::timeout(Duration::from_millis(1), client.fetch(&overview)).await;
        });
        soon(late.buffer_unordered(50).collect::<Vec<()>>()).await;
    }
    node.release.add_permits(1);
    soon(held).await.unwrap().unwrap();
}

fn client_id() -> ClientId {
    client("ann")
}

#[tokio::test]
async fn one_connection_may_have_as_many_requests_as_the_server() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings().with_max_in_flight(8)).await;
    let client = server.client();
    let calls: Vec<_> = (0..8)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.ingest(&batch(&format!("e{n}"))).await })
        })
        .collect();
    eventually("all are under way", || node.entered() == 8).await;
    assert_eq!(server.activity.connections(), 1);
    node.release.add_permits(8);
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn more_connections_than_may_be_wait_until_one_ends() {
    let limits = settings().with_max_connections(1).with_handshake_timeout(Duration::from_secs(60));
    let server = TestServer::of(worker().await, limits).await;
    let first = TcpStream::connect(server.addr).await.unwrap();
    eventually("the first is connected", || server.activity.connections() == 1).await;

    let client = server.client();
    let waiting = tokio::spawn(async move { client.ingest(&batch("e1")).await });
    let mut second = TcpStream::connect(server.addr).await.unwrap();
    let unread = tokio::time::timeout(Duration::from_millis(100), second.read(&mut [0; 1])).await;
    assert!(unread.is_err(), "nobody speaks to it yet: {unread:?}");
    assert_eq!(server.activity.connections(), 1);
    assert!(!waiting.is_finished());
    drop(second);

    drop(first);
    soon(waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_exist_is_refused() {
    let server = TestServer::start(settings(), mini_platform_grpc::Services::new()).await;
    let channel = Channel::from_shared(format!("http://{}", server.addr)).unwrap().connect_lazy();
    let mut client = WorkerServiceClient::new(channel);
    let refused = client.identify(IdentifyRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    let refused = client.fetch_fraud_list(FetchFraudListRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
}
