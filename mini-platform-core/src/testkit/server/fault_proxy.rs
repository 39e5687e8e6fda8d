//! A network that fails on demand.

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::free_port;

/// How much is read at once: what is called a chunk.
const CHUNK: usize = 64 * 1024;
/// How long a connection is quiet before its request counts as forwarded whole.
const QUIET: Duration = Duration::from_millis(20);
/// How long the server may take to end a connection whose reply is lost.
const DRAIN: Duration = Duration::from_secs(10);

/// What happens to an exchange: to a chunk of a request, and to what is answered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    Pass,
    /// The request is held for a while, and so is the beginning of the reply.
    Delay(Duration),
    /// New connections are reset as soon as they are accepted; those there are live on.
    Refuse,
    /// The connection is reset and the server never sees the chunk.
    ResetBeforeForward,
    /// The server gets the request and answers, then the connection is reset without any of the reply.
    ResetAfterForward,
    /// The connection is reset after so many bytes of the reply.
    HalfReply(usize),
    /// Nothing is forwarded any more; the connection stays open until the client closes it or it is cut.
    Stall,
}

impl Fault {
    /// Limits the fault to requests that contain some bytes.
    ///
    /// Drivers have connections of their own, for example to watch the server: name what only the request has.
    #[must_use]
    pub fn when(self, contains: impl AsRef<[u8]>) -> Rule {
        Rule { fault: self, contains: contains.as_ref().to_vec() }
    }
}

/// A fault, and which requests it hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    fault: Fault,
    contains: Vec<u8>,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        fault.when([])
    }
}

/// The rule in force.
#[derive(Debug)]
struct Plan {
    rule: Rule,
    left: usize,
    hits: usize,
}

impl Plan {
    fn hit(&mut self, matches: bool) -> Fault {
        if !matches || self.left == 0 || self.rule.fault == Fault::Pass {
            return Fault::Pass;
        }
        self.left -= 1;
        self.hits += 1;
        self.rule.fault
    }
}

/// A TCP proxy on a loopback port that does to its connections what it is told.
///
/// It tells exchanges apart by chunks: what arrives at once, up to 64 KiB. Its connections end when it is
/// dropped.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    cuts: watch::Sender<()>,
    accepting: AbortHandle,
}

impl FaultProxy {
    /// Starts a proxy in front of an address, such as `127.0.0.1:6379`.
    ///
    /// # Panics
    /// Panics when no port is free.
    pub async fn start(upstream: impl Display) -> Self {
        let listener = loop {
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).await {
                break listener;
            }
        };
        let addr = listener.local_addr().expect("a bound port");
        let plan = Plan { rule: Fault::Pass.into(), left: 0, hits: 0 };
        let plan = Arc::new(Mutex::new(plan));
        let cuts = watch::Sender::new(());
        let accepting = accept(listener, upstream.to_string(), Arc::clone(&plan), cuts.clone());
        Self { addr, plan, cuts, accepting: tokio::spawn(accepting).abort_handle() }
    }

    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Does this to every exchange from now on; [`Fault::Pass`] ends it.
    pub fn set(&self, rule: impl Into<Rule>) {
        self.set_times(usize::MAX, rule);
    }

    /// Does this to the next exchange it fits, and then no more.
    pub fn set_once(&self, rule: impl Into<Rule>) {
        self.set_times(1, rule);
    }

    /// Does this to the next so many exchanges it fits, and then no more.
    pub fn set_times(&self, times: usize, rule: impl Into<Rule>) {
        let mut plan = self.plan.lock().unwrap();
        plan.rule = rule.into();
        plan.left = times;
    }

    /// Returns how many exchanges were hit by a fault since the start.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.plan.lock().unwrap().hits
    }

    /// Resets every live connection.
    pub fn cut(&self) {
        self.cuts.send_replace(());
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: String, plan: Arc<Mutex<Plan>>, cuts: watch::Sender<()>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let refused = {
            let mut plan = plan.lock().unwrap();
            let refuses = plan.rule.fault == Fault::Refuse;
            plan.hit(refuses) == Fault::Refuse
        };
        if refused {
            reset(&client);
        } else {
            connections.spawn(connection(client, upstream.clone(), Arc::clone(&plan), cuts.subscribe()));
        }
    }
}

/// How a connection ended.
enum End {
    /// One of the sides closed it.
    Closed,
    /// It is to be reset on both sides.
    Reset,
    /// Its reply was lost: the server reads on to the end, then the client is reset.
    Lost,
}

async fn connection(
    mut client: TcpStream,
    upstream: String,
    plan: Arc<Mutex<Plan>>,
    mut cuts: watch::Receiver<()>,
) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = tokio::select! {
        _ = cuts.changed() => End::Reset,
        end = Exchange::new(&mut client, &mut server, &plan).run() => end.unwrap_or(End::Reset),
    };
    match end {
        End::Closed => {}
        End::Reset => {
            reset(&server);
            reset(&client);
        }
        End::Lost => {
            let _ = timeout(DRAIN, drain(&mut server)).await;
            reset(&client);
        }
    }
}

fn reset(stream: &TcpStream) {
    // A socket that does not linger sends a reset when it is closed.
    let _ = stream.set_zero_linger();
}

async fn drain(server: &mut TcpStream) -> io::Result<()> {
    server.shutdown().await?;
    tokio::io::copy(server, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Bytes on their way in one direction; the next are read when they are gone.
struct Lane {
    bytes: Vec<u8>,
    gone: usize,
    held_until: Instant,
    ended: bool,
}

impl Lane {
    fn new() -> Self {
        Self { bytes: Vec::new(), gone: 0, held_until: Instant::now(), ended: false }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    fn fill(&mut self, chunk: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(chunk);
        self.gone = 0;
    }

    async fn write(&self, to: &mut WriteHalf<'_>) -> io::Result<usize> {
        sleep_until(self.held_until).await;
        to.write(self.rest()).await
    }
}

/// What is planned for the reply.
#[derive(Clone, Copy)]
enum Reply {
    Pass,
    Delay(Duration),
    Lose { answered: bool },
    Half { left: usize, answered: bool },
}

/// One connection: both its directions in one loop, so that a fault of one acts on the other.
struct Exchange<'a> {
    client: (ReadHalf<'a>, WriteHalf<'a>),
    server: (ReadHalf<'a>, WriteHalf<'a>),
    plan: &'a Mutex<Plan>,
    request: Lane,
    response: Lane,
    reply: Reply,
    stalled: bool,
    /// The end of the last chunk, for what a search finds across two.
    tail: Vec<u8>,
}

impl<'a> Exchange<'a> {
    fn new(client: &'a mut TcpStream, server: &'a mut TcpStream, plan: &'a Mutex<Plan>) -> Self {
        Self {
            client: client.split(),
            server: server.split(),
            plan,
            request: Lane::new(),
            response: Lane::new(),
            reply: Reply::Pass,
            stalled: false,
            tail: Vec::new(),
        }
    }

    async fn run(mut self) -> io::Result<End> {
        let (mut asked, mut answered) = (vec![0; CHUNK], vec![0; CHUNK]);
        loop {
            let sends = !self.request.rest().is_empty();
            let answers = !self.response.rest().is_empty();
            let flows = !self.stalled;
            let lost = matches!(self.reply, Reply::Lose { answered: true }) && !sends;
            tokio::select! {
                read = self.client.0.read(&mut asked), if !sends && !self.request.ended => match read? {
                    0 if self.stalled => return Ok(End::Closed),
                    0 => {
                        self.request.ended = true;
                        self.server.1.shutdown().await?;
                    }
                    n => if self.asked(&asked[..n]) { return Ok(End::Reset) },
                },
                read = self.server.0.read(&mut answered), if !answers && !self.response.ended && flows => match read? {
                    0 => {
                        self.response.ended = true;
                        self.client.1.shutdown().await?;
                    }
                    n => self.answered(&answered[..n]),
                },
                sent = self.request.write(&mut self.server.1), if sends && flows => self.request.gone += sent?,
                sent = self.response.write(&mut self.client.1), if answers && flows => self.response.gone += sent?,
                () = tokio::time::sleep(QUIET), if lost => return Ok(End::Lost),
            }
            if matches!(self.reply, Reply::Half { left: 0, answered: true })
                && self.response.rest().is_empty()
            {
                return Ok(End::Reset);
            }
            if self.request.ended && self.response.ended {
                return Ok(End::Closed);
            }
        }
    }

    /// Takes a chunk of a request; answers whether the connection is to be reset.
    fn asked(&mut self, chunk: &[u8]) -> bool {
        if self.stalled {
            return false;
        }
        match self.fault(chunk) {
            Fault::Pass | Fault::Refuse => {}
            Fault::ResetBeforeForward => return true,
            Fault::Stall => {
                self.stalled = true;
                return false;
            }
            Fault::Delay(pause) => {
                self.request.held_until = Instant::now() + pause;
                self.reply = Reply::Delay(pause);
            }
            Fault::ResetAfterForward => self.reply = Reply::Lose { answered: false },
            Fault::HalfReply(bytes) => self.reply = Reply::Half { left: bytes, answered: false },
        }
        self.request.fill(chunk);
        false
    }

    fn fault(&mut self, chunk: &[u8]) -> Fault {
        if matches!(self.reply, Reply::Lose { .. } | Reply::Half { .. }) {
            return Fault::Pass;
        }
        let mut plan = self.plan.lock().unwrap();
        if plan.rule.fault == Fault::Refuse {
            return Fault::Pass;
        }
        self.tail.extend_from_slice(chunk);
        let wanted = &plan.rule.contains;
        let matches = wanted.is_empty() || self.tail.windows(wanted.len()).any(|window| window == wanted);
        let kept = wanted.len().saturating_sub(1).min(self.tail.len());
        self.tail.drain(..self.tail.len() - kept);
        plan.hit(matches)
    }

    fn answered(&mut self, chunk: &[u8]) {
        match &mut self.reply {
            Reply::Pass => self.response.fill(chunk),
            Reply::Delay(pause) => {
                self.response.held_until = Instant::now() + *pause;
                self.response.fill(chunk);
                self.reply = Reply::Pass;
            }
            Reply::Lose { answered } => *answered = true,
            Reply::Half { left, answered } => {
                *answered = true;
                let shown = chunk.len().min(*left);
                *left -= shown;
                self.response.fill(&chunk[..shown]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(100);

    /// Answers every chunk with itself and keeps all it got.
    struct Echo {
        addr: SocketAddr,
        got: Arc<Mutex<Vec<u8>>>,
    }

    impl Echo {
        async fn start() -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let addr = listener.local_addr().unwrap();
            let got = Arc::new(Mutex::new(Vec::new()));
            let all = Arc::clone(&got);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(echo(stream, Arc::clone(&all)));
                }
            });
            Self { addr, got }
        }

        fn got(&self) -> String {
            String::from_utf8(self.got.lock().unwrap().clone()).unwrap()
        }
    }

    async fn echo(mut stream: TcpStream, all: Arc<Mutex<Vec<u8>>>) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(n @ 1..) = stream.read(&mut chunk).await {
            all.lock().unwrap().extend_from_slice(&chunk[..n]);
            if stream.write_all(&chunk[..n]).await.is_err() {
                return;
            }
        }
    }

    async fn start() -> (Echo, FaultProxy) {
        let echo = Echo::start().await;
        let proxy = FaultProxy::start(echo.addr).await;
        (echo, proxy)
    }

    async fn connect(proxy: &FaultProxy) -> TcpStream {
        TcpStream::connect(proxy.addr()).await.unwrap()
    }

    async fn ask(stream: &mut TcpStream, request: &str) -> io::Result<String> {
        stream.write_all(request.as_bytes()).await?;
        let mut reply = vec![0; request.len()];
        stream.read_exact(&mut reply).await?;
        Ok(String::from_utf8(reply).unwrap())
    }

    fn assert_reset<T: std::fmt::Debug>(answer: io::Result<T>) {
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn without_a_fault_everything_passes() {
        let (echo, proxy) = start().await;
        let mut stream = connect(&proxy).await;
        let long = "ab".repeat(CHUNK);
        assert_eq!(ask(&mut stream, "ping").await.unwrap(), "ping");
        assert_eq!(ask(&mut stream, &long).await.unwrap(), long);
        assert_eq!(echo.got(), format!("ping{long}"));
        assert_eq!(proxy.hits(), 0);
    }

    #[tokio::test]
    async fn an_end_passes_in_both_directions() {
        let (_echo, proxy) = start().await;
        let mut stream = connect(&proxy).await;
        ask(&mut stream, "ping").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_delay_holds_request_and_reply() {
        let (_echo, proxy) = start().await;
        let mut stream = connect(&proxy).await;
        proxy.set(Fault::Delay(PAUSE));
        for _ in 0..2 {
            let asked = Instant::now();
            assert_eq!(ask(&mut stream, "ping").await.unwrap(), "ping");
            assert!(asked.elapsed() >= PAUSE * 2);
        }
        proxy.set(Fault::Pass);
        ask(&mut stream, "ping").await.unwrap();
        assert_eq!(proxy.hits(), 2);
    }

    #[tokio::test]
    async fn refusal_resets_new_connections_only() {
        let (_echo, proxy) = start().await;
        let mut old = connect(&proxy).await;
        ask(&mut old, "ping").await.unwrap();
        proxy.set_times(2, Fault::Refuse);
        for _ in 0..2 {
            assert_reset(ask(&mut connect(&proxy).await, "ping").await);
        }
        ask(&mut old, "ping").await.unwrap();
        ask(&mut connect(&proxy).await, "ping").await.unwrap();
        assert_eq!(proxy.hits(), 2);
    }

    #[tokio::test]
    async fn a_reset_before_forward_has_no_effect() {
        let (echo, proxy) = start().await;
        proxy.set_once(Fault::ResetBeforeForward);
        assert_reset(ask(&mut connect(&proxy).await, "insert").await);
        assert_eq!(echo.got(), "");
        ask(&mut connect(&proxy).await, "insert").await.unwrap();
        assert_eq!(echo.got(), "insert");
    }

    #[tokio::test]
    async fn a_reset_after_forward_took_effect() {
        let (echo, proxy) = start().await;
        proxy.set_once(Fault::ResetAfterForward);
        let mut stream = connect(&proxy).await;
        stream.write_all(b"insert").await.unwrap();
        assert_reset(stream.read(&mut [0; 6]).await);
        assert_eq!(echo.got(), "insert");
    }

    #[tokio::test]
    async fn a_long_request_is_forwarded_whole_before_its_reply_is_lost() {
        let (echo, proxy) = start().await;
        proxy.set_once(Fault::ResetAfterForward);
        let mut stream = connect(&proxy).await;
        let long = "ab".repeat(CHUNK * 8);
        stream.write_all(long.as_bytes()).await.unwrap();
        assert_reset(stream.read(&mut [0; 6]).await);
        assert_eq!(echo.got().len(), long.len());
    }

    #[tokio::test]
    async fn half_a_reply_is_cut_at_the_byte() {
        let (echo, proxy) = start().await;
        for shown in [4, 0] {
            proxy.set_once(Fault::HalfReply(shown));
            let mut stream = connect(&proxy).await;
            stream.write_all(b"insert").await.unwrap();
            let mut reply = vec![0; shown];
            stream.read_exact(&mut reply).await.unwrap();
            assert_eq!(reply, b"insert"[..shown]);
            assert_reset(stream.read(&mut [0]).await);
        }
        assert_eq!(echo.got(), "insertinsert");
    }

    #[tokio::test]
    async fn a_stalled_connection_stays_open_until_it_is_cut() {
        let (echo, proxy) = start().await;
        proxy.set_once(Fault::Stall);
        let mut stream = connect(&proxy).await;
        let silence = timeout(PAUSE, ask(&mut stream, "ping")).await;
        assert!(silence.is_err(), "{silence:?}");
        assert_eq!(echo.got(), "");
        proxy.cut();
        assert_reset(stream.read(&mut [0]).await);
    }

    #[tokio::test]
    async fn a_cut_resets_every_live_connection_and_no_later_one() {
        let (_echo, proxy) = start().await;
        let mut streams = [connect(&proxy).await, connect(&proxy).await];
        for stream in &mut streams {
            ask(stream, "ping").await.unwrap();
        }
        proxy.cut();
        for stream in &mut streams {
            assert_reset(stream.read(&mut [0]).await);
        }
        ask(&mut connect(&proxy).await, "ping").await.unwrap();
    }

    #[tokio::test]
    async fn a_fault_hits_only_requests_that_contain_its_bytes() {
        let (echo, proxy) = start().await;
        proxy.set_once(Fault::ResetBeforeForward.when("insert"));
        let mut watcher = connect(&proxy).await;
        let mut writer = connect(&proxy).await;
        ask(&mut watcher, "hello").await.unwrap();
        ask(&mut writer, "hello ins").await.unwrap();
        assert_reset(ask(&mut writer, "ert").await);
        ask(&mut watcher, "insert").await.unwrap();
        assert_eq!(echo.got(), "hellohello insinsert");
        assert_eq!(proxy.hits(), 1);
    }

    #[tokio::test]
    async fn without_a_server_connections_are_reset() {
        let proxy = FaultProxy::start("127.0.0.1:1").await;
        assert_reset(ask(&mut connect(&proxy).await, "ping").await);
    }

    #[tokio::test]
    async fn a_dropped_proxy_ends_its_connections() {
        let (_echo, proxy) = start().await;
        let mut stream = connect(&proxy).await;
        ask(&mut stream, "ping").await.unwrap();
        let addr = proxy.addr();
        drop(proxy);
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(addr).await.is_err());
    }
}
