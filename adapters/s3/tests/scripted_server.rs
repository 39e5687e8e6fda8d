//! What real servers rarely do: each case says what its server answers, request by request.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use mini_platform_core::domain::ListVersion;
use mini_platform_core::error::{FaultKind, Retry, SourceError};
use mini_platform_core::feeder::{Feeder, ListSource, Refusal};
use mini_platform_core::memory::MemoryFraudRegistry;
use mini_platform_core::port::{Fetched, FraudSource, RawList};
use mini_platform_s3::{S3Client, S3Config, S3Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const ID: &str = "AKIAEXAMPLE";
const SECRET: &str = "geheim";

/// Long enough for a busy machine; the silent cases take as long.
const TIMEOUT: Duration = Duration::from_secs(2);

const CONTENT: &[u8] = b"0123456789";
const ETAG: &str = "ETag: \"781e5e245d69b566979b86e28d23f2c7\"";
const DATE: &str = "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT";

/// The head of an answer with the whole content.
fn whole(more: &[&str]) -> Answer {
    let length = format!("Content-Length: {}", CONTENT.len());
    Answer::head("200 OK", &[&[ETAG, DATE, length.as_str()], more].concat())
}

/// The head of an answer with the content from an offset.
fn part(from: usize, more: &[&str]) -> Answer {
    let length = format!("Content-Length: {}", CONTENT.len() - from);
    let range = format!("Content-Range: bytes {from}-{}/{}", CONTENT.len() - 1, CONTENT.len());
    Answer::head("206 Partial Content", &[&[ETAG, DATE, length.as_str(), range.as_str()], more].concat())
}

/// What a server sends, and what it does then.
#[derive(Clone)]
struct Answer {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Says nothing more, until the client closes.
    Silence,
    /// Sends more and more, until the client closes.
    Endless,
}

impl Answer {
    fn head(status: &str, headers: &[&str]) -> Self {
        let headers = headers.join("\r\n");
        let bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n\r\n").into_bytes();
        Self { bytes, then: Then::Close }
    }

    fn error(status: &str, more: &[&str], code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message>\
             <AWSAccessKeyId>{ID}</AWSAccessKeyId><StringToSign>{SECRET}</StringToSign></Error>"
        );
        let length = format!("Content-Length: {}", body.len());
        Self::head(status, &[&[length.as_str()], more].concat()).body(body.as_bytes())
    }

    fn silence() -> Self {
        Self { bytes: Vec::new(), then: Then::Silence }
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.bytes.extend_from_slice(body);
        self
    }

    fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    async fn send(self, socket: &mut TcpStream) {
        if socket.write_all(&self.bytes).await.is_err() {
            return;
        }
        match self.then {
            Then::Close => {}
            Then::Silence => while socket.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {},
            Then::Endless => while socket.write_all(&[b'x'; 1 << 16]).await.is_ok() {},
        }
        let _ = socket.shutdown().await;
    }
}

/// A server that answers each request with the next answer, and the last one again and again.
struct Scripted {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut next = 0;
            while let Ok((mut socket, _)) = listener.accept().await {
                let Some(request) = read_head(&mut socket).await else { continue };
                seen.lock().unwrap().push(request);
                let answer: &Answer = answers.get(next).or(answers.last()).expect("an answer");
                answer.clone().send(&mut socket).await;
                next += 1;
            }
        });
        Self { endpoint, requests, task }
    }

    /// Returns the requests so far, in lower case.
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    async fn source(&self) -> S3Source {
        source(&self.endpoint).await
    }

    async fn fetch(&self, since: Option<&ListVersion>) -> Result<Fetched, SourceError> {
        self.source().await.fetch_if_changed(since.cloned()).await
    }

    async fn list(&self) -> RawList {
        match self.fetch(None).await.unwrap() {
            Fetched::Changed(list) => list,
            other => panic!("{other:?}"),
        }
    }

    async fn read(&self) -> Result<Vec<u8>, SourceError> {
        read(self.list().await).await
    }

    async fn error(&self) -> SourceError {
        self.fetch(None).await.expect_err("the server does not answer the object")
    }
}

async fn source(endpoint: &str) -> S3Source {
    let config = S3Config::new("us-east-1")
        .with_endpoint(endpoint)
        .with_credentials(ID, SECRET)
        .with_path_style(true)
        .with_timeout(TIMEOUT);
    S3Source::new(&S3Client::connect(&config).await.unwrap(), "s3://bucket/key".parse().unwrap())
}

async fn read_head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap().to_lowercase())
}

async fn read(list: RawList) -> Result<Vec<u8>, SourceError> {
    let pieces: Vec<_> = list.bytes.try_collect().await?;
    Ok(pieces.concat())
}

fn kind(error: &SourceError) -> FaultKind {
    match error {
        SourceError::Fault(fault) => fault.kind(),
        other => panic!("{other:?}"),
    }
}

/// Returns the messages of an error and of its causes.
fn told(error: &dyn Error) -> String {
    let cause = error.source().map(told).unwrap_or_default();
    format!("{error}; {cause}")
}

#[tokio::test]
async fn after_a_cut_connection_only_the_rest_is_asked_for() {
    let server =
        Scripted::start(vec![whole(&[]).body(&CONTENT[..4]), part(4, &[]).body(&CONTENT[4..])]).await;
    assert_eq!(server.read().await.unwrap(), CONTENT);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[0].contains("\r\nx-amz-checksum-mode: enabled\r\n") && !requests[0].contains("range:"));
    assert!(requests[1].contains("\r\nrange: bytes=4-\r\n"), "{}", requests[1]);
    assert!(
        requests[1].contains("\r\nif-match: \"781e5e245d69b566979b86e28d23f2c7\"\r\n"),
        "{}",
        requests[1]
    );
    assert!(!requests[1].contains("if-none-match"));
}

#[tokio::test]
async fn a_connection_may_be_cut_again_and_the_version_stays() {
    let version = ["x-amz-version-id: V.1"];
    let server = Scripted::start(vec![
        whole(&version).body(&CONTENT[..4]),
        part(4, &version).body(&CONTENT[4..7]),
        part(7, &version).body(&CONTENT[7..]),
    ])
    .await;
    let list = server.list().await;
    assert_eq!(list.version.etag().as_str(), "781e5e245d69b566979b86e28d23f2c7@V.1");
    assert_eq!(read(list).await.unwrap(), CONTENT);
    let requests = server.requests();
    assert!(!requests[0].contains("versionid"), "the newest version is wanted");
    for resumed in &requests[1..] {
        assert!(resumed.starts_with("get /bucket/key?") && resumed.contains("versionid=v.1"), "{resumed}");
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_asked_for_the_rest() {
    let server = Scripted::start(vec![
        whole(&[]).body(&CONTENT[..4]).then(Then::Silence),
        part(4, &[]).body(&CONTENT[4..]),
    ])
    .await;
    assert_eq!(server.read().await.unwrap(), CONTENT);
}

#[tokio::test]
async fn without_progress_there_is_no_further_request() {
    let server = Scripted::start(vec![whole(&[]).body(&CONTENT[..4]), part(4, &[])]).await;
    let error = server.read().await.unwrap_err();
    assert_eq!(kind(&error), FaultKind::Unavailable);
    assert!(told(&error).contains("the connection broke after 4 of 10 bytes"), "{}", told(&error));
    assert_eq!(server.requests().len(), 2);
    let silent = Scripted::start(vec![whole(&[]).then(Then::Silence)]).await;
    let error = silent.read().await.unwrap_err();
    assert_eq!(kind(&error), FaultKind::Timeout);
    assert!(told(&error).contains("fell silent after 0 of 10 bytes"), "{}", told(&error));
    assert_eq!(silent.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_cuts_every_connection_is_given_up() {
    let length = 1000;
    let answers = (0..length).map(|from| {
        let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
        let announced = format!("Content-Length: {}", length - from);
        let range = format!("Content-Range: bytes {from}-{}/{length}", length - 1);
        Answer::head(status, &["ETag: \"a\"", DATE, &announced, &range]).body(b"x")
    });
    let server = Scripted::start(answers.collect()).await;
    let error = server.read().await.unwrap_err();
    assert_eq!(kind(&error), FaultKind::Unavailable);
    assert_eq!(server.requests().len(), 17, "the first request, and sixteen for the rest");
}

#[tokio::test]
async fn content_that_changed_between_two_requests_is_no_mix() {
    let other = "ETag: \"other\"";
    let range = "Content-Range: bytes 4-9/10";
    for (second, case) in [
        (Answer::error("412 Precondition Failed", &[], "PreconditionFailed"), "the condition fails"),
        (Answer::error("416 Range Not Satisfiable", &[], "InvalidRange"), "it is shorter now"),
        (
            Answer::head("206 Partial Content", &[other, DATE, "Content-Length: 6", range]).body(b"abcdef"),
            "the server ignores the condition",
        ),
    ] {
        let server = Scripted::start(vec![whole(&[]).body(&CONTENT[..4]), second]).await;
        let error = server.read().await.unwrap_err();
        assert!(matches!(error, SourceError::ChangedWhileReading { .. }), "{case}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_continue_is_refused() {
    for second in [whole(&[]).body(CONTENT), part(5, &[]).body(&CONTENT[5..])] {
        let server = Scripted::start(vec![whole(&[]).body(&CONTENT[..4]), second]).await;
        let error = server.read().await.unwrap_err();
        assert_eq!(kind(&error), FaultKind::Corrupt);
        assert!(told(&error).contains("did not continue"), "{}", told(&error));
    }
}

#[tokio::test]
async fn what_cannot_be_pinned_is_not_resumed() {
    let weak = ["ETag: W/\"a\"", DATE, "Content-Length: 10"];
    let server = Scripted::start(vec![Answer::head("200 OK", &weak).body(b"0123")]).await;
    assert_eq!(kind(&server.read().await.unwrap_err()), FaultKind::Unavailable);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn damaged_content_is_noticed_at_its_end() {
    let crc = ["x-amz-checksum-crc32: AAAAAA=="];
    let in_parts = vec![whole(&[]).body(b"0123"), part(4, &[]).body(b"45678X")];
    for (answers, name) in [
        (vec![whole(&[]).body(b"012345678X")], "MD5"),
        (vec![whole(&crc).body(CONTENT)], "CRC-32"),
        (in_parts, "MD5"),
    ] {
        let server = Scripted::start(answers).await;
        let error = server.read().await.unwrap_err();
        assert_eq!(kind(&error), FaultKind::Corrupt);
        assert!(told(&error).contains(&format!("does not match its {name}")), "{}", told(&error));
    }
}

#[tokio::test]
async fn a_checksum_holds_over_a_cut_connection() {
    let crc = ["x-amz-checksum-crc32: poTHxg=="];
    let server =
        Scripted::start(vec![whole(&crc).body(&CONTENT[..4]), part(4, &[]).body(&CONTENT[4..])]).await;
    assert_eq!(server.read().await.unwrap(), CONTENT);
}

#[tokio::test]
async fn nothing_beyond_the_announced_length_is_read() {
    let server = Scripted::start(vec![whole(&[]).body(CONTENT).then(Then::Endless)]).await;
    assert_eq!(server.read().await.unwrap(), CONTENT);
}

#[tokio::test]
async fn a_rest_that_is_longer_than_announced_is_refused() {
    let longer =
        Answer::head("206 Partial Content", &[ETAG, "Content-Length: 7", "Content-Range: bytes 4-9/10"]);
    let server = Scripted::start(vec![whole(&[]).body(&CONTENT[..4]), longer.body(b"456789X")]).await;
    let error = server.read().await.unwrap_err();
    assert!(told(&error).contains("more than the 10 bytes"), "{}", told(&error));
}

#[tokio::test]
async fn of_a_too_large_object_nothing_is_read() {
    let length = format!("Content-Length: {}", 2_u64 << 30);
    let head = Answer::head("200 OK", &[ETAG, DATE, &length]);
    let server = Scripted::start(vec![head.then(Then::Endless), whole(&[]).body(CONTENT)]).await;
    let source = Arc::new(server.source().await);
    let registry = Arc::new(MemoryFraudRegistry::default());
    let mut feeder = Feeder::new(registry, ListSource::new(source.clone()));
    let refused = feeder.refresh().await.unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::TooLarge), "{refused:?}");
    // The server is at its second request only when the first connection is closed.
    let Ok(Fetched::Changed(list)) = source.fetch_if_changed(None).await else { panic!("it is there") };
    assert_eq!(read(list).await.unwrap(), CONTENT);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_timeout() {
    let server = Scripted::start(vec![Answer::silence()]).await;
    let error = server.error().await;
    assert_eq!(kind(&error), FaultKind::Timeout, "{}", told(&error));
    assert_eq!(server.requests().len(), 1, "the driver does not ask again");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let server = Scripted::start(vec![whole(&[])]).await;
    let endpoint = server.endpoint.clone();
    drop(server);
    tokio::task::yield_now().await;
    let error = source(&endpoint).await.fetch_if_changed(None).await.unwrap_err();
    assert_eq!(kind(&error), FaultKind::Unavailable, "{}", told(&error));
    assert!(told(&error).contains("check the endpoint and the network"), "{}", told(&error));
    let unknown = source("http://mini-platform.invalid").await.fetch_if_changed(None).await.unwrap_err();
    assert!(matches!(kind(&unknown), FaultKind::Unavailable | FaultKind::Timeout), "{}", told(&unknown));
}

#[tokio::test]
async fn a_server_that_closes_or_talks_something_else_is_unavailable() {
    for bytes in ["", "220 mail.example ESMTP\r\n"] {
        let answer = Answer { bytes: bytes.as_bytes().to_vec(), then: Then::Close };
        let server = Scripted::start(vec![answer]).await;
        let error = server.error().await;
        assert_eq!(kind(&error), FaultKind::Unavailable, "{bytes}: {}", told(&error));
    }
}

#[tokio::test]
async fn a_throttling_server_is_obeyed() {
    let slow = Answer::error("503 Slow Down", &["Retry-After: 7"], "SlowDown");
    let server = Scripted::start(vec![slow]).await;
    let error = server.error().await;
    assert_eq!(kind(&error), FaultKind::Throttled);
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(7)));
    assert_eq!(server.requests().len(), 1, "the driver does not ask again");
}

#[tokio::test]
async fn an_unchanged_object_is_asked_for_by_its_etag_alone() {
    let server =
        Scripted::start(vec![whole(&[]).body(CONTENT), Answer::head("304 Not Modified", &[ETAG])]).await;
    let list = server.list().await;
    assert_eq!(list.version.to_string(), "2023-11-14T22:13:20Z_781e5e245d69b566979b86e28d23f2c7");
    let again = server.fetch(Some(&list.version)).await.unwrap();
    assert!(matches!(again, Fetched::NotModified));
    let condition = "\r\nif-none-match: \"781e5e245d69b566979b86e28d23f2c7\"\r\n";
    assert!(server.requests()[1].contains(condition), "{}", server.requests()[1]);
}

#[tokio::test]
async fn not_modified_is_no_answer_to_who_asked_for_the_content() {
    let server = Scripted::start(vec![Answer::head("304 Not Modified", &[ETAG])]).await;
    assert_eq!(kind(&server.error().await), FaultKind::Internal);
}

#[tokio::test]
async fn a_server_without_conditions_repeats_itself_in_vain() {
    let server = Scripted::start(vec![whole(&["x-amz-version-id: v2"]).body(CONTENT)]).await;
    let known = "2023-11-14T22:13:20Z_781e5e245d69b566979b86e28d23f2c7@v1".parse().unwrap();
    let again = server.fetch(Some(&known)).await.unwrap();
    assert!(matches!(again, Fetched::NotModified), "it was uploaded again, with the same content");
}

#[tokio::test]
async fn a_bucket_elsewhere_names_its_region() {
    let moved = ["x-amz-bucket-region: eu-west-1"];
    for (status, code) in [
        ("301 Moved Permanently", "PermanentRedirect"),
        ("307 Temporary Redirect", "TemporaryRedirect"),
        ("400 Bad Request", "AuthorizationHeaderMalformed"),
    ] {
        let server = Scripted::start(vec![Answer::error(status, &moved, code)]).await;
        let error = server.error().await;
        assert!(
            told(&error).contains("not in the configured region (it is in eu-west-1)"),
            "{}",
            told(&error)
        );
    }
}

#[tokio::test]
async fn what_the_server_wrote_of_the_request_is_not_repeated() {
    for code in ["SignatureDoesNotMatch", "InvalidAccessKeyId", "Strange"] {
        let server = Scripted::start(vec![Answer::error("403 Forbidden", &[], code)]).await;
        let error = server.error().await;
        assert_eq!(kind(&error), FaultKind::Denied);
        let shown = format!("{} {error:?}", told(&error));
        assert!(!shown.contains(ID) && !shown.contains(SECRET), "{shown}");
    }
}

#[tokio::test]
async fn a_missing_header_is_named() {
    let length = "Content-Length: 10";
    for (headers, missing) in [
        (&[DATE, length][..], "ETag"),
        (&["ETag: \"\"", DATE, length], "ETag"),
        (&[ETAG, length], "Last-Modified"),
        (&[ETAG, DATE], "Content-Length"),
    ] {
        let server = Scripted::start(vec![Answer::head("200 OK", headers).body(CONTENT)]).await;
        let error = server.error().await;
        assert_eq!(kind(&error), FaultKind::Corrupt);
        assert!(told(&error).contains(&format!("has no {missing} header")), "{}", told(&error));
    }
    let garbled = ["ETag: \"a\"", "Last-Modified: yesterday", length];
    let server = Scripted::start(vec![Answer::head("200 OK", &garbled).body(CONTENT)]).await;
    assert_eq!(kind(&server.error().await), FaultKind::Corrupt);
}

#[tokio::test]
async fn an_endless_error_page_ends() {
    for status in ["500 Internal Server Error", "403 Forbidden", "404 Not Found"] {
        let page = Answer::head(status, &["Content-Type: application/xml"]).then(Then::Endless);
        let server = Scripted::start(vec![page]).await;
        let error = server.error().await;
        let expected = match &error {
            SourceError::NotFound { .. } => status.starts_with("404"),
            other => matches!(kind(other), FaultKind::Unavailable | FaultKind::Denied),
        };
        assert!(expected, "{status}: {}", told(&error));
    }
}

#[tokio::test]
async fn packed_content_comes_as_it_is_stored() {
    let packed = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let headers = ["ETag: \"a\"", DATE, "Content-Length: 10", "Content-Encoding: gzip"];
    let server = Scripted::start(vec![Answer::head("200 OK", &headers).body(&packed)]).await;
    assert_eq!(server.read().await.unwrap(), packed);
}
