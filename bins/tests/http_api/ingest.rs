//! One event a request.

use http::Method;
use serde_json::{Value, json};

use crate::support::{LIST_VERSION, TestApp, operation, settings, transaction};

#[tokio::test]
async fn a_new_event_is_stored_and_can_be_found() {
    let app = TestApp::start().await;
    let answer = app.post("/v1/transactions", &transaction("t/1").to_string()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("location"), "/v1/events/t%2F1");
    let screening = json!({"list_version": LIST_VERSION, "verdict": "clear"});
    assert_eq!(answer.json(), json!({"id": "t/1", "outcome": "stored", "screening": screening}));
    let stored = app.get(answer.header("location")).await.json();
    let mut expected = transaction("t/1");
    expected["type"] = "transaction".into();
    expected["recorded_at"] = "2026-02-01T00:00:00Z".into();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn a_deposit_has_nobody_to_screen() {
    let app = TestApp::start().await;
    let answer = app.post("/v1/operations", &operation("o1").to_string()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["screening"], json!({"list_version": LIST_VERSION, "verdict": "none"}));
}

#[tokio::test]
async fn the_same_event_again_is_a_duplicate() {
    let app = TestApp::start().await;
    app.store(&transaction("t1")).await;
    let answer = app.post("/v1/transactions", &transaction("t1").to_string()).await;
    assert_eq!((answer.status, answer.json()["outcome"].as_str()), (200, Some("duplicate")));
    assert!(!answer.headers.contains_key("location"), "only what is new has a new place");
}

#[tokio::test]
async fn another_event_of_the_same_id_is_a_conflict() {
    let app = TestApp::start().await;
    app.store(&transaction("t1")).await;
    let mut other = transaction("t1");
    other["amount"] = 101.into();
    let answer = app.post("/v1/transactions", &other.to_string()).await;
    assert_eq!((answer.status, answer.header("content-type")), (409, "application/json"));
    let result = answer.json();
    assert_eq!(
        (result["outcome"].as_str(), result["error"]["code"].as_str()),
        (Some("conflict"), Some("conflict"))
    );
}

#[tokio::test]
async fn an_event_with_a_party_on_the_list_is_refused_and_not_stored() {
    let app = TestApp::start().await;
    let mut event = transaction("t1");
    event["receiver"] = "eve  EVIL".into();
    let answer = app.post("/v1/transactions", &event.to_string()).await;
    assert_eq!((answer.status, answer.header("content-type")), (403, "application/json"));
    let result = answer.json();
    assert_eq!(result["outcome"], "fraudulent");
    let hit =
        json!({"list_version": LIST_VERSION, "verdict": "hit", "party": "receiver", "entry": "Eve Evil"});
    assert_eq!(result["screening"], hit);
    assert_eq!(result["error"]["code"], "fraudulent");
    app.get("/v1/events/t1").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn what_the_submitter_leaves_out_is_filled_in() {
    let app = TestApp::start().await;
    let answer = app.post("/v1/transactions", r#"{"sender":"Ann","receiver":"Bob","amount":1}"#).await;
    assert_eq!(answer.status, 201);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
    let stored = app.get(&format!("/v1/events/{id}")).await.json();
    assert_eq!(stored["currency"], "CZK");
    assert_eq!(stored["occurred_at"], "2026-02-01T00:00:00Z", "the time of receipt stands in");
}

#[tokio::test]
async fn names_may_hold_whatever_a_name_can_hold() {
    let app = TestApp::start().await;
    let body =
        r#"{"sender":"V\u00e1clav \"Nov\u00e1k\"\/\\","receiver":"\ud83e\udd80 محمد","amount":1,"id":"n"}"#;
    assert_eq!(app.post("/v1/transactions", body).await.status, 201);
    let stored = app.get("/v1/events/n").await.json();
    assert_eq!(stored["sender"], "Václav \"Novák\"/\\");
    assert_eq!(stored["receiver"], "🦀 محمد");
}

async fn with_key(app: &TestApp, keys: &[&str], body: &Value) -> crate::support::Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(keys.iter().map(|key| ("idempotency-key", *key)));
    app.request(Method::POST, "/v1/transactions", &headers, &body.to_string()).await
}

#[tokio::test]
async fn the_id_may_be_sent_as_a_header() {
    let app = TestApp::start().await;
    let mut event = transaction("k1");
    event.as_object_mut().unwrap().remove("id");
    let answer = with_key(&app, &["k1"], &event).await;
    assert_eq!((answer.status, answer.json()["id"].as_str()), (201, Some("k1")));
    assert_eq!(
        with_key(&app, &["k1"], &event).await.status,
        200,
        "a resend under the same key is a duplicate"
    );
    assert_eq!(
        with_key(&app, &["k1"], &transaction("k1")).await.status,
        200,
        "both may be given when they agree"
    );
}

#[tokio::test]
async fn two_different_ids_are_refused() {
    let app = TestApp::start().await;
    let answer = with_key(&app, &["k2"], &transaction("k1")).await;
    assert_eq!(answer.assert_problem(400, "invalid_field").as_deref(), Some("/id"));
    with_key(&app, &["a", "b"], &transaction("a")).await.assert_problem(400, "invalid_field");
    with_key(&app, &["a b"], &transaction("a")).await.assert_problem(400, "invalid_field");
    with_key(&app, &[""], &transaction("a")).await.assert_problem(400, "invalid_field");
}

/// What is put in place of a field of a right event, and what must come of it.
const BAD_FIELDS: &[(&str, &str, u16, &str)] = &[
    ("amount", "0", 400, "invalid_field"),
    ("amount", "-5", 400, "invalid_field"),
    ("amount", "-0", 400, "invalid_field"),
    ("amount", "1.0", 400, "invalid_field"),
    ("amount", "1e3", 400, "invalid_field"),
    ("amount", "9223372036854775808", 400, "invalid_field"),
    ("amount", "18446744073709551616", 400, "invalid_field"),
    ("amount", "1e999", 400, "invalid_field"),
    ("amount", "\"100\"", 400, "invalid_field"),
    ("amount", "null", 400, "invalid_field"),
    ("amount", "true", 400, "invalid_field"),
    ("amount", "[100]", 400, "invalid_field"),
    ("amount", "{\"units\":[{}]}", 400, "invalid_field"),
    ("sender", "\"\"", 400, "invalid_field"),
    ("sender", "\" Ann\"", 400, "invalid_field"),
    ("sender", "\"a\\u0000b\"", 400, "invalid_field"),
    ("sender", "7", 400, "invalid_field"),
    ("sender", "null", 400, "invalid_field"),
    ("sender", "\"Bob\"", 422, "same_party"),
    ("receiver", "\"Ann\"", 422, "same_party"),
    ("id", "\"\"", 400, "invalid_field"),
    ("id", "\"a b\"", 400, "invalid_field"),
    ("id", "\"ž\"", 400, "invalid_field"),
    ("id", "null", 400, "invalid_field"),
    ("id", "12", 400, "invalid_field"),
    ("currency", "\"eur\"", 400, "invalid_field"),
    ("currency", "\"XXZ\"", 400, "invalid_field"),
    ("currency", "978", 400, "invalid_field"),
    ("occurred_at", "\"2026-01-15T10:00:00\"", 400, "invalid_field"),
    ("occurred_at", "\"2026-01-15\"", 400, "invalid_field"),
    ("occurred_at", "1768471200", 400, "invalid_field"),
    ("type", "\"operation\"", 400, "invalid_field"),
    ("type", "\"Transaction\"", 400, "invalid_field"),
    ("type", "1", 400, "invalid_field"),
    ("branch", "\"North\"", 400, "unknown_field"),
    ("a~b/c", "1", 400, "unknown_field"),
    ("Amount", "1", 400, "unknown_field"),
];

/// Returns a right transaction with the text of one field replaced or added.
fn with_field(name: &str, value: &str) -> String {
    let Value::Object(fields) = transaction("t1") else { panic!("an event is an object") };
    let mut texts: Vec<(String, String)> =
        fields.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    texts.retain(|(other, _)| other != name);
    texts.push((name.to_owned(), value.to_owned()));
    let texts: Vec<String> = texts.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    format!("{{{}}}", texts.join(","))
}

#[tokio::test]
async fn each_broken_rule_of_a_field_is_named_with_its_field() {
    let app = TestApp::start().await;
    for (name, value, status, code) in BAD_FIELDS {
        let answer = app.post("/v1/transactions", &with_field(name, value)).await;
        let pointer = answer.assert_problem(*status, code).unwrap();
        let expected = match *code {
            "same_party" => "/receiver".to_owned(),
            _ => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        };
        assert_eq!(pointer, expected, "{name}: {value}");
    }
    assert_eq!(app.post("/v1/transactions", &with_field("type", "\"transaction\"")).await.status, 201);
}

#[tokio::test]
async fn each_missing_field_is_named() {
    let app = TestApp::start().await;
    for (path, event, required) in [
        ("/v1/transactions", transaction("t1"), &["sender", "receiver", "amount"][..]),
        ("/v1/operations", operation("o1"), &["client", "branch", "operation", "amount"][..]),
    ] {
        for field in required {
            let mut event = event.clone();
            event.as_object_mut().unwrap().remove(*field);
            let answer = app.post(path, &event.to_string()).await;
            assert_eq!(answer.assert_problem(400, "missing_field"), Some(format!("/{field}")));
        }
    }
}

#[tokio::test]
async fn a_field_that_stands_twice_is_named_however_it_is_written() {
    let app = TestApp::start().await;
    for again in [r#""amount":1"#, r#""am\u006funt":1"#, r#""amount":null"#] {
        let body = format!(r#"{{"sender":"Ann","receiver":"Bob","amount":1,{again}}}"#);
        let answer = app.post("/v1/transactions", &body).await;
        assert_eq!(answer.assert_problem(400, "duplicate_field").as_deref(), Some("/amount"));
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let app = TestApp::start().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let deep_field = with_field("amount", &deep);
    for body in [
        "",
        "  ",
        "{",
        "{}x",
        "[]",
        "[{}]",
        "null",
        "true",
        "1",
        "\"text\"",
        "{\"amount\":01}",
        "{'a':1}",
        "{\"a\":1,}",
        "\u{0}",
        "{\"sender\":\"\u{1}\"}",
        "{\"sender\":\"\\ud800\"}",
        "{\"sender\":\"\\x\"}",
        "NaN",
        &deep,
    ] {
        let answer = app.post("/v1/transactions", body).await;
        answer.assert_problem(400, "invalid_json");
    }
    app.post("/v1/transactions", &deep_field).await.assert_problem(400, "invalid_field");
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_are_refused() {
    let app = TestApp::start().await;
    let head = "POST /v1/transactions HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let mut request = format!("{head}content-length: 15\r\n\r\n{{\"sender\":\"").into_bytes();
    request.extend_from_slice(b"\xff\xfe\"}");
    let answer = app.raw_to_end(request).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("invalid_json"), "{answer}");
}

#[tokio::test]
async fn a_problem_says_where_the_text_breaks_and_never_what_it_holds() {
    let app = TestApp::start().await;
    let answer =
        app.post("/v1/transactions", "{\n  \"sender\": \"Secret Name\",\n  \"receiver\" \"x\"}").await;
    answer.assert_problem(400, "invalid_json");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("line 3, column 14"), "{detail}");
    let answer = app.post("/v1/transactions", &with_field("currency", "\"Secret Name\"")).await;
    answer.assert_problem(400, "invalid_field");
    assert!(!answer.text().contains("Secret"), "{}", answer.text());
}

#[tokio::test]
async fn the_media_type_must_be_json_in_utf_8_and_plain() {
    let app = TestApp::start().await;
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-ndjson")],
        &[("content-type", "application/json; charset=iso-8859-1")],
        &[("content-type", "application/json"), ("content-type", "application/json")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        let answer = app.request(Method::POST, "/v1/transactions", headers, "{}").await;
        answer.assert_problem(415, "unsupported_media_type");
    }
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = app.request(Method::POST, "/v1/transactions", &gzip, "{}").await;
    assert!(answer.text().contains("send it uncompressed"), "{}", answer.text());
    let plain = [("content-type", "application/json; charset=UTF-8"), ("content-encoding", "identity")];
    let answer = app.request(Method::POST, "/v1/transactions", &plain, &transaction("t1").to_string()).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn a_path_of_single_events_takes_no_parameters() {
    let app = TestApp::start().await;
    let answer = app.post("/v1/transactions?on_error=abort", &transaction("t1").to_string()).await;
    answer.assert_problem(400, "invalid_parameter");
    assert!(answer.json()["detail"].as_str().unwrap().contains("on_error"));
}

#[tokio::test]
async fn without_a_list_or_a_worker_nothing_is_promised() {
    let app = TestApp::start_without_list(settings()).await;
    let event = transaction("t1").to_string();
    app.post("/v1/transactions", &event).await.assert_problem(503, "no_fraud_list");
    let app = TestApp::start_without_worker(settings()).await;
    app.post("/v1/transactions", &event).await.assert_problem(503, "no_workers");
    app.dispatcher.shut_down().await;
    app.post("/v1/transactions", &event).await.assert_problem(503, "unavailable");
}
