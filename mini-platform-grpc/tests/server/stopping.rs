//! The end of a server, and what it tells about itself until then.

use std::time::Duration;

use futures_util::StreamExt;
use mini_platform_core::port::WorkerNode;
use mini_platform_grpc::Services;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_health::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::support::{AT_ONCE, HeldWorker, TestServer, batch, eventually, settings, soon, worker};

fn channel(server: &TestServer) -> Channel {
    Channel::from_shared(format!("http://{}", server.addr)).unwrap().connect_lazy()
}

fn question(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn what_is_under_way_is_finished_while_health_says_that_nothing_is_served() {
    let node = HeldWorker::new().await;
    let mut server = TestServer::of(node.clone(), settings()).await;
    let mut watches = Vec::new();
    for service in ["", "mini_platform.v1.WorkerService"] {
        let mut watch =
            HealthClient::new(channel(&server)).watch(question(service)).await.unwrap().into_inner();
        let status = soon(watch.next()).await.unwrap().unwrap().status();
        assert_eq!(status as i32, ServingStatus::Serving as i32, "{service}");
        watches.push(watch);
    }
    let client = server.client();
    let held = {
        let client = client.clone();
        tokio::spawn(async move { client.ingest(&batch("e1")).await })
    };
    eventually("it is under way", || node.entered() == 1).await;

    server.stop.cancel();
    for mut watch in watches {
        let status = soon(watch.next()).await.unwrap().unwrap().status();
        assert_eq!(status as i32, ServingStatus::NotServing as i32);
        assert!(soon(watch.next()).await.is_none(), "then it ends");
    }
    let error = soon(client.ingest(&batch("e2"))).await.unwrap_err();
    assert!(error.is_unreachable(), "nothing new is taken: {error:?}");
    assert!(!server.run.is_finished(), "it waits for what is under way");

    node.release.add_permits(1);
    soon(held).await.unwrap().unwrap();
    soon(&mut server.run).await.unwrap();
}

#[tokio::test]
async fn a_server_without_work_stops_at_once() {
    let mut server = TestServer::of(worker().await, settings()).await;
    let client = server.client();
    client.ingest(&batch("e1")).await.unwrap();
    assert_eq!(server.activity.connections(), 1, "the client stays connected");
    let start = Instant::now();
    server.stop.cancel();
    soon(&mut server.run).await.unwrap();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn who_watches_or_leaves_a_question_open_does_not_hold_a_server_up() {
    let mut server = TestServer::of(worker().await, settings()).await;
    let mut watch = HealthClient::new(channel(&server)).watch(question("")).await.unwrap().into_inner();
    soon(watch.next()).await.unwrap().unwrap();
    let mut reflection = ServerReflectionClient::new(channel(&server));
    let silent = futures_util::stream::pending::<ServerReflectionRequest>();
    let mut answers = reflection.server_reflection_info(silent).await.unwrap().into_inner();
    assert_eq!(server.activity.in_flight(), 2, "both count as under way");

    let start = Instant::now();
    server.stop.cancel();
    soon(&mut server.run).await.unwrap();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(soon(answers.next()).await.is_none(), "it ends without an error");
    server.is_idle().await;
}

#[tokio::test]
async fn health_says_that_nothing_is_served_on_a_connection_of_before() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings()).await;
    let client = server.client();
    let held = tokio::spawn(async move { client.ingest(&batch("e1")).await });
    eventually("it is under way", || node.entered() == 1).await;
    let mut watch = HealthClient::new(channel(&server)).watch(question("")).await.unwrap().into_inner();
    soon(watch.next()).await.unwrap().unwrap();
    // A call that was begun before: its question comes after the stop.
    let (ask, asked) = tokio::sync::oneshot::channel();
    let mut grpc = tonic::client::Grpc::new(channel(&server));
    grpc.ready().await.unwrap();
    let late = tokio::spawn(async move {
        let question = futures_util::stream::once(async move { asked.await.unwrap() });
        let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        grpc.client_streaming(tonic::Request::new(question), path, codec).await
    });
    eventually("it is asked", || server.activity.in_flight() == 3).await;
    server.stop.cancel();
    while soon(watch.next()).await.is_some() {}
    ask.send(question("mini_platform.v1.WorkerService")).unwrap();
    let status = soon(late).await.unwrap().unwrap().into_inner().status();
    assert_eq!(status as i32, ServingStatus::NotServing as i32);
    node.release.add_permits(1);
    soon(held).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut() {
    let node = HeldWorker::new().await;
    let grace = Duration::from_millis(300);
    let mut server = TestServer::of(node.clone(), settings().with_shutdown_grace(grace)).await;
    let client = server.client();
    let held = tokio::spawn(async move { client.ingest(&batch("e1")).await });
    eventually("it is under way", || node.entered() == 1).await;
    let start = Instant::now();
    server.stop.cancel();
    soon(&mut server.run).await.unwrap();
    assert!(start.elapsed() >= grace, "{:?}", start.elapsed());
    let error = soon(held).await.unwrap().unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    eventually("the work is dropped", || node.left() == 1).await;
    server.is_deserted().await;
}

#[tokio::test]
async fn health_knows_every_service_and_no_other() {
    let server = TestServer::of(worker().await, settings()).await;
    let mut health = HealthClient::new(channel(&server));
    for service in ["", "mini_platform.v1.WorkerService"] {
        let status = health.check(question(service)).await.unwrap().into_inner().status();
        assert_eq!(status as i32, ServingStatus::Serving as i32, "{service}");
    }
    let unknown = health.check(question("mini_platform.v1.IngestService")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

async fn reflected(server: &TestServer, question: MessageRequest) -> ServerReflectionResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let asked = futures_util::stream::iter([request]);
    let mut client = ServerReflectionClient::new(channel(server));
    let mut answers = client.server_reflection_info(asked).await.unwrap().into_inner();
    soon(answers.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn reflection_lists_and_describes_what_is_served() {
    let services = Services::new().with_worker(worker().await, crate::support::identity());
    let server = TestServer::start(settings(), services).await;
    let answer = reflected(&server, MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected =
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "mini_platform.v1.WorkerService"];
    assert_eq!(names, expected);

    let symbol = MessageRequest::FileContainingSymbol("mini_platform.v1.WorkerService".to_owned());
    let answer = reflected(&server, symbol).await;
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
        panic!("{answer:?}");
    };
    assert!(!files.file_descriptor_proto.is_empty());
}
