//! The door through which fuzz targets reach what is private here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use mini_platform_core::domain::{EventId, IngestOutcome, StoredEvent};

pub(crate) use super::event_json::{EventRules, Kind, RejectedEvent, parse_event, without_mark};
pub(crate) use super::problem::Code;
use super::render::{self, EventJson, ResultWriter};
use super::serving::Serving;
use super::settings::HttpSettings;
use super::state::{Api, State};

/// Writes an event as it is answered.
pub(crate) fn event_json(stored: &StoredEvent) -> Vec<u8> {
    render::json(&EventJson::stored(stored))
}

/// Writes the result of an event that a worker finished.
pub(crate) fn outcome_json(id: &EventId, outcome: &IngestOutcome) -> Vec<u8> {
    let mut out = Vec::new();
    ResultWriter::default().outcome(&mut out, id, outcome);
    out
}

/// Writes the result of an event that is wrong.
pub(crate) fn rejected_json(rejected: &RejectedEvent) -> Vec<u8> {
    let mut out = Vec::new();
    render::write_rejected(&mut out, rejected);
    out
}

/// Answers a request without a socket. The client reads the answer to its end.
pub(crate) async fn answer(settings: HttpSettings, api: Api, request: Request<Pieces>) -> Response<Bytes> {
    let state = State::new(settings.clone(), api, &Serving::new(&settings));
    let service = TowerToHyperService::new(warp::service(super::routes::routes(Arc::new(state))));
    let answered: Result<_, Infallible> = service.call(request).await;
    let (head, body) = answered.unwrap_or_else(|never| match never {}).into_parts();
    let whole = body.collect().await.map(http_body_util::Collected::to_bytes);
    Response::from_parts(head, whole.unwrap_or_default())
}

/// A body that comes in pieces, with a pause in the place of an empty one.
#[derive(Debug)]
pub(crate) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// Cuts a content into pieces of these sizes; what is left is the last piece.
    pub(crate) fn cut(content: &[u8], sizes: &[u8]) -> Self {
        let mut rest = Bytes::copy_from_slice(content);
        let cut = |size: &u8| rest.split_to(usize::from(*size).min(rest.len()));
        let mut pieces: VecDeque<_> = sizes.iter().map(cut).collect();
        pieces.push_back(rest);
        Self(pieces)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop_front() {
            Some(piece) if piece.is_empty() => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            piece => Poll::Ready(piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }
}
