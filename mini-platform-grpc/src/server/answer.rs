//! The body of an answer: it is under way until the peer has taken it, which is not for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::{Body as HttpBody, Frame};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::{Code, Status};

use super::activity::Admission;

/// How long after its deadline an answer may lie around: a caller that gives up says so within that time.
const LATE: Duration = Duration::from_secs(5);

/// How much of an answer is handed on at once, in bytes: as much as goes into a frame. Whatever is handed on waits for the
/// peer out of sight, however long, as soon as there is room for one byte of it.
const PIECE: usize = 16 << 10;

/// Makes what is said last.
type Last = fn() -> Status;

/// When an answer ends that does not end by itself.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// When the time of the call is up, and what is said then.
    pub(super) deadline: Option<(Instant, Last)>,
    /// With the server.
    pub(super) stopping: Option<CancellationToken>,
}

/// What becomes of an answer that the peer does not take.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// How long a part of it may lie around.
    pub(super) idle_timeout: Duration,
    /// Cuts the connection. Nothing less helps: a stream that waits for the peer cannot be ended by itself.
    pub(super) cut: CancellationToken,
}

/// An answer that is under way.
struct Answer {
    body: Body,
    /// What is left of the latest part of the body.
    rest: Bytes,
    _admission: Admission,
    deadline: Option<(Pin<Box<Sleep>>, Last)>,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Whether a part of it waits for the peer.
    untaken: watch::Sender<bool>,
    over: bool,
}

/// Counts an answer as under way until the peer has taken it.
pub(super) fn under_way(body: Body, admission: Admission, ends: Ends, patience: Patience) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let (untaken, taken) = watch::channel(true);
    let deadline = ends.deadline.as_ref().map(|(deadline, _)| *deadline + LATE);
    tokio::spawn(cut_off(taken, deadline, patience));
    Body::new(Answer {
        body,
        rest: Bytes::new(),
        _admission: admission,
        deadline: ends.deadline.map(|(deadline, status)| (Box::pin(sleep_until(deadline)), status)),
        stopping: ends.stopping.map(|stopping| Box::pin(stopping.cancelled_owned())),
        untaken,
        over: false,
    })
}

/// Cuts the connection if an answer stays, or a part of it, that nobody takes.
async fn cut_off(mut untaken: watch::Receiver<bool>, deadline: Option<Instant>, patience: Patience) {
    loop {
        let limit = untaken.borrow_and_update().then(|| Instant::now() + patience.idle_timeout);
        let changed = untaken.changed();
        let changed = match limit.into_iter().chain(deadline).min() {
            Some(limit) => timeout_at(limit, changed).await,
            None => Ok(changed.await),
        };
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::debug!("a peer does not take its answers; its connection is cut");
                return patience.cut.cancel();
            }
        }
    }
}

impl Answer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.piece()))));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| Ok(self.begin(frame?))));
        }
        if let Some((deadline, status)) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.over = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(status())))));
        }
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(cx).is_ready()
        {
            self.over = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(Status::new(Code::Ok, ""))))));
        }
        Poll::Pending
    }
}

impl Answer {
    /// Hands on a frame, or as much of it as goes at once.
    fn begin(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(data) if data.len() > PIECE => {
                self.rest = data;
                Frame::data(self.piece())
            }
            Ok(data) => Frame::data(data),
            Err(frame) => frame,
        }
    }

    fn piece(&mut self) -> Bytes {
        if self.rest.len() > PIECE {
            return self.rest.split_to(PIECE);
        }
        // The last one is copied: it would keep the whole answer.
        Bytes::copy_from_slice(&std::mem::take(&mut self.rest))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let answer = self.get_mut();
        let frame = answer.poll(cx);
        // To be asked for more is to have taken what was there before.
        answer.untaken.send_replace(matches!(frame, Poll::Ready(Some(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.rest.is_empty() && self.body.is_end_stream())
    }
}

fn trailers(status: Status) -> HeaderMap {
    let mut headers = status.into_http::<()>().into_parts().0.headers;
    headers.remove(CONTENT_TYPE);
    headers
}
