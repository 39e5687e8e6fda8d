//! Events a second over HTTP, beside a bare warp echo of the same JSON: only the ratio means something.
//!
//! One event a request over 64 connections that are kept alive, on memory stores; then the same events as one stream
//! of lines. Rounds alternate, medians are printed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark that fails says so by panicking, and reads its length from the environment"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use mini_platform_bins::http::{Api, HttpServer, HttpSettings};
use mini_platform_core::dispatcher::{DispatcherConfig, RoundRobin, WorkerId};
use mini_platform_core::domain::{Etag, ListEntry, ListVersion};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{FraudList, FraudRegistry};
use mini_platform_core::{Dispatcher, Worker};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use warp::Filter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 7;

/// How long a round lasts, in milliseconds, unless `HTTP_BENCH_MS` says otherwise.
const ROUND_MS: u64 = 1_500;

const ID_DIGITS: usize = 12;

/// What the echo understands: the same fields, without any rule.
#[derive(Serialize, Deserialize)]
struct Echoed {
    id: String,
    sender: String,
    receiver: String,
    amount: i64,
    currency: String,
    occurred_at: String,
}

fn event(id: u64) -> String {
    format!(
        concat!(
            r#"{{"id":"e{:0width$}","sender":"client-{:05}","receiver":"client-{:05}","amount":12550,"#,
            r#""currency":"EUR","occurred_at":"2026-01-15T10:00:00Z"}}"#
        ),
        id,
        id % 50_000,
        (id + 7) % 50_000,
        width = ID_DIGITS,
    )
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (api, echo) = runtime.block_on(async { (start_api().await, start_echo().await) });
    let millis = std::env::var("HTTP_BENCH_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUND_MS);
    let only = std::env::var("HTTP_BENCH_ONLY").unwrap_or_default();
    let round = Duration::from_millis(millis);
    let (mut api_rates, mut echo_rates, mut line_rates) = (Vec::new(), Vec::new(), Vec::new());
    let mut next_id = 0;
    for _ in 0..ROUNDS {
        if only != "echo" && only != "lines" {
            api_rates.push(load("requests", api, "/v1/transactions", round, &mut next_id));
        }
        if only.is_empty() || only == "echo" {
            echo_rates.push(load("requests", echo, "/echo", round, &mut next_id));
        }
        if only.is_empty() || only == "lines" {
            line_rates.push(stream_lines(api, round, &mut next_id));
        }
    }
    let (api, echo, lines) = (median(api_rates), median(echo_rates), median(line_rates));
    println!("one event a request   {api:>9.0} events/s");
    println!("bare warp JSON echo   {echo:>9.0} requests/s");
    println!("ratio                 {:>9.2}", api / echo);
    println!("one stream of lines   {lines:>9.0} events/s");
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn start_api() -> SocketAddr {
    let registry = MemoryFraudRegistry::default();
    let version = ListVersion::new("2026-01-31T08:00:00Z".parse().unwrap(), Etag::new("v1").unwrap());
    let entries = (0..20_000).map(|n| ListEntry::new(format!("Listed Person {n}")).unwrap()).collect();
    let chunks = stream::iter([Ok(entries)]).boxed();
    registry.replace(FraudList { version, source: "bench".to_owned(), chunks }).await.unwrap();
    let worker = Worker::new(
        Arc::new(MemoryEventStore::default()),
        Arc::new(MemoryAdjacencyStore::default()),
        Arc::new(registry),
    );
    let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(RoundRobin::default()));
    dispatcher.add_member(WorkerId::new("local"), Arc::new(worker));
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = HttpSettings { listen, ..HttpSettings::new("CZK".parse().unwrap()) };
    let server = HttpServer::bind(settings, Api::new(dispatcher)).await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.run(CancellationToken::new()));
    addr
}

async fn start_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let echo = warp::path!("echo")
        .and(warp::post())
        .and(warp::body::json())
        .map(|event: Echoed| warp::reply::json(&event));
    tokio::spawn(warp::serve(echo).incoming(listener).run());
    addr
}

/// Sends one event a request for a while, from a thread of its own. Returns requests a second.
fn load(what: &'static str, addr: SocketAddr, path: &'static str, round: Duration, next_id: &mut u64) -> f64 {
    let first_id = *next_id;
    let (sent, elapsed) = on_a_thread(what, async move {
        let start = Instant::now();
        let connections = (0..CONNECTIONS).map(|n| {
            let first_id = first_id + n as u64;
            keep_sending(addr, path, start + round, first_id)
        });
        let sent: u64 = join_all(connections).await.into_iter().sum();
        (sent, start.elapsed())
    });
    *next_id += (sent + 2) * CONNECTIONS as u64;
    sent as f64 / elapsed.as_secs_f64()
}

fn on_a_thread<T: Send + 'static>(name: &str, work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work)).unwrap();
    thread.join().expect("the load runs through")
}

/// Sends requests one after the other on one connection until the time is over. Returns how many.
async fn keep_sending(addr: SocketAddr, path: &str, end: Instant, first_id: u64) -> u64 {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let body = event(0);
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes();
    let digits = request.len() - body.len() + r#"{"id":"e"#.len();
    let (mut id, mut sent, mut answer) = (first_id, 0, vec![0; 4096]);
    while Instant::now() < end {
        write_digits(&mut request[digits..digits + ID_DIGITS], id);
        stream.write_all(&request).await.unwrap();
        read_answer(&mut stream, &mut answer).await;
        id += CONNECTIONS as u64;
        sent += 1;
    }
    sent
}

fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Reads one answer. Both servers send heads of a few lines with a `content-length`.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert_ne!(read, 0, "the server closed the connection");
        filled += read;
        if is_whole(&buffer[..filled]) {
            assert!(buffer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&buffer[..filled]));
            return;
        }
    }
}

fn is_whole(answer: &[u8]) -> bool {
    const LENGTH: &[u8] = b"content-length: ";
    let Some(head) = find(answer, b"\r\n\r\n") else { return false };
    let start = find(answer, LENGTH).expect("an answer has a length") + LENGTH.len();
    let digits = answer[start..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    answer.len() == head + 4 + length
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Sends events as one stream of lines for a while. Returns events a second.
fn stream_lines(addr: SocketAddr, round: Duration, next_id: &mut u64) -> f64 {
    const BLOCK: u64 = 500;
    let first_id = *next_id;
    let (sent, elapsed) = on_a_thread("lines", async move {
        let (mut reader, mut writer) = TcpStream::connect(addr).await.unwrap().into_split();
        let start = Instant::now();
        let sending = async {
            let head = "POST /v1/events HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\n";
            writer
                .write_all(
                    format!("{head}connection: close\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes(),
                )
                .await
                .unwrap();
            let line = |id| event(id).replacen('{', r#"{"type":"transaction","#, 1) + "\n";
            let mut block: Vec<u8> = (0..BLOCK).flat_map(|id| line(id).into_bytes()).collect();
            let length = block.len() / BLOCK as usize;
            let digits = r#"{"type":"transaction","id":"e"#.len();
            let mut sent = 0;
            while start.elapsed() < round {
                for n in 0..BLOCK {
                    let at = n as usize * length + digits;
                    write_digits(&mut block[at..at + ID_DIGITS], first_id + sent + n);
                }
                writer.write_all(format!("{:x}\r\n", block.len()).as_bytes()).await.unwrap();
                writer.write_all(&block).await.unwrap();
                writer.write_all(b"\r\n").await.unwrap();
                sent += BLOCK;
            }
            writer.write_all(b"0\r\n\r\n").await.unwrap();
            sent
        };
        let reading = async {
            let (mut results, mut buffer) = (0, vec![0; 64 << 10]);
            loop {
                match reader.read(&mut buffer).await.unwrap() {
                    0 => break results,
                    read => results += buffer[..read].iter().filter(|byte| **byte == b'}').count() as u64,
                }
            }
        };
        let (sent, closing_braces) = tokio::join!(sending, reading);
        assert_eq!(closing_braces, 2 * sent, "each line has a result, which holds one object");
        (sent, start.elapsed())
    });
    *next_id += sent;
    sent as f64 / elapsed.as_secs_f64()
}
