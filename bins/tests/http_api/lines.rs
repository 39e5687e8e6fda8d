//! Streams of lines (NDJSON).

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    GatedWorker, TestApp, line, operation, outcomes, plain_worker, read_to_end, read_until, settings,
    transaction,
};

const HEAD: &str = "POST /v1/events HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\n\
    connection: close\r\ntransfer-encoding: chunked\r\n\r\n";

/// Writes text as one chunk of a body.
async fn send_chunk(stream: &mut TcpStream, text: &str) {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.unwrap();
}

/// Returns the results in an answer of which the head was read or not.
fn results(answer: &str) -> Vec<Value> {
    answer
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ids(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["id"].as_str().unwrap_or("-")).collect()
}

#[tokio::test]
async fn line_n_of_the_answer_is_the_result_of_line_n() {
    let app = TestApp::start().await;
    let mut fraudulent = transaction("t3");
    fraudulent["receiver"] = "Mallory".into();
    let mut conflicting = transaction("t1");
    conflicting["amount"] = 7.into();
    let body = [
        line(&transaction("t1")),
        "{broken\n".to_owned(),
        line(&operation("o1")),
        line(&transaction("t1")),
        "\n".to_owned(),
        line(&fraudulent),
        line(&conflicting),
        transaction("typeless").to_string() + "\r\n",
        "[1]\n".to_owned(),
        line(&operation("o2")).trim_end().to_owned(),
    ]
    .concat();
    let results = app.post_lines("/v1/events", &body).await;
    assert_eq!(ids(&results), ["t1", "-", "o1", "t1", "-", "t3", "t1", "typeless", "-", "o2"]);
    assert_eq!(
        outcomes(&results),
        [
            "stored",
            "rejected",
            "stored",
            "duplicate",
            "rejected",
            "fraudulent",
            "conflict",
            "rejected",
            "rejected",
            "stored"
        ]
    );
    assert_eq!(results[1]["error"]["code"], "invalid_json");
    assert_eq!(results[4]["error"]["code"], "invalid_json");
    assert_eq!(
        results[7]["error"],
        json!({"code": "missing_field", "pointer": "/type",
        "detail": "`type` is missing; say \"transaction\" or \"operation\"."})
    );
    assert_eq!(results[5]["screening"]["party"], "receiver");
}

#[tokio::test]
async fn an_id_that_repeats_far_apart_still_comes_second() {
    let app = TestApp::start().await;
    let mut body = String::new();
    for n in 0..1_200 {
        body += &line(&operation(&format!("o{}", n % 600)));
    }
    let results = app.post_lines("/v1/events", &body).await;
    let (first, second) = results.split_at(600);
    assert!(first.iter().all(|result| result["outcome"] == "stored"));
    assert!(second.iter().all(|result| result["outcome"] == "duplicate"));
}

#[tokio::test]
async fn an_empty_stream_has_no_results() {
    let app = TestApp::start().await;
    assert!(app.post_lines("/v1/events", "").await.is_empty());
}

#[tokio::test]
async fn a_stream_may_start_with_a_byte_order_mark_and_use_crlf() {
    let app = TestApp::start().await;
    let body = format!("\u{feff}{}{}", line(&operation("a")), line(&operation("b"))).replace('\n', "\r\n");
    assert_eq!(outcomes(&app.post_lines("/v1/events", &body).await), ["stored", "stored"]);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_taken() {
    let app = TestApp::start().await;
    let limit = settings().max_line;
    let padded = |id: &str, length: usize| {
        let mut text = line(&operation(id)).trim_end().to_owned();
        text += &" ".repeat(length - text.len());
        text
    };
    let longest = padded("longest", limit);
    let body = [
        "x".repeat(10 * limit),
        line(&operation("after")).trim_end().to_owned(),
        longest.clone() + "\r",
        longest + " ",
        "y".repeat(limit + 1),
    ];
    let results = app.post_lines("/v1/events", &body.join("\n")).await;
    assert_eq!(outcomes(&results), ["rejected", "stored", "stored", "rejected", "rejected"]);
    for index in [0, 3, 4] {
        assert_eq!(results[index]["error"]["code"], "body_too_large");
    }
}

#[tokio::test]
async fn an_aborting_stream_skips_what_follows_the_first_rejected_line() {
    let app = TestApp::start().await;
    let lines =
        [line(&operation("a")), "oops\n".to_owned(), line(&operation("b")), "\n".to_owned(), "{".to_owned()];
    let results = app.post_lines("/v1/events?on_error=abort", &lines.concat()).await;
    assert_eq!(outcomes(&results), ["stored", "rejected", "skipped", "skipped", "skipped"]);
    app.get("/v1/events/b").await.assert_problem(404, "not_found");
    let results = app.post_lines("/v1/events?on_error=continue", &lines.concat()).await;
    assert_eq!(outcomes(&results), ["duplicate", "rejected", "stored", "rejected", "rejected"]);
}

#[tokio::test]
async fn wrong_parameters_and_headers_of_a_stream_are_named() {
    let app = TestApp::start().await;
    let ndjson = ("content-type", "application/x-ndjson");
    let post = async |path, headers: &[(&str, &str)]| app.request(Method::POST, path, headers, "").await;
    post("/v1/events?on_error=panic", &[ndjson]).await.assert_problem(400, "invalid_parameter");
    post("/v1/events?on_err=abort", &[ndjson]).await.assert_problem(400, "invalid_parameter");
    post("/v1/events", &[ndjson, ("idempotency-key", "k")]).await.assert_problem(400, "invalid_parameter");
    post("/v1/events", &[ndjson, ("content-encoding", "zstd")])
        .await
        .assert_problem(415, "unsupported_media_type");
    post("/v1/events", &[("content-type", "text/csv")]).await.assert_problem(415, "unsupported_media_type");
    post("/v1/events", &[]).await.assert_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_pause_of_the_client_delays_no_result() {
    let app = TestApp::start().await;
    let mut stream = app.raw(HEAD).await;
    read_until(&mut stream, "\r\n\r\n").await;
    for id in ["a", "b", "c"] {
        let line = line(&operation(id));
        // The line arrives in two pieces; its result comes before anything else is sent.
        let (start, end) = line.split_at(20);
        send_chunk(&mut stream, start).await;
        send_chunk(&mut stream, end).await;
        let answer = read_until(&mut stream, "\n\r\n").await;
        assert_eq!(ids(&results(&answer)), [id], "{answer:?}");
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut stream).await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_stream_whose_next_line_does_not_come_ends() {
    let app = TestApp::start().await;
    let mut stream = app.raw(HEAD).await;
    send_chunk(&mut stream, &line(&operation("a"))).await;
    read_until(&mut stream, "}\n\r\n").await;
    send_chunk(&mut stream, "{\"half a").await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert_eq!(read_to_end(&mut stream).await, "0\r\n\r\n", "an incomplete line has no result");
    assert!(start.elapsed() < settings().body_timeout + Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn one_byte_a_second_does_not_hold_a_stream() {
    let app = TestApp::start().await;
    let mut stream = app.raw(HEAD).await;
    read_until(&mut stream, "\r\n\r\n").await;
    let mut sent = 0;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let mut answer = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(1), stream.read_buf(&mut answer)).await {
            Ok(read) => {
                if read.unwrap() == 0 {
                    break;
                }
            }
            Err(_) => {
                let _ = stream.write_all(b"1\r\n \r\n").await;
                sent += 1;
            }
        }
        assert!(sent < 100, "the stream is still open after {sent} s");
    }
    assert!(start.elapsed() < settings().body_timeout + Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_complete_lines_of_a_stream_that_breaks_off_are_taken_in() {
    let worker = GatedWorker::new(plain_worker().await);
    let app = TestApp::start_on(settings(), worker.clone()).await;
    let mut stream = app.raw(HEAD).await;
    send_chunk(&mut stream, &format!("{}{{\"half", line(&operation("a")))).await;
    worker.arrival().await;
    // No chunk has this length.
    stream.write_all(b"zzz\r\n").await.unwrap();
    worker.permits.add_permits(1);
    let answer = read_to_end(&mut stream).await;
    assert!(results(&answer).len() <= 1, "{answer}");
    app.shutdown.cancel();
    app.server.await.unwrap();
    assert_eq!(app.dispatcher.view().members()[0].finished(), 1);
}

#[tokio::test]
async fn a_batch_that_cannot_be_finished_promises_nothing() {
    let app = TestApp::start_without_list(settings()).await;
    let body = [line(&operation("a")), "nonsense\n".to_owned(), line(&operation("b"))].concat();
    let results = app.post_lines("/v1/events", &body).await;
    assert_eq!(outcomes(&results), ["unavailable", "rejected", "unavailable"]);
    assert_eq!(ids(&results), ["a", "-", "b"]);
    assert_eq!(results[0]["error"]["code"], "no_fraud_list");
    assert!(results[0].get("screening").is_none());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from() {
    let app = TestApp::start_on(settings(), plain_worker().await).await;
    let mut stream = app.raw(HEAD).await;
    let (mut reader, mut writer) = stream.split();
    let lines: String = (0..200).map(|n| line(&operation(&format!("o{n}")))).collect();
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    let (mut written, mut chunks) = (0, 0);
    // A server that is merely slow would make this stop early, which proves less and breaks nothing.
    while tokio::time::timeout(Duration::from_millis(500), writer.writable()).await.is_ok() {
        match writer.try_write(&chunk.as_bytes()[written % chunk.len()..]) {
            Ok(bytes) => written += bytes,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        assert!(written < 64 << 20, "the server reads on although nobody reads its answer");
    }
    chunks += written / chunk.len();
    let mut answer = Vec::new();
    let finish = async {
        writer.write_all(&chunk.as_bytes()[written % chunk.len()..]).await.unwrap();
        writer.write_all(b"0\r\n\r\n").await.unwrap();
    };
    let (_, read) = tokio::join!(finish, reader.read_to_end(&mut answer));
    read.unwrap();
    let results = String::from_utf8(answer).unwrap().matches("\"outcome\":\"").count();
    assert_eq!(results, (chunks + 1) * 200, "once it reads, it gets all of its results");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut_off() {
    let app = TestApp::start_on(settings(), plain_worker().await).await;
    let mut stream = app.raw(HEAD).await;
    let lines: String = (0..200).map(|n| line(&operation(&format!("o{n}")))).collect();
    let start = tokio::time::Instant::now();
    let flood = async {
        loop {
            let sent = stream.write_all(format!("{:x}\r\n{lines}\r\n", lines.len()).as_bytes()).await;
            if sent.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), flood).await.expect("the connection is closed");
    assert!(start.elapsed() >= settings().write_timeout);
}

#[tokio::test]
async fn a_hundred_thousand_lines_have_as_many_results() {
    let app = TestApp::start().await;
    let stream = app.raw(HEAD).await;
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        for block in 0..200 {
            let lines: String =
                (0..500).map(|n| line(&operation(&format!("o{}", block * 500 + n)))).collect();
            writer.write_all(format!("{:x}\r\n{lines}\r\n", lines.len()).as_bytes()).await.unwrap();
        }
        writer.write_all(b"0\r\n\r\n").await.unwrap();
        writer
    });
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).await.unwrap();
    sending.await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let mut count = 0;
    for (n, (start, _)) in answer.match_indices("{\"id\":\"").enumerate() {
        let id = &answer[start + 7..answer[start + 7..].find('"').unwrap() + start + 7];
        // A result may be cut by the frame of a chunk, which is part of the raw answer.
        if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            assert_eq!(id, format!("o{n}"));
        }
        count = n + 1;
    }
    assert_eq!(count, 100_000);
}

#[tokio::test]
async fn no_more_than_a_few_batches_are_under_way() {
    let worker = GatedWorker::new(plain_worker().await);
    let app = TestApp::start_on(settings(), worker.clone()).await;
    let body: String = (0..10_000).map(|n| line(&operation(&format!("o{n}")))).collect();
    let posting = tokio::spawn(async move { (app.post_lines("/v1/events", &body).await, app) });
    for _ in 0..4 {
        worker.arrival().await;
    }
    // The fifth would have arrived by now if it could: the ones before it do not move.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(worker.arrivals.available_permits(), 0);
    assert!(worker.arrived.load(Ordering::SeqCst) <= 4 * 512);
    worker.permits.add_permits(10_000);
    let (results, _app) = posting.await.unwrap();
    assert_eq!(results.len(), 10_000);
    assert!(results.iter().enumerate().all(|(n, result)| result["id"] == format!("o{n}")));
}

#[tokio::test]
async fn the_time_that_batches_take_is_not_held_against_the_client() {
    let worker = GatedWorker::new(plain_worker().await);
    let app = TestApp::start_on(settings(), worker.clone()).await;
    let mut stream = app.raw(HEAD).await;
    // As many batches as there may be under way: the server reads no further.
    for id in ["a", "b", "c", "d"] {
        send_chunk(&mut stream, &line(&operation(id))).await;
        worker.arrival().await;
    }
    tokio::time::pause();
    tokio::time::advance(2 * settings().body_timeout).await;
    tokio::time::resume();
    worker.permits.add_permits(5);
    read_until(&mut stream, "}\n\r\n").await;
    send_chunk(&mut stream, &line(&operation("e"))).await;
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert_eq!(ids(&results(&answer)).last(), Some(&"e"), "{answer}");
}

#[tokio::test]
async fn an_id_that_is_under_way_waits_for_its_first_event() {
    let worker = GatedWorker::new(plain_worker().await);
    let app = TestApp::start_on(settings(), worker.clone()).await;
    let body: String = (0..700).map(|n| line(&operation(&format!("o{}", n % 600)))).collect();
    let posting = tokio::spawn(async move { (app.post_lines("/v1/events", &body).await, app) });
    worker.arrival().await;
    worker.arrival().await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(worker.arrived.load(Ordering::SeqCst), 600, "no repeated id overtakes its first event");
    worker.permits.add_permits(10_000);
    let (results, _app) = posting.await.unwrap();
    assert_eq!(results.iter().filter(|result| result["outcome"] == "duplicate").count(), 100);
}
