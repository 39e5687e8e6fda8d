//! Reads.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{LIST_VERSION, TestApp, operation, settings, transaction};

async fn seeded() -> TestApp {
    let app = TestApp::start().await;
    for (id, sender, receiver, day) in
        [("t1", "Ann", "Bob", 1), ("t2", "Bob", "Ann", 2), ("t3", "Ann", "Cyd", 3), ("t4", "Cyd", "Bob", 4)]
    {
        let mut event = transaction(id);
        (event["sender"], event["receiver"]) = (sender.into(), receiver.into());
        event["occurred_at"] = format!("2026-01-0{day}T00:00:00Z").into();
        app.store(&event).await;
    }
    for (id, kind, branch, day) in [("o1", "deposit", "North", 1), ("o2", "withdraw", "South", 2)] {
        let mut event = operation(id);
        (event["operation"], event["branch"]) = (kind.into(), branch.into());
        event["occurred_at"] = format!("2026-01-0{day}T00:00:00Z").into();
        app.store(&event).await;
    }
    app
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn events_of_a_client_come_newest_first_and_filtered() {
    let app = seeded().await;
    for (path, expected) in [
        ("transactions", &["t3", "t2", "t1"][..]),
        ("transactions?direction=any", &["t3", "t2", "t1"]),
        ("transactions?direction=sent", &["t3", "t1"]),
        ("transactions?direction=received", &["t2"]),
        ("transactions?from=2026-01-02T00:00:00Z", &["t3", "t2"]),
        ("transactions?to=2026-01-02T00:00:00Z", &["t1"]),
        ("transactions?from=2026-01-02T01:00:00%2B01:00&to=2026-01-03T00:00:00Z", &["t2"]),
        ("transactions?from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", &[]),
        ("operations", &["o2", "o1"]),
        ("operations?operation=deposit", &["o1"]),
        ("operations?operation=withdraw&", &["o2"]),
    ] {
        let answer = app.get(&format!("/v1/clients/Ann/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(ids(&answer.json()), expected, "{path}");
        assert!(answer.json().get("next_page_token").is_none(), "the last page has no token");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn neighbours_of_a_client_are_answered() {
    let app = seeded().await;
    let interactions = app.get("/v1/clients/Ann/interactions").await.json();
    let expected = json!({"items": [
        {"client": "Bob", "direction": "both", "last_at": "2026-01-02T00:00:00Z"},
        {"client": "Cyd", "direction": "sent", "last_at": "2026-01-03T00:00:00Z"},
    ]});
    assert_eq!(interactions, expected);
    let branches = app.get("/v1/clients/Ann/branches").await.json();
    let expected = json!({"items": [
        {"branch": "North", "last_at": "2026-01-01T00:00:00Z"},
        {"branch": "South", "last_at": "2026-01-02T00:00:00Z"},
    ]});
    assert_eq!(branches, expected);
}

#[tokio::test]
async fn the_overview_holds_the_first_page_of_each() {
    let app = seeded().await;
    let overview = app.get("/v1/clients/Ann").await.json();
    assert_eq!(overview["client"], "Ann");
    for part in ["transactions", "operations", "interactions", "branches"] {
        assert_eq!(overview[part], app.get(&format!("/v1/clients/Ann/{part}")).await.json(), "{part}");
    }
}

#[tokio::test]
async fn a_client_without_data_is_an_empty_answer() {
    let app = TestApp::start().await;
    for part in ["transactions", "operations", "interactions", "branches"] {
        let answer = app.get(&format!("/v1/clients/Nobody/{part}")).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"items": []})));
    }
    assert_eq!(app.get("/v1/clients/Nobody").await.json()["branches"], json!({"items": []}));
}

#[tokio::test]
async fn pages_hold_everything_once_whatever_arrives_meanwhile() {
    let app = TestApp::start().await;
    for n in 0..25 {
        let mut event = transaction(&format!("t{n:02}"));
        event["receiver"] = format!("Client {n}").into();
        event["occurred_at"] = format!("2026-01-01T00:00:{:02}Z", n / 2).into();
        app.store(&event).await;
    }
    for (part, key, of) in [("transactions", "id", "t"), ("interactions", "client", "Client ")] {
        let (mut seen, mut token, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let token_parameter = token.map(|token| format!("&page_token={token}")).unwrap_or_default();
            let page = app.get(&format!("/v1/clients/Ann/{part}?limit=4{token_parameter}")).await.json();
            seen.extend(
                page["items"].as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()),
            );
            pages += 1;
            let mut newer = transaction(&format!("new {part} {pages}").replace(' ', "-"));
            newer["occurred_at"] = "2026-01-31T00:00:00Z".into();
            app.store(&newer).await;
            match page["next_page_token"].as_str() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        let old: Vec<&String> = seen.iter().filter(|name| name.starts_with(of)).collect();
        assert_eq!(old.len(), 25, "{part}: {seen:?}");
        assert_eq!(old.iter().collect::<BTreeSet<_>>().len(), 25, "{part} has a double");
        assert!(pages >= 7);
    }
}

#[tokio::test]
async fn a_page_token_is_bound_to_its_query() {
    let app = seeded().await;
    let page = app.get("/v1/clients/Ann/transactions?limit=1").await.json();
    let token = page["next_page_token"].as_str().unwrap();
    for path in
        ["Bob/transactions?", "Ann/operations?", "Ann/interactions?", "Ann/transactions?direction=sent&"]
    {
        let answer = app.get(&format!("/v1/clients/{path}page_token={token}")).await;
        answer.assert_problem(400, "invalid_parameter");
        assert!(answer.text().contains("page_token"), "{}", answer.text());
    }
    for token in ["", "A", "%20", &"A".repeat(2_000)] {
        let answer = app.get(&format!("/v1/clients/Ann/transactions?page_token={token}")).await;
        answer.assert_problem(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let app = TestApp::start().await;
    for (path, name) in [
        ("clients/Ann?limit=1", "limit"),
        ("clients/Ann/transactions?limit=0", "limit"),
        ("clients/Ann/transactions?limit=1001", "limit"),
        ("clients/Ann/transactions?limit=%31x", "limit"),
        ("clients/Ann/transactions?limit=1&limit=2", "limit"),
        ("clients/Ann/transactions?direction=up", "direction"),
        ("clients/Ann/transactions?operation=deposit", "operation"),
        ("clients/Ann/operations?direction=any", "direction"),
        ("clients/Ann/transactions?from=yesterday", "from"),
        ("clients/Ann/transactions?to=2026-01-01", "to"),
        ("clients/Ann/transactions?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("clients/Ann/interactions?from=2026-01-02T00:00:00Z", "from"),
        ("clients/Ann/branches?limit=%ff", "limit"),
        ("clients/%ff", "client"),
        ("clients/%zz", "client"),
        ("clients/%20Ann", "client"),
        ("clients/a%00b/branches", "client"),
        ("events/t1?x=y", "x"),
        ("events/%ff", "id"),
        ("fraud-list?page=1", "page"),
        ("fraud-list/check", "name"),
        ("fraud-list/check?name=", "name"),
        ("fraud-list/check?name=%ff", "name"),
        ("fraud-list/check?Name=Ann", "Name"),
    ] {
        let answer = app.get(&format!("/v1/{path}")).await;
        answer.assert_problem(400, "invalid_parameter");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("`{name}` ")), "{path}: {detail}");
    }
}

#[tokio::test]
async fn names_in_paths_are_percent_decoded() {
    let app = TestApp::start().await;
    for (n, (name, encoded)) in [
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("Václav Novák", "V%C3%A1clav%20Nov%C3%A1k"),
        ("\"q\" & 'r'?#", "%22q%22%20%26%20'r'%3F%23"),
        ("🦀", "%F0%9F%A6%80"),
        ("محمد", "%D9%85%D8%AD%D9%85%D8%AF"),
        ("a+b", "a+b"),
        ("transactions", "transactions"),
        ("..", "%2E%2E"),
        (";=@:,", ";=@:,"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut event = transaction(&format!("e{n}"));
        event["sender"] = name.into();
        app.store(&event).await;
        let page = app.get(&format!("/v1/clients/{encoded}/transactions")).await.json();
        assert_eq!(ids(&page), [format!("e{n}")], "{encoded}");
        assert_eq!(app.get(&format!("/v1/clients/{encoded}")).await.json()["client"], name);
    }
}

#[tokio::test]
async fn an_event_that_is_not_stored_is_not_found() {
    let app = TestApp::start().await;
    for id in ["t1", &"x".repeat(65), "%C5%BE", "a%20b"] {
        app.get(&format!("/v1/events/{id}")).await.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn the_fraud_list_in_force_is_described_and_asked() {
    let app = TestApp::start().await;
    let list = app.get("/v1/fraud-list").await.json();
    let expected = json!({"version": LIST_VERSION, "entries": 2, "source": "file:test.txt",
        "published_at": "2026-01-31T08:00:00Z", "loaded_at": "2026-02-01T00:00:00Z", "confirmed_at": "2026-02-01T00:00:00Z"});
    assert_eq!(list, expected);
    let check = app.get("/v1/fraud-list/check?name=EVE++evil").await.json();
    assert_eq!(check, json!({"list_version": LIST_VERSION, "verdict": "hit", "entry": "Eve Evil"}));
    let check = app.get("/v1/fraud-list/check?name=Ann").await.json();
    assert_eq!(check, json!({"list_version": LIST_VERSION, "verdict": "clear"}));
}

#[tokio::test]
async fn without_a_list_there_is_nothing_to_describe_or_ask() {
    let app = TestApp::start_without_list(settings()).await;
    app.get("/v1/fraud-list").await.assert_problem(404, "no_fraud_list");
    app.get("/v1/fraud-list/check?name=Ann").await.assert_problem(503, "no_fraud_list");
}

#[tokio::test]
async fn without_a_worker_nothing_can_be_read() {
    let app = TestApp::start_without_worker(settings()).await;
    for path in ["/v1/clients/Ann", "/v1/events/t1", "/v1/fraud-list", "/v1/fraud-list/check?name=Ann"] {
        app.get(path).await.assert_problem(503, "no_workers");
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/events",
        "/v1/transaction",
        "/v1/transactions/",
        "/v1/transactions/t1",
        "/v1//events",
        "/v1/clients",
        "/v1/clients/",
        "/v1/clients/Ann/",
        "/v1/clients/Ann/cards",
        "/v1/clients/Ann/branches/1",
        "/v1/events/t1/x",
        "/livez/",
        "/readyz/x",
        "/v1/fraud-list/check/x",
        "/V1/events",
        "/%76%31/events",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            app.request(method, path, &[], "").await.assert_problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = TestApp::start().await;
    for (path, allowed) in [
        ("/v1/transactions", "POST"),
        ("/v1/operations", "POST"),
        ("/v1/events", "POST"),
        ("/v1/events/t1", "GET, HEAD"),
        ("/v1/clients/Ann", "GET, HEAD"),
        ("/v1/clients/Ann/transactions", "GET, HEAD"),
        ("/v1/clients/Ann/operations", "GET, HEAD"),
        ("/v1/clients/Ann/interactions", "GET, HEAD"),
        ("/v1/clients/Ann/branches", "GET, HEAD"),
        ("/v1/fraud-list", "GET, HEAD"),
        ("/v1/fraud-list/check", "GET, HEAD"),
        ("/livez", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if allowed.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let answer = app.request(Method::from_bytes(method.as_bytes()).unwrap(), path, &[], "").await;
            answer.assert_problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), allowed, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn head_answers_what_get_does_without_the_body() {
    let app = seeded().await;
    for path in
        ["/v1/clients/Ann", "/v1/events/t1", "/v1/fraud-list", "/livez", "/v1/events/none", "/nowhere"]
    {
        let (get, head) = (app.get(path).await, app.request(Method::HEAD, path, &[], "").await);
        assert_eq!(
            (get.status, get.header("content-type")),
            (head.status, head.header("content-type")),
            "{path}"
        );
        assert_eq!(get.header("content-length"), head.header("content-length"), "{path}");
        assert!(head.body.is_empty());
    }
}
