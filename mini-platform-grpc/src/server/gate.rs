//! What every request passes: the limit of requests at once, and the time that its caller gives it.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response};
use mini_platform_core::deadline;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::service::Routes;
use tower::Service;

use super::activity::{Admission, Limit, ServerActivity};
use super::answer::{self, Ends, Patience};
use super::call::Call;
use super::{question, timeout};
use crate::status;

/// How long a caller should wait who comes when there are too many: most requests are over by then.
const PAUSE: Duration = Duration::from_millis(100);

/// The most requests about the server and the cluster that a connection may have under way. A worker has one heartbeat
/// at a time, and a dispatcher dials once; the room is the connection's own, so that no peer takes that of another.
const MAX_CONTROL: usize = 64;

/// Lets requests of one connection through to the services.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    routes: Routes,
    activity: ServerActivity,
    control: Limit,
    patience: Patience,
    stopping: CancellationToken,
}

impl Gate {
    /// Makes the gate of which each connection gets its own.
    pub(super) fn new(
        routes: Routes,
        activity: ServerActivity,
        idle_timeout: Duration,
        stopping: CancellationToken,
    ) -> Self {
        let patience = Patience { idle_timeout, cut: CancellationToken::new() };
        Self { routes, activity, control: Limit::new(MAX_CONTROL), patience, stopping }
    }

    /// Makes the gate of a connection, which ends when `cut` is cancelled.
    pub(super) fn of_connection(&self, cut: CancellationToken) -> Self {
        let patience = Patience { cut, ..self.patience.clone() };
        Self { control: Limit::new(MAX_CONTROL), patience, ..self.clone() }
    }

    fn admit(&self, call: Call) -> Option<Admission> {
        if call.is_work { self.activity.admit_work() } else { self.activity.admit_control(&self.control) }
    }

    /// Says when the answer to a call ends, which may take so long.
    fn ends(&self, call: Call, limit: Option<Duration>) -> Ends {
        let limit = if call.is_stream { limit } else { Some(time_of(call, limit)) };
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let deadline = deadline.map(|deadline| (deadline, time_is_up(call)));
        // Streams of work end by themselves, after what was read.
        let stopping = (call.is_stream && !call.is_work).then(|| self.stopping.clone());
        Ends { deadline, stopping }
    }
}

/// How long it may take until the answer begins.
fn time_of(call: Call, limit: Option<Duration>) -> Duration {
    limit.map_or(call.longest(), |limit| limit.min(call.longest()))
}

impl<B> Service<Request<B>> for Gate
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = Call::of(request.uri().path());
        let Some(admission) = self.admit(call) else {
            return Box::pin(std::future::ready(Ok(status::overloaded(PAUSE).into_http())));
        };
        let limit = timeout::of(request.headers());
        let ends = self.ends(call, limit);
        let patience = self.patience.clone();
        let request = request.map(|body| match &ends.stopping {
            Some(stopping) => question::until(stopping.clone(), body),
            None => Body::new(body),
        });
        let answer = AssertUnwindSafe(self.routes.call(request)).catch_unwind();
        Box::pin(async move {
            match deadline::within(time_of(call, limit), answer).await {
                Ok(Ok(answer)) => {
                    answer.map(|answer| answer.map(|body| answer::under_way(body, admission, ends, patience)))
                }
                Ok(Err(_)) => Ok(broke_down(call).into_http()),
                Err(_) => Ok(time_is_up(call)().into_http()),
            }
        })
    }
}

fn time_is_up(call: Call) -> fn() -> Status {
    if call.is_workers { status::time_is_up } else { status::time_is_up_for_client }
}

/// Answers a request that panicked: the caller is to know that there is somebody, and that another would fare no better.
fn broke_down(call: Call) -> Status {
    tracing::error!("a request panicked; the panic is logged above");
    if call.is_workers { status::worker_broke_down() } else { status::dispatcher_broke_down() }
}
