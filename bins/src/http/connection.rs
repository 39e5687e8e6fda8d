//! One connection, from its first byte to its last.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::serving::Serving;
use super::socket::Socket;

/// The longest head of a request, and how much of a body is read ahead, in bytes.
const READ_BUFFER: usize = 64 << 10;

/// The most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// How much of a request body an HTTP/2 client may send ahead, in bytes.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 512 << 10;

/// How often a silent HTTP/2 client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Makes what turns sockets into HTTP connections.
pub(super) fn builder(serving: &Serving) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Some clients close their sending side when they have sent all; they still get their answer.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(serving.header_timeout)
        .max_buf_size(READ_BUFFER)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL);
    builder
}

/// What is known of the requests of one connection.
#[derive(Debug, Default)]
struct Seen {
    any_request: AtomicBool,
    /// Whether the last answer may have left before its request was read to the end.
    early_answer: Arc<AtomicBool>,
}

/// Serves one connection until it ends, or until the server stops and what was accepted is answered.
pub(super) async fn serve(
    stream: TcpStream,
    builder: Builder<TokioExecutor>,
    filter: BoxedFilter<(Response,)>,
    serving: Arc<Serving>,
) {
    let seen = Arc::new(Seen::default());
    let socket = Socket::new(stream, serving.write_timeout, Arc::clone(&seen.early_answer));
    let inner = TowerToHyperService::new(warp::service(filter));
    let service = service_fn({
        let seen = Arc::clone(&seen);
        move |request: http::Request<Incoming>| answer(&inner, request, Arc::clone(&seen))
    });
    let mut connection = pin!(builder.serve_connection(socket, service));
    // Until the first request there is no limit of time but this one.
    let mut first_request = pin!(tokio::time::sleep(serving.header_timeout));
    let (mut accepting, mut waiting) = (true, true);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke off");
                }
                return;
            }
            () = serving.stopping.cancelled(), if accepting => {
                accepting = false;
                connection.as_mut().graceful_shutdown();
            }
            () = first_request.as_mut(), if waiting => {
                waiting = false;
                if !seen.any_request.load(Ordering::Relaxed) {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn answer<S: Service<http::Request<Incoming>, Response = Response>>(
    inner: &S,
    request: http::Request<Incoming>,
    seen: Arc<Seen>,
) -> impl Future<Output = Result<Response, S::Error>> + use<S> {
    seen.any_request.store(true, Ordering::Relaxed);
    let answer = inner.call(request);
    async move {
        let response = answer.await?;
        seen.early_answer.store(!response.status().is_success(), Ordering::Relaxed);
        Ok(response)
    }
}
