//! The body of a request that may go on for as long as the server does.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body as HttpBody, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::codegen::{Bytes, StdError};

/// A body that ends with the server.
struct Question<B> {
    body: Pin<Box<B>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Ends a body when `stopping` is cancelled: whoever waits for what follows would hold the server up.
pub(super) fn until<B>(stopping: CancellationToken, body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    Body::new(Question { body: Box::pin(body), stopping: Box::pin(stopping.cancelled_owned()) })
}

impl<B: HttpBody> HttpBody for Question<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let question = self.get_mut();
        match question.body.as_mut().poll_frame(cx) {
            Poll::Pending if question.stopping.as_mut().poll(cx).is_ready() => Poll::Ready(None),
            frame => frame,
        }
    }
}
