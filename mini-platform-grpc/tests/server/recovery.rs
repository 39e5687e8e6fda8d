//! Workers that die, come back, or never were there.

use std::time::Duration;

use mini_platform_core::domain::{Incarnation, WorkerId};
use mini_platform_core::error::FaultKind;
use mini_platform_core::port::{WorkerDialer, WorkerNode};
use mini_platform_grpc::{ChannelSettings, GrpcDialer, RemoteWorker};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::{AT_ONCE, HeldWorker, TestServer, address, batch, eventually, settings, soon, worker};

#[tokio::test]
async fn nobody_at_the_address_is_noticed_at_once() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = RemoteWorker::new(&address(gone), &ChannelSettings::default());
    for _ in 0..20 {
        let start = Instant::now();
        let error = client.ingest(&batch("e1")).await.unwrap_err();
        assert!(error.is_unreachable(), "{error:?}");
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_killed_worker_is_noticed_at_once_and_found_again_at_its_address() {
    let node = HeldWorker::new().await;
    let server = TestServer::of(node.clone(), settings()).await;
    let (addr, client) = (server.addr, server.client());
    node.release.add_permits(1);
    client.ingest(&batch("e1")).await.unwrap();

    let held = {
        let client = client.clone();
        tokio::spawn(async move { client.ingest(&batch("e2")).await })
    };
    eventually("the batch arrives", || node.entered() == 2).await;
    server.kill().await;
    let start = Instant::now();
    let error = soon(held).await.unwrap().unwrap_err();
    assert!(error.is_unreachable(), "what was under way: {error:?}");
    let error = client.ingest(&batch("e3")).await.unwrap_err();
    assert!(error.is_unreachable(), "what comes while it is gone: {error:?}");
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());

    let mut again = settings();
    again.listen = addr;
    let _server = TestServer::of(worker().await, again).await;
    let outcomes = client.ingest(&batch("e4")).await;
    assert!(outcomes.is_ok(), "the first request after it is back reaches it: {outcomes:?}");
}

#[tokio::test]
async fn many_requests_at_once_find_a_worker_that_came_back() {
    let server = TestServer::of(worker().await, settings()).await;
    let (addr, client) = (server.addr, server.client());
    client.ingest(&batch("e1")).await.unwrap();
    server.kill().await;
    let mut again = settings();
    again.listen = addr;
    let _server = TestServer::of(worker().await, again).await;
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.ingest(&batch(&format!("again-{n}"))).await })
        })
        .collect();
    let mut failed = 0;
    for call in calls {
        match soon(call).await.unwrap() {
            Ok(_) => {}
            Err(error) if error.is_unreachable() => failed += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(failed < 50, "one connection serves them all");
    client.ingest(&batch("e2")).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_went_silent_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = ChannelSettings::default()
        .with_keepalive_interval(Duration::from_millis(100))
        .with_keepalive_timeout(Duration::from_millis(100));
    let client = RemoteWorker::new(&address(silent.local_addr().unwrap()), &settings);
    let error = soon(client.ingest(&batch("e1"))).await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
}

#[tokio::test]
async fn a_dialled_worker_says_who_it_is_and_works() {
    let server = TestServer::of(worker().await, settings()).await;
    let dialled = GrpcDialer::new(ChannelSettings::default()).dial(&server.address()).await.unwrap();
    assert_eq!((dialled.id, dialled.incarnation), (WorkerId::new("w-1").unwrap(), Incarnation(7)));
    dialled.node.ingest(&batch("e1")).await.unwrap();
}

#[tokio::test]
async fn who_is_no_worker_cannot_be_dialled() {
    let dialer = GrpcDialer::new(ChannelSettings::default());
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(dialer.dial(&address(gone)).await.unwrap_err().kind(), FaultKind::Unavailable);
    // It speaks gRPC, and has no worker.
    let empty = TestServer::start(settings(), mini_platform_grpc::Services::new()).await;
    assert_eq!(dialer.dial(&empty.address()).await.unwrap_err().kind(), FaultKind::Internal);
}
