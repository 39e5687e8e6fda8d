//! A network that fails and a server that fails: what is acknowledged is there once, and a resend finds out.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::time::{Duration, Instant};

use mini_platform_core::domain::{AppendOutcome, Event, EventBatch};
use mini_platform_core::error::{FaultKind, Retry, StoreError};
use mini_platform_core::port::EventStore;
use mini_platform_core::testkit::server::{Fault, FaultProxy};
use mini_platform_core::testkit::{at, batch, deposit, id, transfer};
use mini_platform_mongodb::testkit::MongoSet;
use mini_platform_mongodb::{MongoConfig, MongoEventStore};
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use support::Scratch;

fn kind(error: &StoreError) -> FaultKind {
    match error {
        StoreError::Fault(fault) => fault.kind(),
        other => panic!("a fault: {other:?}"),
    }
}

fn events(prefix: &str) -> EventBatch {
    let event = |n: i64| -> Event {
        let name = format!("{prefix}-{n}");
        if n % 2 == 0 { transfer(&name, "ann", "bob", n) } else { deposit(&name, "ann", "north", n) }
    };
    batch((0..20).map(event))
}

/// Sends a batch again, as the decorator that retries would, and checks that each event is there once.
async fn resend(store: &dyn EventStore, database: &Database, sent: &EventBatch) -> Vec<AppendOutcome> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let outcomes = loop {
        match store.append(sent, at(2)).await {
            Ok(outcomes) => break outcomes,
            Err(error) => {
                assert_ne!(error.retry(), Retry::Never, "{error:?}");
                assert!(Instant::now() < deadline, "{error:?}");
            }
        }
    };
    assert!(outcomes.iter().all(|outcome| *outcome != AppendOutcome::Conflict), "{outcomes:?}");
    for event in sent.events() {
        let name = event.id().as_str();
        let count = async |collection: &str| {
            let filter = doc! { "_id": name, "amount": { "$exists": true } };
            database.collection::<Document>(collection).count_documents(filter).await.unwrap()
        };
        assert_eq!(count("transactions").await + count("operations").await, 1, "{name} is there once");
        assert_eq!(store.get(&id(name)).await.unwrap().unwrap().event, *event);
    }
    outcomes
}

fn host(uri: &str) -> &str {
    let hosts = uri.trim_start_matches("mongodb://").split('/').next().unwrap();
    hosts.rsplit('@').next().unwrap().split(',').next().unwrap()
}

/// A store whose calls go through a proxy, and the database as seen past it.
async fn proxied(timeout: Duration) -> Option<(FaultProxy, MongoEventStore, Database, Scratch)> {
    let scratch = Scratch::new()?;
    let proxy = FaultProxy::start(host(&scratch.uri)).await;
    let uri = format!("mongodb://{}/?directConnection=true", proxy.addr());
    // The first connection makes the indexes, for which the timeout of the test may be too short.
    scratch.store().await.close().await;
    let config = MongoConfig::new(uri, &scratch.name).with_timeout(timeout);
    let store = MongoEventStore::connect(&config).await.unwrap();
    let database = scratch.database().await;
    Some((proxy, store, database, scratch))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_lost_once_is_found_by_the_driver() {
    let Some((proxy, store, database, _scratch)) = proxied(Duration::from_secs(20)).await else { return };
    for (number, fault) in
        [Fault::ResetBeforeForward, Fault::ResetAfterForward, Fault::HalfReply(20)].into_iter().enumerate()
    {
        let (sent, hits) = (events(&format!("once{number}")), proxy.hits());
        proxy.set_once(fault.when("insert"));
        let outcomes = store.append(&sent, at(1)).await.unwrap();
        assert_eq!(proxy.hits(), hits + 1, "{fault:?}");
        assert!(outcomes.iter().all(|outcome| *outcome == AppendOutcome::Stored), "{fault:?} {outcomes:?}");
        let again = resend(&store, &database, &sent).await;
        assert!(again.iter().all(|outcome| matches!(outcome, AppendOutcome::Duplicate(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_is_found_by_a_resend() {
    let Some((proxy, store, database, _scratch)) = proxied(Duration::from_secs(20)).await else { return };
    for (number, (fault, took_effect)) in
        [(Fault::ResetBeforeForward, false), (Fault::ResetAfterForward, true), (Fault::HalfReply(20), true)]
            .into_iter()
            .enumerate()
    {
        let sent = events(&format!("lost{number}"));
        proxy.set(fault.when("insert"));
        let error = store.append(&sent, at(1)).await.unwrap_err();
        assert_eq!(kind(&error), FaultKind::Unavailable, "{fault:?} {error:?}");
        assert_eq!(error.retry(), Retry::Backoff);
        proxy.set(Fault::Pass);
        let outcomes = resend(&store, &database, &sent).await;
        let first = outcomes.first().unwrap();
        assert_eq!(matches!(first, AppendOutcome::Duplicate(_)), took_effect, "{fault:?} {first:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_back_that_is_lost_is_found_by_a_resend() {
    let Some((proxy, store, database, _scratch)) = proxied(Duration::from_secs(20)).await else { return };
    let sent = events("twice");
    store.append(&sent, at(1)).await.unwrap();
    proxy.set(Fault::HalfReply(20).when("linearizable"));
    let error = store.append(&sent, at(1)).await.unwrap_err();
    assert_eq!(kind(&error), FaultKind::Unavailable, "{error:?}");
    proxy.set(Fault::Pass);
    let again = resend(&store, &database, &sent).await;
    assert!(again.iter().all(|outcome| matches!(outcome, AppendOutcome::Duplicate(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_costs_the_timeout_and_not_more() {
    let limit = Duration::from_secs(2);
    let Some((proxy, store, database, _scratch)) = proxied(limit).await else { return };
    let sent = events("slow");
    for fault in [Fault::Delay(Duration::from_secs(5)), Fault::Stall] {
        proxy.set(fault.when("insert"));
        let asked = Instant::now();
        let error = store.append(&sent, at(1)).await.unwrap_err();
        assert_eq!(kind(&error), FaultKind::Timeout, "{error:?}");
        assert!(asked.elapsed() < limit * 2, "{:?}", asked.elapsed());
        proxy.set(fault.when("find"));
        let asked = Instant::now();
        let error = store.get(&id("slow-0")).await.unwrap_err();
        assert_eq!(kind(&error), FaultKind::Timeout, "{error:?}");
        assert!(asked.elapsed() < limit * 2, "{:?}", asked.elapsed());
    }
    proxy.set(Fault::Pass);
    resend(&store, &database, &sent).await;
}

/// Makes the next so many inserts of the server fail.
async fn fail_inserts(set: &MongoSet, times: i32, how: Document) {
    let mut data = doc! { "failCommands": ["insert"] };
    data.extend(how);
    let point = doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data };
    set.run(0, point).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_is_asked_again_or_reported() {
    let Some(set) = MongoSet::start(1).await else { return };
    let config = MongoConfig::new(set.uri(), "bank").with_timeout(Duration::from_secs(20));
    let store = MongoEventStore::connect(&config).await.unwrap();
    let database = mongodb::Client::with_uri_str(set.uri()).await.unwrap().database("bank");
    let closed = doc! { "closeConnection": true };
    let not_primary = doc! { "errorCode": 10107, "errorLabels": ["RetryableWriteError"] };
    let late =
        doc! { "writeConcernError": { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "late" } };
    let overloaded = doc! { "errorCode": 462, "errorLabels": ["SystemOverloadedError"] };
    // The driver asks twice; a batch makes two calls at first, the reservations and the transactions.
    for (number, (times, how, expected)) in [
        (1, closed.clone(), None),
        (1, not_primary.clone(), None),
        (4, closed, Some(FaultKind::Unavailable)),
        (4, not_primary, Some(FaultKind::Unavailable)),
        (2, late, Some(FaultKind::Timeout)),
        (20, overloaded, Some(FaultKind::Throttled)),
        (2, doc! { "errorCode": 14031 }, Some(FaultKind::Internal)),
        (2, doc! { "errorCode": 13 }, Some(FaultKind::Denied)),
        (2, doc! { "errorCode": 50 }, Some(FaultKind::Timeout)),
    ]
    .into_iter()
    .enumerate()
    {
        let sent = events(&format!("fail{number}"));
        fail_inserts(&set, times, how.clone()).await;
        let answer = store.append(&sent, at(1)).await;
        set.run(0, doc! { "configureFailPoint": "failCommand", "mode": Bson::from("off") }).await;
        assert_eq!(answer.err().as_ref().map(kind), expected, "{how}");
        resend(&store, &database, &sent).await;
    }
}
