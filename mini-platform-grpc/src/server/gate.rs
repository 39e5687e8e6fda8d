//! What every request passes: the limit of requests at once, and the time that its caller gives it.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response};
use mini_platform_core::deadline;
use mini_platform_core::error::{Fault, FaultKind};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::service::Routes;
use tower::Service;

use super::activity::ServerActivity;
use super::timeout;
use crate::{status, v1};

/// How long a request may take whose caller does not say: longer than anybody waits, and not for ever.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a caller should wait who comes when there are too many: most requests are over by then.
const PAUSE: Duration = Duration::from_millis(100);

/// What a stream, which outlives its first answer, takes from its request.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    /// Held for as long as the stream lasts: it counts as under way.
    _permit: Arc<OwnedSemaphorePermit>,
    /// When the caller gives up.
    pub(crate) deadline: Option<Instant>,
}

/// Lets requests through to the services.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    routes: Routes,
    activity: ServerActivity,
}

impl Gate {
    pub(super) fn new(routes: Routes, activity: ServerActivity) -> Self {
        Self { routes, activity }
    }

    fn enter(&self, path: &str) -> Option<OwnedSemaphorePermit> {
        if is_work(path) { self.activity.requests.enter() } else { self.activity.control.enter() }
    }
}

/// Tells work from what keeps a cluster together, which work must not keep out.
fn is_work(path: &str) -> bool {
    let Some((service, call)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return false;
    };
    match service {
        v1::worker_service_server::SERVICE_NAME => call != "Identify",
        v1::ingest_service_server::SERVICE_NAME => true,
        _ => false,
    }
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(permit) = self.enter(request.uri().path()) else {
            return Box::pin(std::future::ready(Ok(status::overloaded(PAUSE).into_http())));
        };
        let permit = Arc::new(permit);
        let limit = timeout::of(request.headers());
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        request.extensions_mut().insert(Admission { _permit: Arc::clone(&permit), deadline });
        let answer = self.routes.call(request);
        Box::pin(async move {
            let answer = AssertUnwindSafe(answer).catch_unwind();
            let answer = deadline::within(limit.unwrap_or(LONGEST).min(LONGEST), answer).await;
            drop(permit);
            match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Ok(broke_down().into_http()),
                Err(_) => Ok(Status::deadline_exceeded("the time of the call is up").into_http()),
            }
        })
    }
}

/// Answers a request that panicked: the caller is to know that there is somebody, and that another would fare no better.
fn broke_down() -> Status {
    tracing::error!("a request panicked; the panic is logged above");
    status::fault_to_status(&Fault::new("server", "answer the request", FaultKind::Internal))
}
