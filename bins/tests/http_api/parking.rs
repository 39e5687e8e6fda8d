//! What cannot be finished is parked, shown, redriven and discarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use http::Method;
use mini_platform_bins::telemetry::Metrics;
use mini_platform_core::Worker;
use mini_platform_core::codec::ParkedEvent;
use mini_platform_core::dispatcher::ParkingConfig;
use mini_platform_core::domain::{
    DeadLetter, DeathCause, EventBatch, IngestOutcome, LeaseRequest, LeasedParcel, LogRecord, LotLimits,
    LotStatus, MAX_PARCELS, Page, Parcel, ParcelContent, ParcelId, ParcelQuery, ParkReason, ParkedParcel,
    Settled, Settlement, WorkerId,
};
use mini_platform_core::error::{Fault, FaultKind, FetchError, IngestError, LotError};
use mini_platform_core::memory::{MemoryLog, MemoryParkingLot};
use mini_platform_core::port::{FetchAnswer, FetchQuery, LogReader, ParkingLot, WorkerNode};
use mini_platform_core::testkit::{at, client, transfer};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, TestApp, line, operation, outcomes, settings, transaction};

const NOW: &str = "2026-02-01T00:00:00Z";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A worker that fails for as long as it is told to.
struct Moody {
    inner: Worker,
    fails: AtomicBool,
}

#[async_trait]
impl WorkerNode for Moody {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Fault::new("worker", "ingest", FaultKind::Internal).into());
        }
        self.inner.ingest(batch).await
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.inner.fetch(query).await
    }
}

/// A server with a parking lot, a log, and a worker that fails at first.
pub(crate) struct ParkingApp {
    pub(crate) app: TestApp,
    pub(crate) lot: Arc<MemoryParkingLot>,
    log: Arc<MemoryLog>,
    worker: Arc<Moody>,
}

impl ParkingApp {
    pub(crate) async fn start() -> Self {
        Self::start_with(LotLimits::default(), ParkingConfig::default(), Metrics::default()).await
    }

    async fn start_with(limits: LotLimits, config: ParkingConfig, metrics: Metrics) -> Self {
        let (log, mut lot) = (Arc::new(MemoryLog::default()), None);
        let config = config.with_interval(Duration::from_millis(10));
        let app = TestApp::start_built(settings(), metrics, |builder, clock| {
            let lot = lot.insert(Arc::new(MemoryParkingLot::new(limits, clock.clone()))).clone();
            builder.with_parking(lot, config).with_log(log.clone()).with_clock(clock)
        })
        .await;
        app.publish("v1", &["Mallory"]).await;
        let worker = Arc::new(Moody { inner: app.worker(), fails: AtomicBool::new(true) });
        app.dispatcher.add_member(WorkerId::LOCAL, worker.clone());
        Self { app, lot: lot.unwrap(), log, worker }
    }

    fn recover(&self) {
        self.worker.fails.store(false, Ordering::SeqCst);
    }

    async fn status(&self) -> LotStatus {
        self.lot.status().await.unwrap()
    }

    /// Redrives until the lot is as expected.
    pub(crate) async fn redrive_until(&self, holds: impl Fn(LotStatus) -> bool) {
        let (redriver, stop) = (self.app.dispatcher.redriver().unwrap(), CancellationToken::new());
        let until = stop.clone();
        let redriving = tokio::spawn(async move { redriver.run(until).await });
        while !holds(self.status().await) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        redriving.await.unwrap();
    }

    /// Parks a content under the n-th id.
    async fn park_content(&self, n: u8, content: impl Into<Vec<u8>>) {
        let parcel = Parcel {
            id: parcel_id(n),
            client: client("Ann"),
            content: ParcelContent::new(content.into()).unwrap(),
            reason: ParkReason::Storing,
        };
        self.lot.park(&[parcel]).await.unwrap();
    }

    async fn park(&self, n: u8) {
        let event = transfer(&format!("t{n}"), "Ann", "Bob", i64::from(n));
        let parked = ParkedEvent { event, received_at: at(1), trace: None };
        self.park_content(n, parked.encode().unwrap().as_bytes()).await;
    }

    /// Makes dead letters of all that is parked.
    async fn bury_all(&self) {
        let request = LeaseRequest::new(MAX_PARCELS, Duration::from_secs(1));
        let leased = self.lot.lease(request).await.unwrap();
        let bury = |leased: LeasedParcel| leased.bury(DeathCause::AttemptsSpent, Some(ParkReason::Timeout));
        let settlements: Vec<Settlement> = leased.into_iter().map(bury).collect();
        let settled = self.lot.settle(&settlements).await.unwrap();
        assert!(settled.iter().all(|settled| *settled == Settled::Yes));
    }

    /// Makes a dead letter under the n-th id.
    pub(crate) async fn dead_letter(&self, n: u8) -> String {
        self.park(n).await;
        self.bury_all().await;
        parcel_id(n).to_string()
    }

    async fn records(&self) -> Vec<LogRecord> {
        self.log.records().await.unwrap().try_collect().await.unwrap()
    }

    async fn redrive(&self, id: &str) -> Answer {
        self.app.request(Method::POST, &format!("/v1/dead-letters/{id}/redrive"), &[], "").await
    }

    async fn discard(&self, id: &str) -> Answer {
        self.app.request(Method::DELETE, &format!("/v1/dead-letters/{id}"), &[], "").await
    }

    /// Posts a transaction with headers of its own.
    async fn post_with(&self, header: (&str, &str), body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), header];
        self.app.request(Method::POST, "/v1/transactions", &headers, &body.to_string()).await
    }
}

fn parcel_id(n: u8) -> ParcelId {
    ParcelId::new(at(i64::from(n)), [n; 10])
}

/// Returns an event as a client sent it, with its kind.
fn typed(event: &Value) -> Value {
    serde_json::from_str(&line(event)).unwrap()
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

#[tokio::test]
async fn what_cannot_be_finished_is_answered_202_and_shown_as_it_was_submitted() {
    let parking = ParkingApp::start().await;
    let answer = parking.app.post("/v1/transactions", &transaction("t1").to_string()).await;
    assert_eq!((answer.status, answer.header("content-type")), (202, "application/json"));
    assert_eq!(answer.text(), r#"{"id":"t1","outcome":"parked"}"#);
    assert!(!answer.headers.contains_key("location"), "there is nothing stored to point to");
    parking.app.get("/v1/events/t1").await.assert_problem(404, "not_found");
    let answer = parking.app.get("/v1/parked").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut page = answer.json();
    let id = page["items"][0]["id"].take();
    assert!(id.as_str().unwrap().parse::<ParcelId>().is_ok(), "{id}");
    let bytes = parking.status().await.bytes;
    let item = json!({"id": null, "event": typed(&transaction("t1")), "attempts": 0, "reason": "worker",
        "parked_at": NOW, "received_at": NOW});
    assert_eq!(
        page,
        json!({"parked": 1, "dead_letters": 0, "bytes": bytes, "oldest_parked_at": NOW, "items": [item]})
    );
    assert!(answer.text().contains(r#""event":{"type":"transaction","id":"t1","#), "{}", answer.text());
}

#[tokio::test]
async fn a_parked_event_is_stored_once_somebody_can_finish_it() {
    let parking = ParkingApp::start().await;
    parking.app.post("/v1/operations", &operation("o1").to_string()).await;
    parking.recover();
    parking.redrive_until(|status| status.parked == 0).await;
    assert_eq!(parking.app.get("/v1/events/o1").await.status, 200);
    let page = parking.app.get("/v1/parked").await.json();
    assert_eq!(page, json!({"parked": 0, "dead_letters": 0, "bytes": 0, "items": []}));
}

#[tokio::test]
async fn an_event_that_is_parked_keeps_the_id_of_its_header() {
    let parking = ParkingApp::start().await;
    let mut event = transaction("k1");
    event.as_object_mut().unwrap().remove("id");
    let answer = parking.post_with(("idempotency-key", "k1"), &event).await;
    assert_eq!((answer.status, answer.json()["id"].as_str()), (202, Some("k1")));
    assert_eq!(parking.app.get("/v1/parked").await.json()["items"][0]["event"]["id"], "k1");
    parking.recover();
    parking.redrive_until(|status| status.parked == 0).await;
    let answer = parking.post_with(("idempotency-key", "k1"), &event).await;
    assert_eq!((answer.status, answer.json()["outcome"].as_str()), (200, Some("duplicate")));
}

#[tokio::test]
async fn results_of_parked_events_keep_their_order_and_number() {
    let parking = ParkingApp::start().await;
    let mut zero = typed(&operation("zero"));
    zero["amount"] = 0.into();
    let events = [
        typed(&transaction("t1")),
        zero,
        typed(&operation("o1")),
        json!(7),
        typed(&transaction("t1")),
        typed(&operation("o2")),
    ];
    let expected = ["parked", "rejected", "parked", "rejected", "parked", "parked"];
    let ids = [Some("t1"), Some("zero"), Some("o1"), None, Some("t1"), Some("o2")];
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    let lines = parking.app.post_lines("/v1/events", &text).await;
    let array = parking.app.post("/v1/events", &Value::from(events.to_vec()).to_string()).await;
    assert_eq!(array.status, 200, "{}", array.text());
    for results in [lines, array.json().as_array().unwrap().clone()] {
        assert_eq!(outcomes(&results), expected);
        let answered: Vec<_> = results.iter().map(|result| result["id"].as_str()).collect();
        assert_eq!(answered, ids);
        assert_eq!(
            results[0],
            json!({"id": "t1", "outcome": "parked"}),
            "a parked event is not screened yet"
        );
    }
}

#[tokio::test]
async fn more_events_than_a_batch_holds_are_all_parked_in_order() {
    let parking = ParkingApp::start().await;
    let text: String = (0..3_000).map(|n| line(&operation(&format!("o{n}")))).collect();
    let results = parking.app.post_lines("/v1/events", &text).await;
    assert_eq!(results.len(), 3_000);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(*result, json!({"id": format!("o{n}"), "outcome": "parked"}));
    }
    assert_eq!(parking.status().await.parked, 3_000);
}

#[tokio::test]
async fn what_does_not_fit_into_the_lot_is_promised_nothing() {
    let limits = LotLimits { parcels: 1, ..LotLimits::default() };
    let parking = ParkingApp::start_with(limits, ParkingConfig::default(), Metrics::default()).await;
    assert_eq!(parking.app.post("/v1/transactions", &transaction("t1").to_string()).await.status, 202);
    let answer = parking.app.post("/v1/transactions", &transaction("t2").to_string()).await;
    answer.assert_problem(503, "overloaded");
    let results = parking.app.post_lines("/v1/events", &line(&transaction("t3"))).await;
    assert_eq!(outcomes(&results), ["unavailable"]);
}

#[tokio::test]
async fn an_event_that_was_tried_too_often_is_a_dead_letter_that_can_be_redriven() {
    let config = ParkingConfig::default().with_max_attempts(1);
    let parking = ParkingApp::start_with(LotLimits::default(), config, Metrics::default()).await;
    let name = "Václav \"Novák\"/%41?#\\ 🦀 محمد";
    let mut event = transaction("t1");
    event["sender"] = name.into();
    assert_eq!(parking.app.post("/v1/transactions", &event.to_string()).await.status, 202);
    parking.redrive_until(|status| status.dead == 1).await;
    assert_eq!(items(&parking.app.get("/v1/parked").await.json()).len(), 0);
    let page = parking.app.get("/v1/dead-letters").await.json();
    assert_eq!((&page["parked"], &page["dead_letters"]), (&json!(0), &json!(1)), "{page}");
    let letter = items(&page)[0].clone();
    let id = letter["id"].as_str().unwrap().to_owned();
    assert_eq!(
        letter,
        json!({"id": id, "event": typed(&event), "attempts": 1, "reason": "worker", "parked_at": NOW,
            "received_at": NOW, "cause": "attempts_spent", "died_at": NOW})
    );
    let shown = parking.app.get(&format!("/v1/dead-letters/{id}")).await;
    assert_eq!((shown.status, shown.header("cache-control")), (200, "no-store"));
    assert_eq!(shown.json(), letter);
    parking.recover();
    let answer = parking.redrive(&id).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json(), json!({"id": id, "redriven": true}));
    let parked = items(&parking.app.get("/v1/parked").await.json())[0].clone();
    assert_eq!(
        (&parked["id"], &parked["attempts"]),
        (&json!(id), &json!(0)),
        "it is tried as if it were new"
    );
    parking.redrive_until(|status| status.parked == 0).await;
    assert_eq!(parking.app.get("/v1/events/t1").await.json()["sender"], name);
    parking.redrive(&id).await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn a_dead_letter_that_is_discarded_is_gone() {
    let parking = ParkingApp::start().await;
    let (first, second) = (parking.dead_letter(1).await, parking.dead_letter(2).await);
    let answer = parking.discard(&first).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    assert!(!answer.headers.contains_key("content-type"), "there is no content");
    parking.discard(&first).await.assert_problem(404, "not_found");
    parking.app.get(&format!("/v1/dead-letters/{first}")).await.assert_problem(404, "not_found");
    let page = parking.app.get("/v1/dead-letters").await.json();
    assert_eq!((&page["dead_letters"], &page["items"][0]["id"]), (&json!(1), &json!(second)), "{page}");
}

#[tokio::test]
async fn what_is_parked_is_no_dead_letter() {
    let parking = ParkingApp::start().await;
    parking.park(1).await;
    let id = parcel_id(1).to_string();
    parking.app.get(&format!("/v1/dead-letters/{id}")).await.assert_problem(404, "not_found");
    parking.redrive(&id).await.assert_problem(404, "not_found");
    parking.discard(&id).await.assert_problem(404, "not_found");
    assert_eq!(parking.status().await.parked, 1, "nothing was done to it");
}

#[tokio::test]
async fn what_cannot_be_read_is_shown_as_it_is_and_never_quoted() {
    let parking = ParkingApp::start().await;
    parking.park_content(1, *b"\xff\0 Secret Name").await;
    parking.park_content(2, *br#"{"schema":99,"name":"Secret Name"}"#).await;
    parking.park_content(3, *br#"{"schema":2,"name":"Secret Name"}"#).await;
    parking.redrive_until(|status| status.dead == 3).await;
    let answer = parking.app.get("/v1/dead-letters").await;
    assert!(!answer.text().contains("Secret"), "{}", answer.text());
    let page = answer.json();
    let letter = &items(&page)[0];
    assert_eq!(
        *letter,
        json!({"id": parcel_id(1).to_string(), "client": "Ann", "content": "/wAgU2VjcmV0IE5hbWU=",
            "unreadable": "not of its form: no JSON at line 1 column 1", "attempts": 0, "reason": "storing",
            "parked_at": NOW, "cause": "undecodable", "died_at": NOW})
    );
    let newer = items(&page)[1]["unreadable"].as_str().unwrap();
    assert!(newer.contains("schema 99") && newer.contains("newer program"), "{newer}");
}

#[tokio::test]
async fn pages_hold_every_parcel_once_whatever_comes_and_goes_meanwhile() {
    for path in ["/v1/parked", "/v1/dead-letters"] {
        let parking = ParkingApp::start().await;
        for n in 0..25 {
            parking.park(2 * n).await;
        }
        if path == "/v1/dead-letters" {
            parking.bury_all().await;
        }
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = parking.app.get(&format!("{path}?limit=4{token}")).await.json();
            assert!(items(&page).len() <= 4, "{path}: {page}");
            seen.extend(items(&page).iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            pages += 1;
            assert!(pages <= 7, "{path} does not end: {seen:?}");
            // A dead letter on which a token stands goes, and what comes stands in front of it.
            parking.lot.discard(seen.last().unwrap().parse().unwrap()).await.unwrap();
            parking.park(1).await;
            match page["next_page_token"].as_str() {
                Some(next) => token = format!("&page_token={next}"),
                None => break,
            }
        }
        let expected: Vec<String> = (0..25).map(|n| parcel_id(2 * n).to_string()).collect();
        assert_eq!((seen, pages), (expected, 7), "{path}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_wrong_or_unknown_is_named() {
    let parking = ParkingApp::start().await;
    let id = parking.dead_letter(1).await;
    for path in ["/v1/parked", "/v1/dead-letters"] {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("page_token=x", "page_token"),
            ("from=x", "from"),
        ] {
            let answer = parking.app.get(&format!("{path}?{query}")).await;
            answer.assert_problem(400, "invalid_parameter");
            assert!(answer.text().contains(&format!("`{name}`")), "{}", answer.text());
        }
    }
    let letter = format!("/v1/dead-letters/{id}");
    for (method, path) in [
        (Method::GET, format!("{letter}?limit=1")),
        (Method::DELETE, format!("{letter}?force=true")),
        (Method::POST, format!("{letter}/redrive?all")),
    ] {
        let answer = parking.app.request(method, &path, &[], "").await;
        answer.assert_problem(400, "invalid_parameter");
    }
    assert_eq!(parking.status().await.dead, 1, "nothing was done to it");
}

#[tokio::test]
async fn what_is_no_id_is_the_id_of_no_dead_letter() {
    let parking = ParkingApp::start().await;
    let id = parking.dead_letter(1).await;
    for other in ["x", "%F0%9F%A6%80", "a%2Fb", &id.to_uppercase(), &id.replace('-', "")] {
        parking.app.get(&format!("/v1/dead-letters/{other}")).await.assert_problem(404, "not_found");
        parking.redrive(other).await.assert_problem(404, "not_found");
        parking.discard(other).await.assert_problem(404, "not_found");
    }
    for broken in ["%", "%ff"] {
        let answer = parking.app.get(&format!("/v1/dead-letters/{broken}")).await;
        answer.assert_problem(400, "invalid_parameter");
    }
    for path in ["/v1/parked/", "/v1/dead-letters/", "/v1/parked/x", "/v1/dead-letters/x/redrive/y"] {
        parking.app.get(path).await.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn each_path_names_the_methods_that_it_answers() {
    let parking = ParkingApp::start().await;
    let id = parking.dead_letter(1).await;
    let (letter, redrive) = (format!("/v1/dead-letters/{id}"), format!("/v1/dead-letters/{id}/redrive"));
    for (path, allowed) in [
        ("/v1/parked", "GET, HEAD"),
        ("/v1/dead-letters", "GET, HEAD"),
        (&letter, "GET, HEAD, DELETE"),
        (&redrive, "POST"),
    ] {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            if allowed.split(", ").any(|one| one == method.as_str()) {
                continue;
            }
            let answer = parking.app.request(method.clone(), path, &[], "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
        }
        if allowed.contains("HEAD") {
            let (get, head) =
                (parking.app.get(path).await, parking.app.request(Method::HEAD, path, &[], "").await);
            assert_eq!((head.status, head.text()), (200, ""));
            assert_eq!(head.header("content-length"), get.body.len().to_string());
        }
    }
    assert_eq!(parking.status().await.dead, 1, "nothing was done to it");
}

#[tokio::test]
async fn without_a_parking_lot_its_paths_say_so() {
    let app = TestApp::start().await;
    let id = parcel_id(1);
    let (letter, redrive) = (format!("/v1/dead-letters/{id}"), format!("/v1/dead-letters/{id}/redrive"));
    for (method, path) in [
        (Method::GET, "/v1/parked"),
        (Method::GET, "/v1/dead-letters"),
        (Method::GET, &letter),
        (Method::DELETE, &letter),
        (Method::POST, &redrive),
    ] {
        let answer = app.request(method, path, &[], "").await;
        answer.assert_problem(404, "no_parking_lot");
        assert!(answer.text().contains("parking.backend"), "{}", answer.text());
    }
}

/// A parking lot that never does what it should.
struct BrokenLot {
    hangs: bool,
}

impl BrokenLot {
    async fn answer<T>(&self) -> Result<T, LotError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(Fault::new("parking lot", "read Secret Name", FaultKind::Unavailable).into())
    }
}

#[async_trait]
impl ParkingLot for BrokenLot {
    async fn park(&self, _: &[Parcel]) -> Result<(), LotError> {
        self.answer().await
    }

    async fn lease(&self, _: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
        self.answer().await
    }

    async fn settle(&self, _: &[Settlement]) -> Result<Vec<Settled>, LotError> {
        self.answer().await
    }

    async fn status(&self) -> Result<LotStatus, LotError> {
        self.answer().await
    }

    async fn parked(&self, _: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
        self.answer().await
    }

    async fn dead_letters(&self, _: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
        self.answer().await
    }

    async fn dead_letter(&self, _: ParcelId) -> Result<Option<DeadLetter>, LotError> {
        self.answer().await
    }

    async fn redrive(&self, _: ParcelId) -> Result<bool, LotError> {
        self.answer().await
    }

    async fn discard(&self, _: ParcelId) -> Result<bool, LotError> {
        self.answer().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_parking_lot_that_fails_or_hangs_is_answered_503_in_time() {
    let id = parcel_id(1);
    let (letter, redrive) = (format!("/v1/dead-letters/{id}"), format!("/v1/dead-letters/{id}/redrive"));
    for (hangs, code) in [(false, "unavailable"), (true, "timeout")] {
        let app = TestApp::start_built(settings(), Metrics::default(), |builder, _| {
            builder.with_parking(Arc::new(BrokenLot { hangs }), ParkingConfig::default())
        })
        .await;
        for (method, path) in [
            (Method::GET, "/v1/parked"),
            (Method::GET, "/v1/dead-letters"),
            (Method::GET, &letter),
            (Method::DELETE, &letter),
            (Method::POST, &redrive),
        ] {
            let start = Instant::now();
            let answer = app.request(method, path, &[], "").await;
            answer.assert_problem(503, code);
            assert!(!answer.text().contains("Secret"), "{}", answer.text());
            assert!(start.elapsed() < Duration::from_secs(6), "{path} took {:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn the_trace_of_a_request_is_in_its_record_also_when_it_was_parked() {
    let parking = ParkingApp::start().await;
    let trace = ("traceparent", TRACE);
    assert_eq!(parking.post_with(trace, &transaction("parked")).await.status, 202);
    parking.recover();
    parking.redrive_until(|status| status.parked == 0).await;
    assert_eq!(parking.post_with(trace, &transaction("single")).await.status, 201);
    for (media_type, body) in [
        ("application/x-ndjson", line(&transaction("line"))),
        ("application/json", format!("[{}]", line(&transaction("item")))),
    ] {
        let headers = [("content-type", media_type), trace];
        assert_eq!(parking.app.request(Method::POST, "/v1/events", &headers, &body).await.status, 200);
    }
    let records = parking.records().await;
    assert_eq!(records.len(), 4);
    for record in records {
        assert_eq!(record.trace.to_string(), TRACE, "{}", record.event.id());
    }
}

#[tokio::test]
async fn a_trace_that_is_none_hinders_nobody() {
    let parking = ParkingApp::start().await;
    parking.recover();
    for (n, header) in ["", "nonsense", "00-0-0-00", "ž"].into_iter().enumerate() {
        let event = transaction(&format!("t{n}"));
        assert_eq!(parking.post_with(("traceparent", header), &event).await.status, 201, "{header}");
    }
    assert_eq!(parking.records().await.len(), 4);
}

#[tokio::test]
async fn metrics_say_what_is_parked_and_what_became_of_it() {
    let metrics = Metrics::install().unwrap();
    let parking = ParkingApp::start_with(LotLimits::default(), ParkingConfig::default(), metrics).await;
    parking.app.post("/v1/transactions", &transaction("t1").to_string()).await;
    parking.recover();
    parking.redrive_until(|status| status.parked == 0).await;
    let answer = parking.app.get("/metrics").await;
    let text = answer.text();
    for line in [
        "mini_platform_parking_parked_total{reason=\"worker\"} 1",
        "mini_platform_parking_redriven_total{result=\"done\"} 1",
        "# TYPE mini_platform_parking_waiting gauge",
        "# TYPE mini_platform_parking_dead_letters gauge",
        "# TYPE mini_platform_parking_oldest_age_seconds gauge",
    ] {
        assert!(text.contains(line), "{line} must be in\n{text}");
    }
}
