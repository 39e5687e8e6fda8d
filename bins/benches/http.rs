//! Events a second over HTTP, beside a bare warp echo of the same JSON: only the ratio means something.
//!
//! One event a request over 64 connections that are kept alive, on memory stores; the same with the long-term log on
//! disk; then the same events as one stream of lines. Rounds alternate, medians are printed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark that fails says so by panicking, and reads its length from the environment"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use mini_platform_bins::http::{Api, HttpServer, HttpSettings};
use mini_platform_core::dispatcher::{DispatcherConfig, RoundRobin};
use mini_platform_core::domain::{Etag, ListEntry, ListVersion, WorkerId};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{FraudList, FraudRegistry};
use mini_platform_core::{Dispatcher, Worker};
use mini_platform_file::{FileLog, FileLogConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use warp::Filter;

use load::{Echoed, ID_DIGITS, event, load, median, on_a_thread, write_digits};

#[path = "load/mod.rs"]
mod load;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;

/// How long a round lasts, in milliseconds, unless `HTTP_BENCH_MS` says otherwise.
const ROUND_MS: u64 = 1_500;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = Arc::new(FileLog::open(&FileLogConfig::new(folder.path())).unwrap());
    let (api, logged, echo) =
        runtime.block_on(async { (start_api(None).await, start_api(Some(log)).await, start_echo().await) });
    let millis = std::env::var("HTTP_BENCH_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUND_MS);
    let only = std::env::var("HTTP_BENCH_ONLY").unwrap_or_default();
    let round = Duration::from_millis(millis);
    let [mut api_rates, mut logged_rates, mut echo_rates, mut line_rates] = [const { Vec::new() }; 4];
    let mut next_id = 0;
    for _ in 0..ROUNDS {
        if !matches!(&*only, "logged" | "echo" | "lines") {
            api_rates.push(load("requests", api, "/v1/transactions", round, &mut next_id));
        }
        if only.is_empty() || only == "logged" {
            logged_rates.push(load("requests", logged, "/v1/transactions", round, &mut next_id));
        }
        if only.is_empty() || only == "echo" {
            echo_rates.push(load("requests", echo, "/echo", round, &mut next_id));
        }
        if only.is_empty() || only == "lines" {
            line_rates.push(stream_lines(api, round, &mut next_id));
        }
    }
    let (api, echo, lines) = (median(api_rates), median(echo_rates), median(line_rates));
    let logged = median(logged_rates);
    println!("one event a request   {api:>9.0} events/s");
    println!("bare warp JSON echo   {echo:>9.0} requests/s");
    println!("ratio                 {:>9.2}", api / echo);
    println!("with the log on disk  {logged:>9.0} events/s");
    println!("ratio to without      {:>9.2}", logged / api);
    println!("one stream of lines   {lines:>9.0} events/s");
}

async fn start_api(log: Option<Arc<FileLog>>) -> SocketAddr {
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
    let mut dispatcher = Dispatcher::builder(DispatcherConfig::default(), Arc::new(RoundRobin::default()));
    if let Some(log) = log {
        dispatcher = dispatcher.with_log(log);
    }
    let dispatcher = dispatcher.build();
    dispatcher.add_member(WorkerId::LOCAL, Arc::new(worker));
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
