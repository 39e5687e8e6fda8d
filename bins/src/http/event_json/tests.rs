use mini_platform_core::domain::{EventDetails, OccurredAt, Timestamp};

use super::*;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-02-01T12:00:00Z".parse().unwrap()
    }
}

fn rules(kind: Option<Kind>) -> EventRules<'static> {
    EventRules { kind, key: None, default_currency: "CZK".parse().unwrap(), clock: &Noon }
}

/// Returns the code and the pointer of what is wrong.
fn flaw(json: &str, kind: Option<Kind>) -> (&'static str, Option<String>) {
    let rejection = parse_event(json.as_bytes(), &rules(kind)).expect_err(json).rejection;
    (rejection.code.as_str(), rejection.pointer)
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let json = br#"{"amount":9223372036854775807,"operation":"withdraw","branch":"N","client":"A","type":"operation"}"#;
    let event = parse_event(json, &rules(None)).unwrap();
    assert_eq!(event.amount().minor_units(), i64::MAX);
    assert!(matches!(event.details(), EventDetails::Operation { .. }));
    assert_eq!(event.occurred_at(), OccurredAt::Received(Noon.now()));
    assert_eq!(event.currency().code(), "CZK");
}

#[test]
fn the_first_thing_that_is_wrong_is_reported() {
    let flaw = |json| flaw(json, Some(Kind::Transaction));
    assert_eq!(flaw(r#"{"amount":0,"colour":1}"#), ("invalid_field", Some("/amount".into())));
    assert_eq!(flaw(r#"{"colour":1,"amount":0}"#), ("unknown_field", Some("/colour".into())));
    assert_eq!(flaw(r#"{"id":"a","id":7,"amount":0}"#), ("duplicate_field", Some("/id".into())));
    assert_eq!(flaw(r#"{"amount":0,"#), ("invalid_json", None), "what is no JSON has no fields");
}

#[test]
fn nested_values_are_read_past() {
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(flaw(&deep, None), ("unknown_field", Some("/x".into())));
    let object = r#"{"sender":{"a":[{"b":"\u00e9"}],"c":1e999}}"#;
    assert_eq!(flaw(object, Some(Kind::Transaction)), ("invalid_field", Some("/sender".into())));
}

#[test]
fn a_number_beyond_all_bounds_hides_nothing() {
    let flaw = |json| flaw(json, Some(Kind::Transaction));
    assert_eq!(flaw(r#"{"amount":1e999}"#), ("invalid_field", Some("/amount".into())));
    assert_eq!(flaw(r#"{"colour":1,"amount":1e999}"#), ("unknown_field", Some("/colour".into())));
    assert_eq!(flaw(r#"{"amount":1,"amount":1e999}"#), ("duplicate_field", Some("/amount".into())));
    assert_eq!(flaw(r#"{"amount":1e999,"#), ("invalid_json", None), "what is no JSON has no fields");
}

#[test]
fn the_name_of_an_unknown_field_is_cut() {
    let json = format!(r#"{{"{}":1}}"#, "n".repeat(10_000));
    let (_, pointer) = flaw(&json, None);
    assert_eq!(pointer.map(|pointer| pointer.len()), Some(65));
}

#[test]
fn a_rejected_event_keeps_its_id_when_that_is_right() {
    let id = |json: &[u8]| parse_event(json, &rules(None)).unwrap_err().id.map(|id| id.to_string());
    assert_eq!(id(br#"{"id":"e1","amount":0}"#).as_deref(), Some("e1"));
    assert_eq!(id(br#"{"amount":0,"id":"e1"}"#).as_deref(), Some("e1"));
    assert_eq!(id(br#"{"id":"e 1","amount":0}"#), None);
}

#[test]
fn a_field_of_the_other_kind_is_unknown_wherever_the_type_stands() {
    for json in [r#"{"type":"operation","sender":"A"}"#, r#"{"sender":"A","type":"operation"}"#] {
        assert_eq!(flaw(json, None), ("unknown_field", Some("/sender".into())));
    }
}

#[test]
fn what_was_expected_and_what_was_found_is_said() {
    let detail = |json: &str| parse_event(json.as_bytes(), &rules(None)).unwrap_err().rejection.detail;
    assert_eq!(detail(r#"{"amount":"1"}"#), "`amount` must be a number, found text.");
    assert_eq!(
        detail(r#"{"sender":null}"#),
        "`sender` must be text, found null; leave out what is not known."
    );
    assert_eq!(detail(r#"{"operation":"gift"}"#), "`operation` must be \"deposit\" or \"withdraw\".");
    assert_eq!(detail("[]"), "An event is a JSON object, found an array.");
}
