//! A load of single events over HTTP, and what a bare server makes of one.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;

pub(crate) const ID_DIGITS: usize = 12;

/// What the echo understands: the same fields, without any rule.
#[derive(Serialize, Deserialize)]
pub(crate) struct Echoed {
    pub(crate) id: String,
    pub(crate) sender: String,
    pub(crate) receiver: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) occurred_at: String,
}

pub(crate) fn event(id: u64) -> String {
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

pub(crate) fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Sends one event a request for a while, from a thread of its own. Returns requests a second.
pub(crate) fn load(
    what: &'static str,
    addr: SocketAddr,
    path: &'static str,
    round: Duration,
    next_id: &mut u64,
) -> f64 {
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

pub(crate) fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
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

pub(crate) fn write_digits(digits: &mut [u8], mut number: u64) {
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
