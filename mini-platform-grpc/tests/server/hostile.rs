//! Peers that are broken or mean: nothing that they send panics, hangs or stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::Worker;
use mini_platform_core::domain::{Epoch, EventBatch, IngestOutcome, WorkerId};
use mini_platform_core::error::{FetchError, IngestError, Retry};
use mini_platform_core::port::{FetchAnswer, FetchQuery, HeartbeatAnswer, Membership, WorkerNode};
use mini_platform_core::testkit;
use mini_platform_grpc::{ChannelSettings, ClusterClient, Services, v1};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{
    AT_ONCE, HeldWorker, PATIENCE, TestServer, Welcoming, batch, eventually, identity, settings, soon, worker,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;

/// Makes a frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Makes the start of a conversation.
fn greeting() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Makes the head of a call to a worker.
fn head_of_call(timeout: &str) -> Vec<u8> {
    head_of("/mini_platform.v1.WorkerService/Ingest", 1, timeout)
}

/// Makes the head of any call.
fn head_of(path: &str, stream: u32, timeout: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", timeout),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal field, not indexed, with a new name.
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

async fn send(server: &TestServer, bytes: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(server.addr).await.unwrap();
    // The server may have hung up already.
    let _ = peer.write_all(bytes).await;
    peer
}

/// Reads until the server hangs up.
async fn hangs_up(mut peer: TcpStream) {
    let mut answer = Vec::new();
    let _ = soon(peer.read_to_end(&mut answer)).await;
}

async fn still_serves(server: &TestServer) {
    soon(server.client().ingest(&batch("good"))).await.unwrap();
}

#[tokio::test]
async fn who_does_not_speak_http_2_is_cut_off_at_once() {
    let server = TestServer::of(worker().await, settings()).await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(8);
    let garbage: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let http_1: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for bytes in [&hello[..], &garbage, http_1, &[0; 64]] {
        let start = Instant::now();
        hangs_up(send(&server, bytes).await).await;
        assert!(start.elapsed() < AT_ONCE, "{:?} after {:?}", start.elapsed(), &bytes[..4]);
    }
    server.is_deserted().await;
    still_serves(&server).await;
}

#[tokio::test]
async fn who_says_nothing_or_half_a_greeting_is_cut_off_after_a_while() {
    let limits = settings()
        .with_handshake_timeout(Duration::from_millis(200))
        .with_keepalive_interval(Duration::from_secs(600));
    let server = TestServer::of(worker().await, limits).await;
    for bytes in [&b""[..], &PREFACE[..1], &PREFACE[..23], PREFACE] {
        let start = Instant::now();
        hangs_up(send(&server, bytes).await).await;
        assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    }
    server.is_deserted().await;

    // Who has greeted stays.
    let peer = send(&server, &greeting()).await;
    eventually("it is connected", || server.activity.connections() == 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(server.activity.connections(), 1);
    drop(peer);
    server.is_deserted().await;
    still_serves(&server).await;
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word_is_cut_off() {
    let limits = settings()
        .with_keepalive_interval(Duration::from_millis(100))
        .with_keepalive_timeout(Duration::from_millis(100));
    let server = TestServer::of(worker().await, limits).await;
    // It never answers a ping, nor closes.
    hangs_up(send(&server, &greeting()).await).await;
    server.is_deserted().await;
}

#[tokio::test]
async fn half_a_message_ends_with_its_deadline() {
    let node = HeldWorker::new().await;
    node.release.add_permits(1);
    let server = TestServer::of(node.clone(), settings()).await;
    // A message of 100 bytes, of which 3 come.
    let begun = frame(DATA, 0, 1, &[0, 0, 0, 0, 100, 1, 2, 3]);
    let peer = send(&server, &[greeting(), head_of_call("300m"), begun].concat()).await;
    eventually("the call is under way", || server.activity.in_flight() == 1).await;
    server.is_idle().await;
    assert_eq!(server.activity.connections(), 1, "the peer is still there");
    assert_eq!(node.entered(), 0, "half a message reaches no worker");
    drop(peer);
    server.is_deserted().await;
    still_serves(&server).await;
}

#[tokio::test]
async fn half_a_message_ends_with_its_connection() {
    let server = TestServer::of(worker().await, settings()).await;
    let begun = frame(DATA, 0, 1, &[0, 0, 0, 0, 100, 1, 2, 3]);
    let peer = send(&server, &[greeting(), head_of_call("1H"), begun].concat()).await;
    eventually("the call is under way", || server.activity.in_flight() == 1).await;
    drop(peer);
    server.is_deserted().await;
    still_serves(&server).await;
}

#[tokio::test]
async fn half_a_frame_ends_with_its_connection() {
    let server = TestServer::of(worker().await, settings()).await;
    let whole = head_of_call("1H");
    for cut in [1, 8, 9, 20, whole.len() - 1] {
        let peer = send(&server, &[&greeting(), &whole[..cut]].concat()).await;
        eventually("it is connected", || server.activity.connections() == 1).await;
        drop(peer);
        server.is_deserted().await;
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_message_that_is_no_message_is_refused() {
    let server = TestServer::of(worker().await, settings()).await;
    let claims = [
        // Compressed, which nobody agreed upon.
        vec![1, 0, 0, 0, 3, 1, 2, 3],
        // As long as can be said.
        vec![0, 255, 255, 255, 255, 1],
        // No protobuf.
        vec![0, 0, 0, 0, 3, 255, 255, 255],
        // Neither compressed nor not.
        vec![9, 0, 0, 0, 0],
    ];
    for payload in claims {
        let begun = frame(DATA, 1, 1, &payload);
        let peer = send(&server, &[greeting(), head_of_call("1H"), begun].concat()).await;
        eventually("it is connected", || server.activity.connections() == 1).await;
        server.is_idle().await;
        drop(peer);
        server.is_deserted().await;
    }
    still_serves(&server).await;
}

/// Heads of so many calls whose messages never come.
fn heads(path: &str, count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| head_of(path, 2 * n + 1, "1H")).collect()
}

#[tokio::test]
async fn who_holds_all_calls_of_its_connection_keeps_nobody_else_from_the_cluster() {
    let services = Services::new().with_worker(worker().await, identity()).with_cluster(Arc::new(Welcoming));
    let server = TestServer::start(settings().with_max_in_flight(80), services).await;
    let peer = send(&server, &[greeting(), heads("/grpc.health.v1.Health/Check", 200)].concat()).await;
    eventually("all that may be are under way", || server.activity.in_flight() == 64).await;
    let member = ClusterClient::new(&server.address(), &ChannelSettings::default());
    for _ in 0..3 {
        soon(server.client().identify()).await.unwrap();
        let id = WorkerId::new("w-1").unwrap();
        assert_eq!(soon(member.heartbeat(&id, Epoch(1))).await.unwrap(), HeartbeatAnswer::Renewed);
    }
    assert!(server.activity.in_flight() >= 64, "{}", server.activity.in_flight());

    // They do not stay, though their caller gives them an hour.
    let start = Instant::now();
    server.is_idle().await;
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    drop(peer);
}

/// Answers what a peer must answer who is to be taken for alive, and takes nothing of any answer.
async fn pretends_to_live(mut peer: TcpStream) {
    const PING: u8 = 6;
    const ACK: u8 = 1;
    let mut head = [0; 9];
    while peer.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if peer.read_exact(&mut payload).await.is_err() {
            return;
        }
        if head[3] == PING && head[4] & ACK == 0 {
            let _ = peer.write_all(&frame(PING, ACK, 0, &payload)).await;
        }
    }
}

/// The start of a conversation with somebody who takes nothing of any answer.
fn greeting_without_window() -> Vec<u8> {
    greeting_with_window(0)
}

/// The same with somebody who takes so many bytes.
fn greeting_with_window(bytes: u8) -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: u8 = 4;
    [PREFACE, &frame(SETTINGS, 0, 0, &[0, INITIAL_WINDOW_SIZE, 0, 0, 0, bytes])].concat()
}

fn identify(timeout: &str) -> Vec<u8> {
    let head = head_of("/mini_platform.v1.WorkerService/Identify", 1, timeout);
    [head, frame(DATA, 1, 1, &[0, 0, 0, 0, 0])].concat()
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_under_way_and_is_cut_off_after_a_while() {
    let limits = settings().with_idle_timeout(Duration::from_secs(3));
    let limits = limits.with_keepalive_interval(Duration::from_millis(100));
    let server = TestServer::of(worker().await, limits).await;
    let peer = send(&server, &[greeting_without_window(), identify("1H")].concat()).await;
    eventually("it is answered", || server.activity.in_flight() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.activity.in_flight(), 1, "the answer is kept, and counts");
    soon(pretends_to_live(peer)).await;
    server.is_deserted().await;
    still_serves(&server).await;
}

#[tokio::test]
async fn a_large_answer_of_which_one_byte_is_taken_is_under_way_and_is_cut_off_after_a_while() {
    let limits = settings().with_idle_timeout(Duration::from_secs(3));
    let server = TestServer::of(worker().await, limits).await;
    let batch = testkit::batch((0..1024).map(|n| testkit::transfer(&format!("e{n}"), "ann", "bob", 1)));
    let message = v1::WorkerServiceIngestRequest::from(&batch).encode_to_vec();
    let mut sent = vec![0];
    sent.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    sent.extend(message);
    let mut call = [greeting_with_window(1), head_of_call("1H")].concat();
    sent.chunks(16_000).for_each(|part| call.extend(frame(DATA, 0, 1, part)));
    call.extend(frame(DATA, 1, 1, &[]));
    let peer = send(&server, &call).await;
    eventually("it is asked", || server.activity.in_flight() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.activity.in_flight(), 1, "the answer is kept, and counts");
    soon(pretends_to_live(peer)).await;
    server.is_deserted().await;
    still_serves(&server).await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_cut_off_soon_after_its_deadline() {
    let server = TestServer::of(worker().await, settings()).await;
    let start = Instant::now();
    let peer = send(&server, &[greeting_without_window(), identify("300m")].concat()).await;
    eventually("it is answered", || server.activity.in_flight() == 1).await;
    soon(pretends_to_live(peer)).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    server.is_deserted().await;
}

/// A generator of numbers that needs nothing: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Makes a frame of which any part may be wrong.
    fn frame(&mut self) -> Vec<u8> {
        let payload: Vec<u8> = (0..self.below(80)).map(|_| self.byte()).collect();
        let kind = u8::try_from(self.below(11)).unwrap();
        let stream = u32::try_from(self.below(6)).unwrap();
        let mut frame = frame(kind, self.byte(), stream, &payload);
        match self.below(8) {
            0 => frame.truncate(usize::try_from(self.below(9)).unwrap()),
            1 => frame[usize::try_from(self.below(9)).unwrap()] = self.byte(),
            _ => {}
        }
        frame
    }
}

/// A worker with a bug.
struct PanickingWorker(Arc<Worker>);

#[async_trait]
impl WorkerNode for PanickingWorker {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        assert_ne!(batch.events()[0].id().as_str(), "panic", "as expected by the test");
        self.0.ingest(batch).await
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.0.fetch(query).await
    }
}

#[tokio::test]
async fn a_panic_harms_no_other_request() {
    let server = TestServer::of(Arc::new(PanickingWorker(worker().await)), settings()).await;
    let client = server.client();
    client.ingest(&batch("good")).await.unwrap();
    let error = soon(client.ingest(&batch("panic"))).await.unwrap_err();
    assert!(!error.is_unreachable(), "it answers, and is no less there than before: {error:?}");
    assert_eq!(error.retry(), Retry::Never, "another would fare no better");
    let IngestError::Fault(fault) = error else { panic!("{error:?}") };
    let said = std::error::Error::source(&fault).unwrap().to_string();
    assert!(said.starts_with("worker failed"), "who failed is said: {said}");
    client.ingest(&batch("good")).await.unwrap();
    assert_eq!(server.activity.connections(), 1, "the connection is the same");
    server.is_idle().await;
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_frames_neither_panic_nor_stay() {
    const SEED: u64 = 20_261_122;
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    let server = TestServer::of(worker().await, settings()).await;
    for round in 0..20 {
        let mut peers = Vec::new();
        for peer in 0..20 {
            let mut random = Random(SEED + round * 20 + peer);
            let mut bytes = greeting();
            if random.below(2) == 0 {
                bytes.extend(head_of_call("1S"));
            }
            (0..random.below(20)).for_each(|_| bytes.extend(random.frame()));
            peers.push(send(&server, &bytes).await);
        }
        eventually("all are connected or were", || server.activity.connections() <= 20).await;
        drop(peers);
    }
    server.is_deserted().await;
    still_serves(&server).await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "seed {SEED}");
}
