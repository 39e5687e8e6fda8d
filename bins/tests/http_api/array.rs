//! JSON arrays of events.

use serde_json::{Value, json};

use crate::support::{TestApp, line, operation, outcomes, settings, transaction};

fn typed(event: &Value) -> Value {
    serde_json::from_str(&line(event)).unwrap()
}

async fn post(app: &TestApp, body: &Value) -> Vec<Value> {
    let answer = app.post("/v1/events", &body.to_string()).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json"),
        "{}",
        answer.text()
    );
    let Value::Array(results) = answer.json() else { panic!("the results are an array") };
    results
}

#[tokio::test]
async fn item_n_of_the_answer_is_the_result_of_item_n() {
    let app = TestApp::start().await;
    let mut zero = typed(&operation("zero"));
    zero["amount"] = 0.into();
    let items = json!([
        typed(&transaction("t1")),
        zero,
        typed(&operation("o1")),
        typed(&transaction("t1")),
        7,
        [],
        null,
        "x,]",
        transaction("typeless"),
    ]);
    let results = post(&app, &items).await;
    let expected = [
        "stored",
        "rejected",
        "stored",
        "duplicate",
        "rejected",
        "rejected",
        "rejected",
        "rejected",
        "rejected",
    ];
    assert_eq!(outcomes(&results), expected);
    assert_eq!(
        (results[1]["id"].as_str(), results[1]["error"]["pointer"].as_str()),
        (Some("zero"), Some("/1/amount"))
    );
    assert_eq!(results[4]["error"]["pointer"], "/4");
    assert_eq!(results[8]["error"]["pointer"], "/8/type");
}

#[tokio::test]
async fn an_array_may_be_spread_out_or_empty() {
    let app = TestApp::start().await;
    assert_eq!(post(&app, &json!([])).await, Vec::<Value>::new());
    let spread = format!("\u{feff} [\n{}\t,\r\n {}  ]\n", typed(&operation("a")), typed(&operation("b")));
    let answer = app.post("/v1/events", &spread).await;
    assert_eq!(outcomes(answer.json().as_array().unwrap()), ["stored", "stored"]);
    assert_eq!(app.post("/v1/events", " [ ] ").await.text(), "[]");
}

#[tokio::test]
async fn an_aborting_array_skips_what_follows_the_first_rejected_item() {
    let app = TestApp::start().await;
    let items = json!([typed(&operation("a")), {}, typed(&operation("b")), 1]);
    let answer = app.post("/v1/events?on_error=abort", &items.to_string()).await;
    assert_eq!(outcomes(answer.json().as_array().unwrap()), ["stored", "rejected", "skipped", "skipped"]);
}

#[tokio::test]
async fn what_is_no_array_takes_in_nothing() {
    let app = TestApp::start().await;
    let event = typed(&operation("a")).to_string();
    for body in [
        "",
        "{}",
        "1",
        &event,
        &format!("[{event},]"),
        &format!("[{event}"),
        &format!("[{event}] x"),
        "[1 2]",
    ] {
        app.post("/v1/events", body).await.assert_problem(400, "invalid_json");
    }
    app.get("/v1/events/a").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn an_array_over_several_batches_keeps_its_order() {
    let app = TestApp::start().await;
    let items: Vec<Value> = (0..3_000).map(|n| typed(&operation(&format!("o{n}")))).collect();
    let body = Value::Array(items);
    assert!(body.to_string().len() > 256 << 10, "large enough to be checked on a thread of its own");
    let results = post(&app, &body).await;
    assert_eq!(results.len(), 3_000);
    assert!(results.iter().enumerate().all(|(n, result)| result["id"] == format!("o{n}")));
}

#[tokio::test]
async fn an_array_beyond_the_limit_is_refused() {
    let app =
        TestApp::start_with(mini_platform_bins::http::HttpSettings { max_array: 1 << 10, ..settings() })
            .await;
    app.post("/v1/events", &format!("[{}]", " ".repeat(1 << 10))).await.assert_problem(413, "body_too_large");
}

#[tokio::test]
async fn an_array_of_very_many_small_items_has_as_many_results() {
    let app = TestApp::start().await;
    let body = format!("[{}1]", "1,".repeat(300_000));
    let answer = app.post("/v1/events", &body).await;
    assert_eq!(answer.text().matches("\"rejected\"").count(), 300_001);
}
