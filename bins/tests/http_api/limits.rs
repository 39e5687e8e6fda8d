//! Clients that send too much, too slowly, or nonsense.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mini_platform_bins::http::HttpSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{
    Answer, GatedWorker, TestApp, operation, plain_worker, read_to_end, read_until, settings, transaction,
};

const HEAD: &str = "POST /v1/transactions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n";

fn assert_raw_problem(answer: &str, status: u16, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
}

#[tokio::test]
async fn a_declared_length_beyond_the_limit_is_refused_before_the_body() {
    let app = TestApp::start().await;
    let head = format!("{HEAD}expect: 100-continue\r\ncontent-length: 65537\r\n\r\n");
    let answer = app.raw_to_end(head).await;
    assert_raw_problem(&answer, 413, "body_too_large");
    assert!(!answer.contains("100 Continue"), "a body that is refused is not asked for");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_at_the_limit() {
    let app = TestApp::start().await;
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let answer =
        app.raw_to_end(format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}1\r\n \r\n")).await;
    assert_raw_problem(&answer, 413, "body_too_large");
}

#[tokio::test]
async fn a_client_that_pushes_ten_mebibytes_still_reads_why_not() {
    let app = TestApp::start().await;
    let (head, body) = (format!("{HEAD}content-length: {}\r\n\r\n", 10 << 20), vec![b' '; 10 << 20]);
    let stream = app.raw(head).await;
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move { writer.write_all(&body).await });
    let mut answer = String::new();
    reader.read_to_string(&mut answer).await.expect("the answer is not lost in a reset");
    assert_raw_problem(&answer, 413, "body_too_large");
    writing.await.unwrap().expect("what is sent is read past");
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken() {
    let app = TestApp::start().await;
    let mut body = transaction("t1").to_string();
    body += &" ".repeat((64 << 10) - body.len());
    assert_eq!(app.post("/v1/transactions", &body).await.status, 201);
    body.push(' ');
    app.post("/v1/transactions", &body).await.assert_problem(413, "body_too_large");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_byte_by_byte_runs_out_of_time() {
    let app = TestApp::start().await;
    let mut stream = app.raw(format!("{HEAD}content-length: 100\r\n\r\n")).await;
    let (start, mut answer) = (Instant::now(), Vec::new());
    while !answer.ends_with(b"}") {
        assert!(start.elapsed() < Duration::from_secs(60), "the body is still waited for");
        if tokio::time::timeout(Duration::from_secs(1), stream.read_buf(&mut answer)).await.is_err() {
            stream.write_all(b" ").await.unwrap();
        }
    }
    assert_raw_problem(&String::from_utf8(answer).unwrap(), 408, "request_timeout");
    assert!(start.elapsed() >= settings().body_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_holds_no_connection() {
    let app = TestApp::start().await;
    for start in
        ["", "P", "PRI * HT", "GET /livez HTTP/1.1\r\nhost: t\r\nx: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut stream = app.raw(start).await;
        let (begin, mut answer) = (Instant::now(), Vec::new());
        let read = tokio::time::timeout(Duration::from_secs(120), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{start:?} holds a connection");
        assert!(begin.elapsed() >= settings().header_timeout, "{start:?} had its time");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let app = TestApp::start_with(HttpSettings { max_connections: 1, ..settings() }).await;
    let mut first = app.raw("GET /livez HTTP/1.1\r\nhost: t\r\n\r\n").await;
    read_until(&mut first, "}").await;
    let mut second = app.raw("GET /livez HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await;
    let mut byte = [0];
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
        assert!(second.try_read(&mut byte).is_err(), "the second is served beside the first");
    }
    drop(first);
    assert!(read_to_end(&mut second).await.contains("200 OK"));
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_a_row() {
    let app = TestApp::start().await;
    let post = |id: &str| {
        let body = transaction(id).to_string();
        format!("{HEAD}content-length: {}\r\n\r\n{body}", body.len())
    };
    let last = "GET /livez HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
    let answer = app.raw_to_end([&post("a"), &post("b"), &post("a"), last].concat()).await;
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["201", "201", "200", "200"], "{answer}");
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered_and_let_go() {
    let app = TestApp::start().await;
    let body = operation("o1").to_string();
    let head = format!(
        "POST /v1/operations HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}",
        body.len()
    );
    let answer = app.raw_to_end(format!("{head}\r\n\r\n{body}")).await;
    assert!(answer.starts_with("HTTP/1.0 201 "), "{answer}");
    let typed = body.replace("{", "{\"type\":\"operation\",");
    let head = "POST /v1/events HTTP/1.0\r\ncontent-type: application/x-ndjson\r\ncontent-length: ";
    let answer = app.raw_to_end(format!("{head}{}\r\n\r\n{typed}", typed.len())).await;
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.contains("duplicate"), "{answer}");
    assert!(!answer.contains("chunked"), "HTTP/1.0 knows no chunks: {answer}");
}

#[tokio::test]
async fn a_client_may_wait_to_be_asked_for_the_body() {
    let app = TestApp::start().await;
    let body = transaction("t1").to_string();
    let head =
        format!("{HEAD}connection: close\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut stream = app.raw(head).await;
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100 Continue"));
    stream.write_all(body.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_its_answer() {
    let worker = GatedWorker::new(plain_worker().await);
    let app = TestApp::start_on(settings(), worker.clone()).await;
    let body = transaction("t1").to_string();
    let mut stream = app.raw(format!("{HEAD}content-length: {}\r\n\r\n{body}", body.len())).await;
    worker.arrival().await;
    stream.shutdown().await.unwrap();
    // Enough turns for the server to see it.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    worker.permits.add_permits(1);
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn nonsense_ends_a_connection_and_nothing_else() {
    let app = TestApp::start().await;
    let long_header = format!("GET /livez HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "x".repeat(200 << 10));
    let many_headers = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for nonsense in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET /livez HTTP/9.9\r\n\r\n",
        "GET /liv\u{0}ez HTTP/1.1\r\n\r\n",
        "POST /v1/events HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/events HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "POST /v1/events HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\nxx",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
        &long_header,
        &many_headers,
    ] {
        let mut stream = TcpStream::connect(app.addr).await.unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(nonsense.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{nonsense:.40}: {answer}");
    }
    assert_eq!(app.get("/livez").await.status, 200);
}

#[tokio::test]
async fn long_arrays_share_a_bounded_memory() {
    let limits = HttpSettings { max_buffered: 1 << 20, max_array: 1 << 20, ..settings() };
    let app = TestApp::start_with(limits).await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n";
    let blank = " ".repeat((1 << 20) - 1);
    let second = format!("[{}]", " ".repeat(900 << 10));
    let mut first = loop {
        let first = app.raw(format!("{head}content-length: {}\r\n\r\n{blank}", 1 << 20)).await;
        let answer = app.post("/v1/events", &second).await;
        if answer.status == 503 {
            answer.assert_problem(503, "overloaded");
            break first;
        }
        // The second overtook the first, which was refused.
        assert_eq!(answer.status, 200);
    };
    assert_eq!(app.post("/v1/events", "[]").await.status, 200, "short ones are always taken");
    first.write_all(b"]").await.unwrap();
    assert_raw_problem(&read_until(&mut first, "}").await, 400, "invalid_json");
    assert_eq!(app.post("/v1/events", &second).await.status, 200);
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let app = TestApp::start().await;
    let stream = TcpStream::connect(app.addr).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (method, status) in [(Method::POST, 201), (Method::POST, 200), (Method::GET, 405)] {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}/v1/transactions", app.addr))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(transaction("t1").to_string())))
            .unwrap();
        assert_eq!(Answer::of(sender.send_request(request).await.unwrap()).await.status, status);
    }
    let head = Request::head(format!("http://{}/livez", app.addr)).body(Full::default()).unwrap();
    let answer = Answer::of(sender.send_request(head).await.unwrap()).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, "13", 0));
}
