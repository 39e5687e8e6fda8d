//! The body of one event.
//!
//! The laws:
//! - what is taken says in every field what another JSON reader finds there, and nothing besides, and keeps the rules
//!   that clients are told;
//! - it is the same event again when it is sent as it is answered, as a path of its kind takes it, and over gRPC;
//! - what is refused as no JSON is none, and what is refused for a field breaks the rule of that field;
//! - a problem repeats names of fields at most, never a value.
//!
//! The first line says what the path is for: `t`, `o`, or anything else for both kinds; `k` starts an
//! Idempotency-Key, which goes to the end of the line.

use mini_platform_core::domain::{
    Currency, Event, EventDetails, EventId, OccurredAt, StoredEvent, Timestamp,
};
use mini_platform_core::port::Clock;
use mini_platform_grpc::convert::event_from;
use mini_platform_grpc::v1;
use serde_json::Value;

use super::json::{self, Object};
use super::{StandingClock, first_line};
use crate::http::fuzzing::{Code, EventRules, Kind, RejectedEvent, event_json, parse_event, without_mark};

/// Every field that an event of either kind has.
const FIELDS: [&str; 10] = [
    "type",
    "id",
    "sender",
    "receiver",
    "client",
    "branch",
    "operation",
    "amount",
    "currency",
    "occurred_at",
];

/// The longest name of a field that a problem repeats, in characters.
const MAX_SHOWN_NAME: usize = 64;

/// Checks the laws of one event body.
pub fn http_body(input: &[u8]) {
    let (head, json) = first_line(input);
    let rules = rules_of(head);
    match parse_event(json, &rules) {
        Ok(event) => taken(&event, without_mark(json), &rules),
        Err(rejected) => refused(&rejected, without_mark(json), &rules),
    }
}

fn rules_of(head: &[u8]) -> EventRules<'static> {
    let mut rest = head.splitn(2, |byte| *byte == b'k');
    let kind = match rest.next().and_then(<[u8]>::first) {
        Some(b't') => Some(Kind::Transaction),
        Some(b'o') => Some(Kind::Operation),
        _ => None,
    };
    let key = rest.next().and_then(|key| EventId::new(String::from_utf8_lossy(key)).ok());
    rules(kind, key)
}

fn rules(kind: Option<Kind>, key: Option<EventId>) -> EventRules<'static> {
    EventRules { kind, key, default_currency: default_currency(), clock: &StandingClock }
}

fn default_currency() -> Currency {
    "CZK".parse().expect("CZK is a currency")
}

fn kind_of(event: &Event) -> Kind {
    match event.details() {
        EventDetails::Transaction { .. } => Kind::Transaction,
        EventDetails::Operation { .. } => Kind::Operation,
    }
}

fn other(kind: Kind) -> Kind {
    match kind {
        Kind::Transaction => Kind::Operation,
        Kind::Operation => Kind::Transaction,
    }
}

fn taken(event: &Event, json: &[u8], rules: &EventRules<'_>) {
    let object: Object = serde_json::from_slice(json).expect("what is taken is a JSON object");
    for (name, value) in &object.0 {
        assert!(FIELDS.contains(&name.as_str()), "an unknown field was taken");
        assert!(keeps_its_rule(name, value), "{name} was taken against its rule");
        assert_eq!(object.count(name), 1, "a field was taken twice");
    }
    says_the_same(event, &object, rules);
    comes_back(event);
    agrees_with_grpc(event);
}

/// Checks each field of an event against what was sent.
fn says_the_same(event: &Event, object: &Object, rules: &EventRules<'_>) {
    let text = |name| object.field(name).map(|value| value.as_str().expect("it was taken as text"));
    let kind = kind_of(event);
    assert!(text("type").is_none_or(|name| name == kind.as_str()));
    assert!(rules.kind.is_none_or(|expected| expected == kind));
    match (text("id"), &rules.key) {
        (Some(id), key) => {
            assert_eq!(id, event.id().as_str());
            assert!(key.as_ref().is_none_or(|key| key == event.id()), "one of two ids was passed over");
        }
        (None, Some(key)) => assert_eq!(key, event.id()),
        (None, None) => assert_eq!(event.id().as_str().len(), 36, "an id is made up when none is sent"),
    }
    let parties = match event.details() {
        EventDetails::Transaction { sender, receiver } => {
            assert_ne!(sender, receiver, "nobody pays themselves");
            [Some(sender.as_str()), Some(receiver.as_str()), None, None, None]
        }
        EventDetails::Operation { client, branch, operation } => {
            [None, None, Some(client.as_str()), Some(branch.as_str()), Some(operation.as_str())]
        }
    };
    assert_eq!(["sender", "receiver", "client", "branch", "operation"].map(text), parties);
    assert_eq!(object.field("amount").and_then(Value::as_i64), Some(event.amount().minor_units()));
    assert_eq!(text("currency").unwrap_or(rules.default_currency.code()), event.currency().code());
    let given = text("occurred_at").map(|at| at.parse().expect("it was taken as a time"));
    assert_eq!(given.map_or(OccurredAt::Received(rules.clock.now()), OccurredAt::Given), event.occurred_at());
}

/// Checks that an event is the same when it is sent as it is answered.
fn comes_back(event: &Event) {
    let stored = StoredEvent { event: event.clone(), recorded_at: StandingClock.now() };
    let mut answered: serde_json::Map<String, Value> =
        serde_json::from_slice(&event_json(&stored)).expect("an answer is a JSON object");
    assert!(answered.shift_remove("recorded_at").is_some());
    let sent = serde_json::to_vec(&answered).expect("JSON is written");
    let kind = kind_of(event);
    for expected in [None, Some(kind)] {
        let again = parse_event(&sent, &rules(expected, None)).expect("what is answered can be sent");
        assert!(again.is_resend_of(event) && event.is_resend_of(&again));
        assert_eq!(again.occurred_at(), OccurredAt::Given(event.occurred_at().timestamp()));
    }
    assert!(parse_event(&sent, &rules(Some(other(kind)), None)).is_err(), "a path takes its own kind only");
}

/// Checks that an event is the same over gRPC.
fn agrees_with_grpc(event: &Event) {
    let received_at = StandingClock.now();
    let again = event_from(v1::Submission::from(event), default_currency(), received_at, || None);
    assert!(again.as_ref() == Ok(event), "gRPC takes what HTTP takes");
}

fn refused(rejected: &RejectedEvent, json: &[u8], rules: &EventRules<'_>) {
    let RejectedEvent { id, rejection } = rejected;
    let object: Option<Object> = serde_json::from_slice(json).ok();
    if rejection.code == Code::InvalidJson {
        assert!(object.is_none() && rejection.pointer.is_none(), "it is JSON");
    } else {
        assert!(json::is_object(json), "what is no JSON has no fields");
    }
    let Some(object) = object else { return };
    if let Some(id) = id {
        let sent = || object.field("id").and_then(Value::as_str);
        assert!(
            rules.key.as_ref() == Some(id) || sent() == Some(id.as_str()),
            "it was sent under no such id"
        );
    }
    let field = rejection.pointer.as_deref().map(|pointer| {
        let name = pointer.strip_prefix('/').expect("a pointer starts with a slash");
        name.replace("~1", "/").replace("~0", "~")
    });
    points_to_a_mistake(rejection.code, field.as_deref().expect("a field is wrong"), &object, rules);
    if object.0.iter().all(|(name, _)| name.is_ascii()) {
        // Whatever this says in its own words is ASCII.
        assert!(rejection.detail.is_ascii(), "a value is repeated");
    }
}

fn points_to_a_mistake(code: Code, field: &str, object: &Object, rules: &EventRules<'_>) {
    let count = object.count(field);
    let text = |name| object.field(name).and_then(Value::as_str);
    let kind = rules.kind.map(Kind::as_str).or_else(|| text("type"));
    match code {
        Code::MissingField => {
            assert_eq!(count, 0, "{field} is not missing");
            assert!(is_required(field, kind), "{field} may be missing");
        }
        Code::DuplicateField => assert!(count > 1, "{field} stands there once"),
        Code::UnknownField if !FIELDS.contains(&field) => {
            let shown = |name: &str| name.chars().take(MAX_SHOWN_NAME).eq(field.chars());
            assert!(object.0.iter().any(|(name, _)| shown(name)), "there is no such field");
        }
        Code::UnknownField => {
            assert!(count > 0, "there is no such field");
            assert!(!is_required(field, kind) && only_of(field).is_some(), "{field} is a field of this kind");
        }
        Code::SameParty => {
            assert_eq!(field, "receiver");
            assert_eq!(text("sender").expect("there is a sender"), text(field).expect("there is a receiver"));
        }
        Code::InvalidField => {
            let value = object.field(field).expect("there is such a field");
            let other_kind = || field == "type" && value.as_str() != kind;
            let other_id = || {
                field == "id" && rules.key.as_ref().is_some_and(|key| value.as_str() != Some(key.as_str()))
            };
            assert!(
                !keeps_its_rule(field, value) || other_kind() || other_id(),
                "{field} is refused within its rule"
            );
        }
        code => panic!("an event is not refused as {}", code.as_str()),
    }
}

/// Returns the kind of event that alone has a field, if one of them does.
fn only_of(field: &str) -> Option<&'static str> {
    match field {
        "sender" | "receiver" => Some("transaction"),
        "client" | "branch" | "operation" => Some("operation"),
        _ => None,
    }
}

fn is_required(field: &str, kind: Option<&str>) -> bool {
    match field {
        "type" => kind.is_none(),
        "amount" => true,
        field => only_of(field).is_some_and(|only| kind == Some(only)),
    }
}

/// Whether a field may hold a value, as clients are told.
fn keeps_its_rule(field: &str, value: &Value) -> bool {
    let is_id =
        |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_name = |text: &str| {
        (1..=256).contains(&text.len()) && text.trim() == text && !text.contains(char::is_control)
    };
    match (field, value.as_str()) {
        ("amount", None) => value.as_i64().is_some_and(|units| units > 0),
        ("type", Some(text)) => ["transaction", "operation"].contains(&text),
        ("operation", Some(text)) => ["deposit", "withdraw"].contains(&text),
        ("id", Some(text)) => is_id(text),
        ("sender" | "receiver" | "client" | "branch", Some(text)) => is_name(text),
        ("currency", Some(text)) => text.len() == 3 && text.parse::<Currency>().is_ok(),
        ("occurred_at", Some(text)) => text.parse::<Timestamp>().is_ok(),
        _ => false,
    }
}
