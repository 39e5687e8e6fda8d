//! Taking in one event.

use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use mini_platform_core::dispatcher::Ingested;
use mini_platform_core::domain::{EventId, IngestOutcome, Outcome, TraceContext};
use mini_platform_core::trace;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use warp::reply::Response;

use super::body::{self, BodyLimits, MediaType};
use super::event_json::{EventRules, Kind, parse_event};
use super::problem::{Code, Problem};
use super::query::Parameters;
use super::render::{self, ResultWriter};
use super::request::ApiRequest;
use super::routes::Answer;
use super::state::State;

/// The header in which a submitter may send the id of a single event.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header that names the trace of a request (W3C Trace Context). What is no such name is passed over.
const TRACEPARENT: &str = "traceparent";

/// What cannot stand in a path segment as it is.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b'%');

/// Takes in one event of a kind.
pub(super) async fn one(state: &State, kind: Kind, request: ApiRequest) -> Answer {
    Parameters::none(&request.query)?;
    body::media_type(&request.headers, &[MediaType::Json])?;
    let key = idempotency_key(&request.headers)?;
    let limits = BodyLimits { max_bytes: state.settings.max_body, timeout: state.settings.body_timeout };
    let body = body::collect(&request.headers, request.body, limits, &state.body_memory).await?;
    let rules = EventRules {
        kind: Some(kind),
        key,
        default_currency: state.settings.default_currency,
        clock: &*state.clock,
    };
    let event = parse_event(&body.bytes, &rules).map_err(|rejected| rejected.rejection)?;
    let id = event.id().clone();
    let trace = trace_of(&request.headers);
    let taken_in = traced(trace, state.dispatcher.ingest_one(event)).await;
    match taken_in.map_err(|error| state.failed(&error))? {
        Ingested::Finished(outcome) => Ok(answer(&id, &outcome)),
        Ingested::Parked => Ok(parked(&id)),
    }
}

/// Returns the id that was sent as a header.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid_key("stands twice; send it once"));
    }
    let text = value.to_str().map_err(|_| invalid_key("must be printable ASCII without spaces"))?;
    EventId::new(text).map(Some).map_err(invalid_key)
}

/// Returns the trace that a request names, if it names one.
pub(super) fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// Works in a trace, if there is one.
pub(super) async fn traced<T>(trace: Option<TraceContext>, work: impl Future<Output = T>) -> T {
    match trace {
        Some(trace) => trace::within(trace, work).await,
        None => work.await,
    }
}

fn invalid_key(rule: impl std::fmt::Display) -> Problem {
    Problem::new(Code::InvalidField, format!("The Idempotency-Key header {rule}."))
}

fn answer(id: &EventId, outcome: &IngestOutcome) -> Response {
    let mut body = Vec::with_capacity(256);
    ResultWriter::default().outcome(&mut body, id, outcome);
    let mut response = render::answer(status(outcome.outcome), body);
    if outcome.outcome == Outcome::Stored {
        let location = format!("/v1/events/{}", utf8_percent_encode(id.as_str(), SEGMENT));
        if let Ok(location) = HeaderValue::try_from(location) {
            response.headers_mut().insert(LOCATION, location);
        }
    }
    response
}

fn parked(id: &EventId) -> Response {
    let mut body = Vec::with_capacity(64);
    render::write_parked(&mut body, id);
    render::answer(StatusCode::ACCEPTED, body)
}

fn status(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::Stored => StatusCode::CREATED,
        Outcome::Duplicate => StatusCode::OK,
        Outcome::Fraudulent => StatusCode::FORBIDDEN,
        Outcome::Conflict => StatusCode::CONFLICT,
    }
}
