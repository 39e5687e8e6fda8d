//! Taking in a JSON array of events.
//!
//! The array is checked as a whole first, so that a text that is no JSON takes in nothing. Its items are then parsed
//! one by one, as the results leave.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::de::IgnoredAny;
use warp::Reply;

use super::body::{self, BodyLimits, WholeBody};
use super::event_json;
use super::pipeline::{Framing, Item, Manner, Pipeline, Results, Source};
use super::problem::{Code, Rejection};
use super::request::ApiRequest;
use super::routes::Answer;
use super::state::State;

/// The longest text that is checked at once. Longer ones are checked on a thread where they keep nobody waiting.
const QUICK_CHECK_BYTES: usize = 256 << 10;

/// Takes in many events, as one array.
pub(super) async fn many(state: Arc<State>, request: ApiRequest) -> Answer {
    let manner = Manner::of(&request)?;
    let limits = BodyLimits { max_bytes: state.settings.max_array, timeout: state.settings.body_timeout };
    let body = body::collect(&request.headers, request.body, limits, &state.body_memory).await?;
    check(&body.bytes).await?;
    let source = Items::new(body);
    let results = Results::new(Pipeline::new(source, state, manner, Framing::Array));
    let mut response = warp::reply::stream(results).into_response();
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Checks that a text is one JSON array.
async fn check(json: &Bytes) -> Result<(), Rejection> {
    if json.len() <= QUICK_CHECK_BYTES {
        return is_array(json);
    }
    let json = json.clone();
    let checked = tokio::task::spawn_blocking(move || is_array(&json)).await;
    checked
        .unwrap_or_else(|_| Err(Rejection::new(Code::Internal, "The array could not be checked; resend it.")))
}

fn is_array(json: &[u8]) -> Result<(), Rejection> {
    let json = event_json::without_mark(json);
    serde_json::from_slice::<IgnoredAny>(json).map_err(|error| event_json::broken(&error))?;
    match json.trim_ascii_start() {
        [b'[', ..] => Ok(()),
        _ => Err(Rejection::new(
            Code::InvalidJson,
            "Many events are a JSON array, found something else; one event goes to a path of its kind.",
        )),
    }
}

/// The items of an array that was checked.
struct Items {
    body: WholeBody,
    /// Where the next item, or what separates it, starts.
    position: usize,
}

impl Items {
    fn new(body: WholeBody) -> Self {
        let opening = body.bytes.iter().position(|byte| *byte == b'[');
        Self { position: opening.map_or(body.bytes.len(), |at| at + 1), body }
    }

    /// Returns where the next item starts and ends.
    fn next_item(&self) -> Option<std::ops::Range<usize>> {
        let rest = self.body.bytes.get(self.position..)?;
        let start = rest.iter().position(|byte| !is_between_items(*byte))?;
        let mut values = serde_json::Deserializer::from_slice(rest.get(start..)?).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let start = self.position + start;
        Some(start..start + values.byte_offset())
    }
}

/// Whether a byte stands before an item. A `]` in its place is no value, which ends the items.
fn is_between_items(byte: u8) -> bool {
    byte == b',' || byte.is_ascii_whitespace()
}

impl Source for Items {
    fn poll_item<T>(&mut self, _: &mut Context<'_>, take: impl FnOnce(Item<'_>) -> T) -> Poll<Option<T>> {
        let Some(range) = self.next_item() else { return Poll::Ready(None) };
        self.position = range.end;
        Poll::Ready(self.body.bytes.get(range).map(|item| take(Item::Text(item))))
    }
}
