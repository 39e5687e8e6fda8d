//! JSON out: the shapes that clients see.

use std::fmt::Display;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use mini_platform_core::domain::{
    BranchLink, ClientId, Event, EventDetails, EventId, EventScreening, IngestOutcome, Interaction, ListInfo,
    ListVersion, Outcome, Page, Screening, StoredEvent, Timestamp, Verdict,
};
use mini_platform_core::port::ClientOverview;
use serde::{Serialize, Serializer};
use warp::Reply;
use warp::reply::Response;

use super::event_json::{Kind, RejectedEvent};
use super::problem::{Code, Problem, Rejection};
use crate::telemetry::Metrics;

/// Writes a value as JSON. Writing to memory cannot fail; an empty text would say that a shape is broken.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value);
    out
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    if let Err(error) = serde_json::to_writer(out, value) {
        tracing::error!(%error, "an answer could not be written as JSON");
    }
}

/// Makes an answer of JSON.
pub(super) fn answer(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = http::Response::new(body).into_response();
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Makes the answer of a read, which nobody on the way may keep: it is about clients.
pub(super) fn read(status: StatusCode, value: &impl Serialize) -> Response {
    let mut response = answer(status, json(value));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes the answer of what is done and has nothing to tell.
pub(super) fn nothing() -> Response {
    let mut response = http::Response::new("").into_response();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
pub(super) fn optional_text<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[derive(Serialize)]
struct ResultJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    screening: Option<ScreeningJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson<'a>>,
}

#[derive(Serialize)]
struct ScreeningJson<'a> {
    list_version: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
}

impl<'a> ErrorJson<'a> {
    fn new(rejection: &'a Rejection) -> Self {
        let Rejection { code, detail, pointer } = rejection;
        Self { code: code.as_str(), detail, pointer: pointer.as_deref() }
    }
}

/// Writes results of events. Keeps the text of the last list version, which seldom changes.
#[derive(Debug, Default)]
pub(super) struct ResultWriter {
    version: Option<(ListVersion, String)>,
}

impl ResultWriter {
    /// Writes what became of an event that a worker finished.
    pub(super) fn outcome(&mut self, out: &mut Vec<u8>, id: &EventId, outcome: &IngestOutcome) {
        let screening = &outcome.screening;
        let list_version = self.version_text(screening.version());
        let (verdict, party, entry) = match screening {
            EventScreening::Hit { party, entry, .. } => ("hit", Some(party.field()), Some(entry.as_str())),
            EventScreening::Clear { .. } => ("clear", None, None),
            EventScreening::None { .. } => ("none", None, None),
        };
        let screening = Some(ScreeningJson { list_version, verdict, party, entry });
        let error = outcome_error(outcome.outcome);
        write(
            out,
            &ResultJson { id: Some(id.as_str()), outcome: outcome.outcome.as_str(), screening, error },
        );
    }

    fn version_text(&mut self, version: &ListVersion) -> &str {
        if self.version.as_ref().is_none_or(|(known, _)| known != version) {
            self.version = None;
        }
        let (_, text) = self.version.get_or_insert_with(|| (version.clone(), version.to_string()));
        text
    }
}

/// Says why an event that was screened is not stored.
fn outcome_error(outcome: Outcome) -> Option<ErrorJson<'static>> {
    let (code, detail) = match outcome {
        Outcome::Fraudulent => (Code::Fraudulent, "A party is on the fraud list; the event is not stored."),
        Outcome::Conflict => (
            Code::Conflict,
            "Another event has this id; the event is not stored. Send it under an id of its own.",
        ),
        Outcome::Stored | Outcome::Duplicate => return None,
    };
    Some(ErrorJson { code: code.as_str(), detail, pointer: None })
}

/// Writes the result of an event that is wrong.
pub(super) fn write_rejected(out: &mut Vec<u8>, rejected: &RejectedEvent) {
    let error = Some(ErrorJson::new(&rejected.rejection));
    let id = rejected.id.as_ref().map(EventId::as_str);
    write(out, &ResultJson { id, outcome: "rejected", screening: None, error });
}

/// Writes the result of an event of which nothing is promised.
pub(super) fn write_unavailable(out: &mut Vec<u8>, id: &EventId, problem: &Problem) {
    let error = Some(ErrorJson { code: problem.code().as_str(), detail: problem.detail(), pointer: None });
    write(out, &ResultJson { id: Some(id.as_str()), outcome: "unavailable", screening: None, error });
}

/// Writes the result of an event that is kept until it can be finished.
pub(super) fn write_parked(out: &mut Vec<u8>, id: &EventId) {
    write(out, &ResultJson { id: Some(id.as_str()), outcome: "parked", screening: None, error: None });
}

/// Writes the result of an event that was not looked at.
pub(super) fn write_skipped(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"outcome":"skipped"}"#);
}

/// An event as it is answered.
#[derive(Serialize)]
pub(super) struct EventJson<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(flatten)]
    details: DetailsJson<'a>,
    amount: i64,
    currency: &'static str,
    #[serde(serialize_with = "text")]
    occurred_at: Timestamp,
    /// None of an event that is not stored.
    #[serde(serialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
    recorded_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DetailsJson<'a> {
    Transaction { sender: &'a str, receiver: &'a str },
    Operation { client: &'a str, branch: &'a str, operation: &'static str },
}

impl<'a> EventJson<'a> {
    pub(super) fn stored(stored: &'a StoredEvent) -> Self {
        Self { recorded_at: Some(stored.recorded_at), ..Self::new(&stored.event) }
    }

    pub(super) fn new(event: &'a Event) -> Self {
        let (kind, details) = match event.details() {
            EventDetails::Transaction { sender, receiver } => (
                Kind::Transaction.as_str(),
                DetailsJson::Transaction { sender: sender.as_str(), receiver: receiver.as_str() },
            ),
            EventDetails::Operation { client, branch, operation } => (
                Kind::Operation.as_str(),
                DetailsJson::Operation {
                    client: client.as_str(),
                    branch: branch.as_str(),
                    operation: operation.as_str(),
                },
            ),
        };
        Self {
            r#type: kind,
            id: event.id().as_str(),
            details,
            amount: event.amount().minor_units(),
            currency: event.currency().code(),
            occurred_at: event.occurred_at().timestamp(),
            recorded_at: None,
        }
    }
}

/// A client with whom money was exchanged, as it is answered.
#[derive(Serialize)]
pub(super) struct InteractionJson<'a> {
    client: &'a str,
    direction: &'static str,
    #[serde(serialize_with = "text")]
    last_at: Timestamp,
}

impl<'a> InteractionJson<'a> {
    pub(super) fn new(interaction: &'a Interaction) -> Self {
        Self {
            client: interaction.counterparty.as_str(),
            direction: interaction.direction().as_str(),
            last_at: interaction.last_at(),
        }
    }
}

/// A branch that a client used, as it is answered.
#[derive(Serialize)]
pub(super) struct BranchJson<'a> {
    branch: &'a str,
    #[serde(serialize_with = "text")]
    last_at: Timestamp,
}

impl<'a> BranchJson<'a> {
    pub(super) fn new(link: &'a BranchLink) -> Self {
        Self { branch: link.branch.as_str(), last_at: link.last_at }
    }
}

/// A page, as it is answered.
#[derive(Serialize)]
pub(super) struct PageJson<'a, T> {
    items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

impl<'a, T> PageJson<'a, T> {
    pub(super) fn new<D>(page: &'a Page<D>, item: impl Fn(&'a D) -> T) -> Self {
        let next_page_token = page.next.as_ref().map(|token| token.as_str());
        Self { items: page.items.iter().map(item).collect(), next_page_token }
    }
}

/// Everything that is known of a client, as it is answered.
#[derive(Serialize)]
pub(super) struct OverviewJson<'a> {
    client: &'a str,
    transactions: PageJson<'a, EventJson<'a>>,
    operations: PageJson<'a, EventJson<'a>>,
    interactions: PageJson<'a, InteractionJson<'a>>,
    branches: PageJson<'a, BranchJson<'a>>,
}

impl<'a> OverviewJson<'a> {
    pub(super) fn new(client: &'a ClientId, overview: &'a ClientOverview) -> Self {
        Self {
            client: client.as_str(),
            transactions: PageJson::new(&overview.transactions, EventJson::stored),
            operations: PageJson::new(&overview.operations, EventJson::stored),
            interactions: PageJson::new(&overview.interactions, InteractionJson::new),
            branches: PageJson::new(&overview.branches, BranchJson::new),
        }
    }
}

/// The fraud list in force, as it is answered.
#[derive(Serialize)]
pub(super) struct ListJson<'a> {
    #[serde(serialize_with = "text")]
    version: &'a ListVersion,
    entries: u64,
    source: &'a str,
    #[serde(serialize_with = "text")]
    published_at: Timestamp,
    #[serde(serialize_with = "text")]
    loaded_at: Timestamp,
    #[serde(serialize_with = "text")]
    confirmed_at: Timestamp,
}

impl<'a> ListJson<'a> {
    pub(super) fn new(info: &'a ListInfo) -> Self {
        Self {
            version: &info.version,
            entries: info.entries,
            source: &info.source,
            published_at: info.version.published_at(),
            loaded_at: info.loaded_at,
            confirmed_at: info.confirmed_at,
        }
    }
}

/// The verdict on one name, as it is answered.
#[derive(Serialize)]
pub(super) struct CheckJson<'a> {
    #[serde(serialize_with = "text")]
    list_version: &'a ListVersion,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
}

impl<'a> CheckJson<'a> {
    /// Returns `None` when there is not one verdict.
    pub(super) fn new(screening: &'a Screening) -> Option<Self> {
        let [verdict] = screening.verdicts.as_slice() else { return None };
        let (verdict, entry) = match verdict {
            Verdict::Clear => ("clear", None),
            Verdict::Hit { entry } => ("hit", Some(entry.as_str())),
        };
        Some(Self { list_version: &screening.version, verdict, entry })
    }
}

/// Says that there is no list to answer.
pub(super) fn no_fraud_list() -> Problem {
    Problem::new(Code::NoFraudList, "No fraud list is loaded yet.").with_status(StatusCode::NOT_FOUND)
}

/// Answers metrics as Prometheus reads them.
pub(super) fn metrics(metrics: &Metrics) -> Response {
    let mut response = http::Response::new(metrics.render()).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

/// Drops the body of an answer to HEAD and keeps its length.
pub(super) fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body).exact() {
        parts.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    http::Response::from_parts(parts, "").into_response()
}
