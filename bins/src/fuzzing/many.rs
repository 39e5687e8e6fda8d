//! What the targets of many events share: a platform in memory, and what it must answer.
//!
//! The model is a second platform that gets the events one by one, so that batches, pieces and pauses make no
//! difference.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use mini_platform_core::dispatcher::{DispatcherConfig, RoundRobin};
use mini_platform_core::domain::{Etag, EventBatch, ListEntry, ListVersion, MatchMode, Timestamp, WorkerId};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{FraudList, FraudRegistry, WorkerNode};
use mini_platform_core::{Dispatcher, Worker};
use serde_json::Value;

use super::StandingClock;
use crate::http::fuzzing::{EventRules, Pieces, answer, outcome_json, parse_event, rejected_json};
use crate::http::{Api, HttpSettings};

/// Who is on the fraud list.
const LISTED: &str = "Eve Evil";

/// What the first line of an input says: `a` for stopping at the first mistake, then the sizes of the pieces in
/// which the rest arrives, 0 for a pause.
pub(super) struct Choices<'a> {
    pub(super) aborts: bool,
    sizes: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(super) fn of(head: &'a [u8]) -> Self {
        let (first, sizes) = head.split_first().unwrap_or((&b'c', &[]));
        Self { aborts: *first == b'a', sizes }
    }
}

/// An item of a request.
pub(super) enum Sent<'a> {
    Event(&'a [u8]),
    /// It is longer than it may be.
    TooLong,
}

/// Sends events to a platform that has none.
pub(super) async fn post(
    settings: HttpSettings,
    media_type: &str,
    choices: &Choices<'_>,
    body: &[u8],
) -> Response<Bytes> {
    // No input is about the dispatcher's time limit, and a busy machine breaks no law.
    let config = DispatcherConfig::default().with_timeout(Duration::from_secs(300));
    let dispatcher = Dispatcher::new(config, Arc::new(RoundRobin::default()));
    dispatcher.add_member(WorkerId::LOCAL, Arc::new(worker().await));
    let api = Api::new(dispatcher).with_clock(Arc::new(StandingClock));
    let on_error = if choices.aborts { "abort" } else { "continue" };
    let request = Request::post(format!("/v1/events?on_error={on_error}"))
        .header(CONTENT_TYPE, media_type)
        .body(Pieces::cut(body, choices.sizes))
        .expect("the request is made well");
    answer(settings, api, request).await
}

async fn worker() -> Worker {
    let registry = MemoryFraudRegistry::new(MatchMode::Normalized, Arc::new(StandingClock));
    let version = ListVersion::new(Timestamp::UNIX_EPOCH, Etag::new("v1").expect("it is an etag"));
    let chunk = vec![ListEntry::new(LISTED).expect("it is an entry")];
    let list =
        FraudList { version, source: "file:list.txt".to_owned(), chunks: stream::iter([Ok(chunk)]).boxed() };
    registry.replace(list).await.expect("memory takes a list");
    let (events, links) = (MemoryEventStore::default(), MemoryAdjacencyStore::default());
    Worker::new(Arc::new(events), Arc::new(links), Arc::new(registry)).with_clock(Arc::new(StandingClock))
}

/// Checks that results are those of the items, in their order. In an array the pointers start with the place.
pub(super) async fn check(results: &[Value], items: &[Sent<'_>], aborts: bool, in_array: bool) {
    assert_eq!(results.len(), items.len(), "every item has one result");
    let worker = worker().await;
    let mut stopped = false;
    for (place, (result, item)) in results.iter().zip(items).enumerate() {
        let prefix = if in_array { format!("/{place}") } else { String::new() };
        let (expected, id_is_fresh) = if stopped {
            (serde_json::json!({"outcome": "skipped"}), false)
        } else {
            expected(&worker, item, &prefix).await
        };
        stopped |= aborts && expected.get("outcome").is_some_and(|outcome| outcome == "rejected");
        assert!(
            comparable(result, id_is_fresh) == comparable(&expected, id_is_fresh),
            "{result}\n{expected}"
        );
    }
}

/// Returns what one item comes to by itself, and whether it has an id that was made up for it.
async fn expected(worker: &Worker, item: &Sent<'_>, prefix: &str) -> (Value, bool) {
    let Sent::Event(text) = item else {
        let error = serde_json::json!({"code": "body_too_large", "pointer": pointer(None, prefix)});
        return (serde_json::json!({"outcome": "rejected", "error": error}), false);
    };
    let default_currency = "CZK".parse().expect("CZK is a currency");
    let rules = EventRules { kind: None, key: None, default_currency, clock: &StandingClock };
    let json = match parse_event(text, &rules) {
        Ok(event) => {
            let again = parse_event(text, &rules).map(|again| again.id().clone());
            let id_is_fresh = again.as_ref() != Ok(event.id());
            let id = event.id().clone();
            let outcomes = worker.ingest(&EventBatch::single(event)).await.expect("memory does not fail");
            let [outcome] = outcomes.as_slice() else { panic!("one event has one outcome") };
            return (parsed(&outcome_json(&id, outcome)), id_is_fresh);
        }
        Err(mut rejected) => {
            rejected.rejection.pointer = pointer(rejected.rejection.pointer.take(), prefix);
            rejected_json(&rejected)
        }
    };
    (parsed(&json), false)
}

fn pointer(inner: Option<String>, prefix: &str) -> Option<String> {
    let whole = format!("{prefix}{}", inner.unwrap_or_default());
    (!whole.is_empty()).then_some(whole)
}

/// Drops what differs from one run to the next.
fn comparable(result: &Value, id_is_fresh: bool) -> Value {
    let mut result = result.clone();
    let is_null = |value: Option<&Value>| value.is_some_and(Value::is_null);
    if let Some(error) = result.get_mut("error").and_then(Value::as_object_mut) {
        error.shift_remove("detail");
        if is_null(error.get("pointer")) {
            error.shift_remove("pointer");
        }
    }
    if let Some(result) = result.as_object_mut().filter(|_| id_is_fresh) {
        assert!(result.shift_remove("id").is_some(), "an id that was made up is told");
    }
    result
}

pub(super) fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("an answer is JSON")
}

/// Runs to the end what an input starts.
pub(super) fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without sockets starts").block_on(work);
}
