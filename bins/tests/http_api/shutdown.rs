//! Stopping.

use std::time::Duration;

use mini_platform_bins::http::HttpSettings;
use tokio::net::TcpStream;

use crate::support::{
    GatedWorker, TestApp, line, operation, plain_worker, read_to_end, settings, transaction,
};

#[tokio::test]
async fn what_was_accepted_is_finished_and_nothing_more_is_taken() {
    let worker = GatedWorker::new(plain_worker().await);
    let app = TestApp::start_on(settings(), worker.clone()).await;
    let body = transaction("t1").to_string();
    let head = "POST /v1/transactions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n";
    let mut accepted = app.raw(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
    worker.arrival().await;
    app.shutdown.cancel();
    while TcpStream::connect(app.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!app.server.is_finished(), "the server waits for what it accepted");
    worker.permits.add_permits(1);
    let answer = read_to_end(&mut accepted).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    app.server.await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_after_the_lines_that_were_read() {
    let worker = GatedWorker::new(plain_worker().await);
    let app = TestApp::start_on(settings(), worker.clone()).await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked";
    let lines = format!("{}{{\"half", line(&operation("a")));
    let mut stream = app.raw(format!("{head}\r\n\r\n{:x}\r\n{lines}\r\n", lines.len())).await;
    worker.arrival().await;
    app.shutdown.cancel();
    worker.permits.add_permits(1);
    let answer = read_to_end(&mut stream).await;
    assert_eq!(answer.matches("\"outcome\":\"stored\"").count(), 1, "{answer}");
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    app.server.await.unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_delay_a_stop() {
    let app = TestApp::start().await;
    let mut idle = app.raw("GET /livez HTTP/1.1\r\nhost: t\r\n\r\n").await;
    crate::support::read_until(&mut idle, "}").await;
    let silent = app.raw("").await;
    let start = tokio::time::Instant::now();
    app.shutdown.cancel();
    app.server.await.unwrap();
    assert!(start.elapsed() < settings().shutdown_grace, "{:?}", start.elapsed());
    drop((idle, silent));
}

#[tokio::test]
async fn what_outlives_the_grace_is_cut() {
    let worker = GatedWorker::new(plain_worker().await);
    let shutdown_grace = Duration::from_millis(100);
    let app = TestApp::start_on(HttpSettings { shutdown_grace, ..settings() }, worker.clone()).await;
    let body = transaction("t1").to_string();
    let head = "POST /v1/transactions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n";
    let mut stuck = app.raw(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
    worker.arrival().await;
    app.shutdown.cancel();
    app.server.await.unwrap();
    assert_eq!(read_to_end(&mut stuck).await, "");
}
