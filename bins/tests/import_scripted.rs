//! `import` against a scripted platform that does what a real one rarely does.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Makes the result of a line, or `None` to end the answer.
type Script = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How the platform ends an answer that its script cut short.
#[derive(Clone, Copy)]
enum Ending {
    Clean,
    Broken,
}

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

async fn answer(request: Request<Incoming>, script: Script, ending: Ending) -> Result<Answer, Infallible> {
    let (results, mut receiver) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(2);
    tokio::spawn(async move {
        let mut body = request.into_body();
        let mut pending = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            pending.extend_from_slice(&frame.into_data().unwrap_or_default());
            let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            let text = String::from_utf8(pending.drain(..whole).collect()).unwrap();
            let mut answers = String::new();
            let is_done = text.lines().any(|line| match script(line) {
                Some(result) => writeln!(answers, "{result}").is_err(),
                None => true,
            });
            let sent = results.send(Ok(Frame::data(answers.into()))).await;
            if is_done && matches!(ending, Ending::Broken) {
                // The results before the break have to get out first.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                results.send(Err(std::io::Error::other("killed"))).await.ok();
            }
            if is_done || sent.is_err() {
                return;
            }
        }
    });
    let body = poll_fn(move |context| receiver.poll_recv(context));
    Ok(Response::new(UnsyncBoxBody::new(StreamBody::new(body.boxed()))))
}

async fn serve<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Result<Answer, Infallible>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let connection = TokioIo::new(connection);
            let service = service_fn(answer.clone());
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(connection, service));
        }
    });
    address
}

async fn platform(
    script: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ending: Ending,
) -> SocketAddr {
    let script: Script = Arc::new(script);
    serve(move |request| answer(request, Arc::clone(&script), ending)).await
}

fn id(line: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    event.get("id").and_then(serde_json::Value::as_str).unwrap_or("made-up").to_owned()
}

fn result(id: &str, outcome: &str) -> String {
    format!(r#"{{"id":"{id}","outcome":"{outcome}"}}"#)
}

/// A folder with a file of so many events; the n-th, from 0, is `e<n>`.
fn events(count: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    let mut text = String::new();
    for number in 0..count {
        writeln!(text, r#"{{"id":"e{number}","type":"transaction","sender":"a","receiver":"b","amount":1}}"#)
            .unwrap();
    }
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

struct Import {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Import {
    async fn run(address: SocketAddr, file: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mini-platform"));
        command.arg("import").arg(file).args(["--url", &format!("http://{address}")]).args(more);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn count(&self, label: &str) -> u64 {
        let line = self.out.lines().find_map(|line| line.trim().strip_prefix(label));
        line.unwrap_or_else(|| panic!("{label} is not in {}", self.out)).trim().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_answered_over_several_requests_and_noted() {
    let (folder, file) = events(45_000);
    let address = platform(
        |line| {
            let id = id(line);
            let outcome = if id.ends_with("99") { "fraudulent" } else { "stored" };
            Some(result(&id, outcome))
        },
        Ending::Clean,
    )
    .await;
    let noted = folder.path().join("acknowledged");
    let import = Import::run(address, &file, &["--acknowledged", noted.to_str().unwrap()]).await;
    assert_eq!((import.code, import.err.as_str()), (Some(0), ""));
    assert_eq!((import.count("rows read"), import.count("events sent")), (45_000, 45_000));
    assert_eq!((import.count("stored"), import.count("fraudulent")), (44_550, 450));
    let noted = std::fs::read_to_string(noted).unwrap();
    assert_eq!(noted.lines().count(), 45_000);
    assert_eq!((noted.lines().next(), noted.lines().nth(99)), (Some("e0\tstored"), Some("e99\tfraudulent")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_attention_is_shown_with_its_line_and_makes_the_import_fail() {
    let (_folder, file) = events(10);
    let address = platform(
        |line| {
            Some(match id(line).as_str() {
                "e3" => r#"{"id":"e3","outcome":"rejected","error":{"code":"same_party","detail":"nobody pays themselves"}}"#.to_owned(),
                "e5" => result("e5", "unavailable"),
                other => result(other, "duplicate"),
            })
        },
        Ending::Clean,
    )
    .await;
    let import = Import::run(address, &file, &[]).await;
    assert_eq!(import.code, Some(1));
    assert_eq!((import.count("duplicate"), import.count("rejected"), import.count("unavailable")), (8, 1, 1));
    assert!(
        import.out.contains("events.ndjson:4: rejected: same_party: nobody pays themselves"),
        "{}",
        import.out
    );
    assert!(import.out.contains("events.ndjson:6: unavailable"), "{}", import.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_leaves_a_true_count() {
    let (folder, file) = events(30_000);
    let address = platform(
        |line| {
            let id = id(line);
            (id != "e1000").then(|| result(&id, "stored"))
        },
        Ending::Broken,
    )
    .await;
    let noted = folder.path().join("acknowledged");
    let import = Import::run(address, &file, &["--acknowledged", noted.to_str().unwrap()]).await;
    assert_eq!(import.code, Some(1));
    assert_eq!(import.count("stored"), 1000);
    let unanswered = import.count("unanswered");
    assert!((1..=29_000).contains(&unanswered), "{unanswered} events are in doubt");
    assert!(import.err.contains("1000 events were answered"), "{}", import.err);
    assert!(import.err.contains("Import again: what was stored is answered `duplicate`"), "{}", import.err);
    assert_eq!(std::fs::read_to_string(noted).unwrap().lines().count(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_for_other_events_too_few_or_too_many_stop_the_import() {
    let (_folder, file) = events(100);
    type Case = (&'static str, fn(&str) -> Option<String>);
    let cases: [Case; 3] = [
        ("another event", |line| Some(result(if id(line) == "e7" { "e8" } else { "x" }, "stored"))),
        ("100 events without a result", |_| Some(String::new())),
        ("more results than there are events", |line| {
            let result = result(&id(line), "stored");
            Some(if id(line) == "e99" { format!("{result}\n{result}") } else { result })
        }),
    ];
    for (expected, script) in cases {
        let import = Import::run(platform(script, Ending::Clean).await, &file, &[]).await;
        assert_eq!(import.code, Some(1), "{expected}");
        assert!(import.err.contains(expected), "{expected} is not in: {}", import.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_refuses_the_request_says_why() {
    let (_folder, file) = events(100);
    let address = serve(|_| async {
        let problem = r#"{"code":"no_workers","detail":"no worker is ready"}"#;
        let body = Full::new(Bytes::from(problem)).map_err(|never| match never {});
        let mut response = Response::new(UnsyncBoxBody::new(body));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok(response)
    })
    .await;
    let import = Import::run(address, &file, &[]).await;
    assert_eq!(import.code, Some(1));
    assert!(import.err.contains("no_workers (503): no worker is ready"), "{}", import.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_platform_nothing_counts_as_sent() {
    let (_folder, file) = events(100);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let import = Import::run(address, &file, &[]).await;
    assert_eq!((import.code, import.count("events sent")), (Some(1), 0));
    assert!(import.err.contains("is the platform running?"), "{}", import.err);
}
