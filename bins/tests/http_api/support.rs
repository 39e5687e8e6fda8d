//! A server on a free port, clients to talk to it, and workers that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use mini_platform_bins::http::{Api, HttpServer, HttpSettings};
use mini_platform_bins::telemetry::Metrics;
use mini_platform_core::dispatcher::{DispatcherBuilder, DispatcherConfig, RoundRobin};
use mini_platform_core::domain::{
    Etag, EventBatch, IngestOutcome, ListEntry, ListVersion, MatchMode, Timestamp, WorkerId,
};
use mini_platform_core::error::{FetchError, IngestError};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{Clock, FetchAnswer, FetchQuery, FraudList, FraudRegistry, WorkerNode};
use mini_platform_core::{Dispatcher, Worker};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const LIST_VERSION: &str = "2026-01-31T08:00:00Z_v1";

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn set(&self, time: &str) {
        self.0.store(time.parse::<Timestamp>().unwrap().as_micros(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A running server with what is behind it.
pub(crate) struct TestApp {
    pub(crate) addr: SocketAddr,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) registry: Arc<MemoryFraudRegistry>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) draining: CancellationToken,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: JoinHandle<()>,
}

pub(crate) fn settings() -> HttpSettings {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    HttpSettings { listen, ..HttpSettings::new("CZK".parse().unwrap()) }
}

impl TestApp {
    /// Starts on memory stores, with `Eve Evil` and `Mallory` on the fraud list.
    pub(crate) async fn start() -> Self {
        Self::start_with(settings()).await
    }

    pub(crate) async fn start_with(settings: HttpSettings) -> Self {
        let app = Self::start_without_list(settings).await;
        app.publish("v1", &["Eve Evil", "Mallory"]).await;
        app
    }

    pub(crate) async fn start_without_list(settings: HttpSettings) -> Self {
        let app = Self::start_without_worker(settings).await;
        app.dispatcher.add_member(WorkerId::LOCAL, Arc::new(app.worker()));
        app
    }

    /// Makes a worker on memory stores with the registry of this server.
    pub(crate) fn worker(&self) -> Worker {
        let worker = Worker::new(
            Arc::new(MemoryEventStore::default()),
            Arc::new(MemoryAdjacencyStore::default()),
            Arc::clone(&self.registry) as Arc<dyn FraudRegistry>,
        );
        worker.with_clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    pub(crate) async fn start_on(settings: HttpSettings, worker: Arc<dyn WorkerNode>) -> Self {
        let app = Self::start_without_worker(settings).await;
        app.dispatcher.add_member(WorkerId::LOCAL, worker);
        app
    }

    pub(crate) async fn start_without_worker(settings: HttpSettings) -> Self {
        Self::start_with_metrics(settings, Metrics::default()).await
    }

    pub(crate) async fn start_with_metrics(settings: HttpSettings, metrics: Metrics) -> Self {
        Self::start_built(settings, metrics, |builder, _| builder).await
    }

    /// Starts without a worker and with a dispatcher that is built as a test likes.
    pub(crate) async fn start_built(
        settings: HttpSettings,
        metrics: Metrics,
        build: impl FnOnce(DispatcherBuilder, Arc<dyn Clock>) -> DispatcherBuilder,
    ) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(0)));
        clock.set("2026-02-01T00:00:00Z");
        let shared_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let registry = Arc::new(MemoryFraudRegistry::new(MatchMode::Normalized, Arc::clone(&shared_clock)));
        // No test is about the dispatcher's time limit, and a busy machine is no reason to fail.
        let config = DispatcherConfig::default().with_timeout(Duration::from_secs(300));
        let builder = Dispatcher::builder(config, Arc::new(RoundRobin::default()));
        let dispatcher = build(builder, Arc::clone(&shared_clock)).build();
        let draining = CancellationToken::new();
        let api = Api::new(dispatcher.clone())
            .with_clock(shared_clock)
            .with_draining(draining.clone())
            .with_metrics(metrics);
        let server = HttpServer::bind(settings, api).await.unwrap();
        let (addr, shutdown) = (server.local_addr(), CancellationToken::new());
        let server = tokio::spawn(server.run(shutdown.clone()));
        Self { addr, dispatcher, registry, clock, draining, shutdown, server }
    }

    pub(crate) async fn publish(&self, etag: &str, names: &[&str]) {
        let version = ListVersion::new("2026-01-31T08:00:00Z".parse().unwrap(), Etag::new(etag).unwrap());
        let entries = names.iter().map(|name| ListEntry::new(name).unwrap()).collect();
        let chunks = stream::iter([Ok(entries)]).boxed();
        self.registry
            .replace(FraudList { version, source: "file:test.txt".to_owned(), chunks })
            .await
            .unwrap();
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = Answer::of(sender.send_request(request).await.unwrap()).await;
        drop(sender);
        connection.await.unwrap().unwrap();
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.request(Method::POST, path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn post_lines(&self, path: &str, body: &str) -> Vec<Value> {
        let answer =
            self.request(Method::POST, path, &[("content-type", "application/x-ndjson")], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        answer.lines()
    }

    pub(crate) async fn store(&self, event: &Value) {
        let path = if event.get("sender").is_some() { "/v1/transactions" } else { "/v1/operations" };
        let answer = self.post(path, &event.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// Opens a connection and sends bytes as they are.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream
    }

    /// Sends bytes as they are and reads until the server closes the connection.
    pub(crate) async fn raw_to_end(&self, bytes: impl AsRef<[u8]>) -> String {
        read_to_end(&mut self.raw(bytes).await).await
    }
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads until what was read ends with a text.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let byte = stream.read_u8().await.unwrap_or_else(|error| {
            panic!("{error} after {:?}", String::from_utf8_lossy(&bytes));
        });
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(response: http::Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem and returns its pointer.
    pub(crate) fn assert_problem(&self, status: u16, code: &str) -> Option<String> {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{text}");
        assert_eq!(problem["status"], status, "{text}");
        assert_eq!(problem["type"], "about:blank", "{text}");
        assert_eq!(problem["title"], StatusCode::from_u16(status).unwrap().canonical_reason().unwrap());
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{text}");
        assert_eq!(self.headers.contains_key("retry-after"), status == 503, "a 503 says when to come back");
        problem["pointer"].as_str().map(str::to_owned)
    }
}

pub(crate) fn transaction(id: &str) -> Value {
    json!({"id": id, "sender": "Ann", "receiver": "Bob", "amount": 100, "currency": "EUR",
        "occurred_at": "2026-01-15T10:00:00Z"})
}

pub(crate) fn operation(id: &str) -> Value {
    json!({"id": id, "client": "Ann", "branch": "North", "operation": "deposit", "amount": 5, "currency": "EUR",
        "occurred_at": "2026-01-15T10:00:00Z"})
}

/// Returns an event as a line of a stream.
pub(crate) fn line(event: &Value) -> String {
    let mut event = event.clone();
    event["type"] = Value::from(if event.get("sender").is_some() { "transaction" } else { "operation" });
    format!("{event}\n")
}

pub(crate) fn outcomes(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["outcome"].as_str().unwrap()).collect()
}

/// A worker that takes in batches only as permits are given.
pub(crate) struct GatedWorker {
    inner: Arc<dyn WorkerNode>,
    pub(crate) permits: Semaphore,
    pub(crate) arrived: AtomicUsize,
    pub(crate) arrivals: Semaphore,
}

impl GatedWorker {
    pub(crate) fn new(inner: Arc<dyn WorkerNode>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            permits: Semaphore::new(0),
            arrived: AtomicUsize::new(0),
            arrivals: Semaphore::new(0),
        })
    }

    /// Waits until a batch has arrived.
    pub(crate) async fn arrival(&self) {
        self.arrivals.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl WorkerNode for GatedWorker {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        self.arrived.fetch_add(batch.len(), Ordering::SeqCst);
        self.arrivals.add_permits(1);
        self.permits.acquire().await.unwrap().forget();
        self.inner.ingest(batch).await
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.inner.fetch(query).await
    }
}

/// A worker on memory stores without anybody on its fraud list.
pub(crate) async fn plain_worker() -> Arc<dyn WorkerNode> {
    let registry = MemoryFraudRegistry::default();
    let version = ListVersion::new("2026-01-31T08:00:00Z".parse().unwrap(), Etag::new("v1").unwrap());
    let chunks = stream::iter([Ok(vec![ListEntry::new("Mallory").unwrap()])]).boxed();
    registry.replace(FraudList { version, source: "file:test.txt".to_owned(), chunks }).await.unwrap();
    Arc::new(Worker::new(
        Arc::new(MemoryEventStore::default()),
        Arc::new(MemoryAdjacencyStore::default()),
        Arc::new(registry),
    ))
}
