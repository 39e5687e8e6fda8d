//! What is read back from the parking lot and from the long-term log.
//!
//! The laws:
//! - bytes that are no parked event or record are refused with words that are not theirs;
//! - what is read is JSON, holds the event that HTTP finds in it, and is the same when it is written and read again,
//!   as a record in one line;
//! - any event that HTTP takes can be parked and logged, and is the same when it is read;
//! - a parcel of the first schema holds the same event.

use mini_platform_core::codec::{DecodeError, ParkedEvent};
use mini_platform_core::domain::{
    Etag, Event, EventScreening, ListVersion, LogRecord, OccurredAt, Outcome, ParcelContent, TraceContext,
    WorkerId,
};
use mini_platform_core::error::Causes;
use mini_platform_core::port::Clock;
use serde_json::Value;

use super::StandingClock;
use crate::http::fuzzing::{EventRules, parse_event};

/// Checks the laws of parcels and records.
pub fn parcel(input: &[u8]) {
    if let Ok(content) = ParcelContent::new(input.to_vec()) {
        match ParkedEvent::decode(&content) {
            Ok(parked) => {
                holds_what_is_written(input, &parked.event);
                comes_back(&parked);
            }
            Err(error) => tells_nothing(&error),
        }
    }
    match LogRecord::from_json(input) {
        Ok(record) => {
            holds_what_is_written(input, &record.event);
            is_read_again(&record);
        }
        Err(error) => tells_nothing(&error),
    }
    if let Some(event) = by_http(input) {
        can_be_kept(&event);
    }
}

fn by_http(json: &[u8]) -> Option<Event> {
    let default_currency = "CZK".parse().expect("CZK is a currency");
    let rules = EventRules { kind: None, key: None, default_currency, clock: &StandingClock };
    parse_event(json, &rules).ok()
}

/// Checks an event that was read against what HTTP takes it for.
fn holds_what_is_written(json: &[u8], event: &Event) {
    let mut written: Value = serde_json::from_slice(json).expect("what is read is JSON");
    let Some(fields) = written.get_mut("event").and_then(Value::as_object_mut) else { return };
    let is_untimed = fields.shift_remove("untimed") == Some(Value::Bool(true));
    if !fields.values().all(|value| value.is_string() || value.is_number()) {
        // Forms that nobody writes, such as null for a field that is left out.
        return;
    }
    let sent = serde_json::to_vec(fields).expect("JSON is written");
    let other = by_http(&sent).expect("HTTP takes the event, too");
    let said =
        |event: &Event| (event.id().clone(), event.details().clone(), event.amount(), event.currency());
    assert!(said(event) == said(&other), "another event is read");
    let at = other.occurred_at().timestamp();
    let occurred_at = if is_untimed { OccurredAt::Received(at) } else { OccurredAt::Given(at) };
    assert!(event.occurred_at() == occurred_at, "another time is read");
}

fn comes_back(parked: &ParkedEvent) {
    for trace in [parked.trace, None] {
        let parked = ParkedEvent { trace, ..parked.clone() };
        let content = parked.encode().expect("an event fits into a parcel");
        let again = ParkedEvent::decode(&content).expect("what is written can be read");
        assert!(again == parked, "a parcel holds something else");
    }
}

fn is_read_again(record: &LogRecord) {
    let json = record.to_json();
    assert!(!json.contains(&b'\n'), "a record is one line");
    let again = LogRecord::from_json(&json).expect("what is written can be read");
    assert!(again == *record, "a record says something else");
}

fn can_be_kept(event: &Event) {
    let received_at = StandingClock.now();
    let trace = TraceContext::new(u128::MAX, u64::MAX).expect("the ids are not zero");
    comes_back(&ParkedEvent { event: event.clone(), received_at, trace: Some(trace) });
    let etag = Etag::new("v1").expect("it is an etag");
    is_read_again(&LogRecord {
        event: event.clone(),
        outcome: Outcome::Stored,
        screening: EventScreening::Clear { version: ListVersion::new(received_at, etag) },
        recorded_at: matches!(event.occurred_at(), OccurredAt::Given(_)).then_some(received_at),
        worker: WorkerId::LOCAL,
        received_at,
        finished_at: received_at,
        trace,
    });
}

/// Checks that an error is made of the words of this program.
fn tells_nothing(error: &DecodeError) {
    let text = Causes(error).to_string();
    let known = match error {
        DecodeError::Form(_) => {
            let place = text.strip_prefix("not of its form: ").and_then(|text| text.split_once(" at line "));
            let (category, place) = place.expect("it says what and where");
            let digits = place.replace(" column ", "");
            let categories = ["no JSON", "a field that breaks its rule", "an early end"];
            categories.contains(&category) && digits.bytes().all(|byte| byte.is_ascii_digit())
        }
        DecodeError::Schema { found, newest } => !(1..=*newest).contains(found),
        _ => false,
    };
    assert!(known, "an error says more than it may: {text}");
}
