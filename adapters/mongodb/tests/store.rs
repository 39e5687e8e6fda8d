//! What is particular to a store on MongoDB: indexes and plans, start-up, ids over two collections, damage.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use mini_platform_core::domain::{
    AppendOutcome, ClientId, ClientQuery, Event, EventFilter, EventQuery, MAX_BATCH, PageSize, TimeRange,
};
use mini_platform_core::error::{FaultKind, StoreError};
use mini_platform_core::port::EventStore;
use mini_platform_core::testkit::{at, batch, client, deposit, id, server, transfer, withdrawal};
use mini_platform_mongodb::testkit::{ESCAPED_PASSWORD, MongoSet, PASSWORD, USER};
use mini_platform_mongodb::{ConnectError, MongoConfig, MongoEventStore, UriPart};
use mongodb::bson::{Document, doc};
use mongodb::options::{Collation, IndexOptions};
use mongodb::{Database, IndexModel};
use support::Scratch;

fn kind(error: &StoreError) -> FaultKind {
    match error {
        StoreError::Fault(fault) => fault.kind(),
        other => panic!("a fault: {other:?}"),
    }
}

/// Everything that an error says, with its causes.
fn whole(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    text
}

async fn connect(config: &MongoConfig) -> ConnectError {
    MongoEventStore::connect(config).await.unwrap_err()
}

/// Returns what the server did between now and [`Profile::stop`].
struct Profile(Database);

impl Profile {
    async fn start(scratch: &Scratch) -> Self {
        let database = scratch.database().await;
        database.run_command(doc! { "profile": 2 }).await.unwrap();
        Self(database)
    }

    async fn stop(self) -> Vec<Document> {
        self.0.run_command(doc! { "profile": 0 }).await.unwrap();
        let seen = self.0.collection::<Document>("system.profile");
        let calls = seen.find(doc! { "ns": { "$not": { "$regex": "system" } } }).await.unwrap();
        calls.try_collect().await.unwrap()
    }
}

fn number(call: &Document, field: &str) -> i64 {
    let value = call.get(field).unwrap_or_else(|| panic!("{field} of {call}"));
    value.as_i64().or(value.as_i32().map(i64::from)).unwrap()
}

#[tokio::test]
async fn the_indexes_are_made_at_start_and_none_is_about_money() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.store().await;
    scratch.store().await;
    let database = scratch.database().await;
    for (collection, expected) in [
        ("transactions", &["_id_", "sender_time", "receiver_time"][..]),
        ("operations", &["_id_", "client_operation_time"]),
    ] {
        let names = database.collection::<Document>(collection).list_index_names().await.unwrap();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn every_query_reads_one_range_of_an_index_and_no_more() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store().await;
    let events = (0..900).map(|n: i64| {
        let (name, other) = (format!("c{}", n % 3), format!("c{}", (n + 1) % 3));
        match n % 9 {
            0..3 => deposit(&format!("d{n}"), &name, "north", n / 30),
            3..6 => withdrawal(&format!("w{n}"), &name, "north", n / 30),
            _ => transfer(&format!("t{n}"), &name, &other, n / 30),
        }
    });
    store.append(&batch(events), at(0)).await.unwrap();
    for filter in [
        EventFilter::Transactions,
        EventFilter::Sent,
        EventFilter::Received,
        EventFilter::Operations,
        EventFilter::Deposits,
        EventFilter::Withdrawals,
    ] {
        let range = TimeRange { from: Some(at(2)), to: Some(at(28)) };
        let query = EventQuery::new(client("c1"), filter).with_range(range);
        let query = query.with_size(PageSize::new(10).unwrap());
        let token = store.query(&query).await.unwrap().next.unwrap();
        scratch.database().await.collection::<Document>("system.profile").drop().await.unwrap();
        let profile = Profile::start(&scratch).await;
        for query in [query.clone(), query.with_token(&token).unwrap()] {
            assert_eq!(store.query(&query).await.unwrap().items.len(), 10);
        }
        let calls = profile.stop().await;
        assert_eq!(calls.len(), 2 * filter.roles().len(), "one call a role and page: {filter:?}");
        for call in calls {
            assert!(call.get_str("planSummary").unwrap().starts_with("IXSCAN"), "{call}");
            assert!(!call.contains_key("hasSortStage"), "nothing is sorted in memory: {call}");
            let (keys, returned) = (number(&call, "keysExamined"), number(&call, "nreturned"));
            assert!(keys <= returned + 1, "{keys} keys for {returned} events: {filter:?}");
            assert_eq!(number(&call, "docsExamined"), returned);
        }
    }
}

#[tokio::test]
async fn a_page_of_clients_does_not_read_their_events() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store().await;
    for round in 0..4 {
        let events = (0..1_000).map(|n: i64| {
            let number = round * 1_000 + n;
            transfer(&format!("t{number}"), &format!("s{:02}", n % 20), &format!("r{:02}", n % 20), number)
        });
        store.append(&batch(events), at(0)).await.unwrap();
    }
    let profile = Profile::start(&scratch).await;
    let query = ClientQuery::default().with_size(PageSize::new(7).unwrap());
    let (mut names, mut page) = (Vec::new(), store.clients(&query).await.unwrap());
    loop {
        assert!(page.items.len() <= 7);
        names.extend(page.items.iter().map(|client: &ClientId| client.as_str().to_owned()));
        let Some(token) = page.next else { break };
        page = store.clients(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
    let expected: Vec<String> =
        ["r", "s"].iter().flat_map(|side| (0..20).map(move |n| format!("{side}{n:02}"))).collect();
    assert_eq!(names, expected);
    let calls = profile.stop().await;
    assert_eq!(calls.len(), 6 * 3);
    for call in calls {
        let plan = call.get_str("planSummary").unwrap();
        assert!(plan.starts_with("DISTINCT_SCAN") || plan == "EOF", "{plan}");
        let keys = call.get("keysExamined").map_or(0, |_| number(&call, "keysExamined"));
        assert!(keys <= 41, "one key a client, not an event: {keys}");
    }
}

#[tokio::test]
async fn a_batch_of_duplicates_is_read_back_in_one_call_a_collection() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store().await;
    let events: Vec<Event> = (0..MAX_BATCH)
        .map(|n| match n % 2 {
            0 => transfer(&format!("e{n}"), "ann", "bob", 1),
            _ => deposit(&format!("e{n}"), "ann", "north", 1),
        })
        .collect();
    store.append(&batch(events.clone()), at(0)).await.unwrap();
    let profile = Profile::start(&scratch).await;
    let outcomes = store.append(&batch(events), at(1)).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, AppendOutcome::Duplicate(_))));
    let calls = profile.stop().await;
    let reads = calls.iter().filter(|call| call.get_str("op").unwrap() == "query").count();
    let continued = calls.iter().filter(|call| call.get_str("op").unwrap() == "getmore").count();
    assert_eq!((reads, continued), (3, 0), "transactions, reservations and operations");
}

#[tokio::test]
async fn an_index_of_our_name_with_another_definition_is_named() {
    let Some(scratch) = Scratch::new() else { return };
    let database = scratch.database().await;
    let collection = database.collection::<Document>("transactions");
    let model = |name: &str, keys: Document| {
        let options = IndexOptions::builder().name(name.to_owned()).build();
        IndexModel::builder().keys(keys).options(options).build()
    };
    collection.create_index(model("receiver_time", doc! { "receiver": 1, "amount": 1 })).await.unwrap();
    let refused = connect(&scratch.config()).await;
    assert!(
        matches!(refused, ConnectError::WrongIndex { collection: "transactions", index: "receiver_time" }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("receiver_time"), "{refused}");
    collection.drop_index("receiver_time").await.unwrap();
    // Without our condition it would hold reservations too.
    let whole = doc! { "sender": 1, "occurred_at": 1, "_id": 1 };
    collection.create_index(model("sender_time", whole)).await.unwrap();
    let refused = connect(&scratch.config()).await;
    assert!(matches!(refused, ConnectError::WrongIndex { index: "sender_time", .. }), "{refused:?}");
    collection.drop_index("sender_time").await.unwrap();
    scratch.store().await;
}

#[tokio::test]
async fn a_collection_that_does_not_compare_bytes_is_refused() {
    let Some(scratch) = Scratch::new() else { return };
    let collation = Collation::builder().locale("cs").build();
    scratch.database().await.create_collection("operations").collation(collation).await.unwrap();
    let refused = connect(&scratch.config()).await;
    let expected = ConnectError::WrongIndex { collection: "operations", index: "_id_" };
    assert_eq!(refused.to_string(), expected.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_transaction_and_an_operation_with_one_id_exactly_one_is_stored() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store().await;
    let name = |n: i64| format!("r{n}");
    let racers = (0..8).map(|racer| {
        let store = store.clone();
        let events = (0..100).map(|n| match racer % 2 {
            0 => transfer(&name(n), "ann", "bob", n),
            _ => deposit(&name(n), "ann", "north", n),
        });
        let batch = batch(events);
        tokio::spawn(async move { (racer % 2, store.append(&batch, at(0)).await.unwrap()) })
    });
    let mut stored = vec![Vec::new(); 100];
    let mut duplicates = vec![Vec::new(); 100];
    for racer in join_all(racers).await {
        let (kind, outcomes) = racer.unwrap();
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                AppendOutcome::Stored => stored[n].push(kind),
                AppendOutcome::Duplicate(_) => duplicates[n].push(kind),
                AppendOutcome::Conflict => {}
            }
        }
    }
    for (stored, duplicates) in stored.iter().zip(&duplicates) {
        let [winner] = stored[..] else { panic!("stored by exactly one: {stored:?}") };
        assert_eq!(*duplicates, [winner; 3], "the other three of its kind said the same");
    }
    let database = scratch.database().await;
    let count = async |collection: &str, filter: Document| {
        database.collection::<Document>(collection).count_documents(filter).await.unwrap()
    };
    let transactions = count("transactions", doc! { "sender": "ann" }).await;
    assert_eq!(transactions + count("operations", doc! {}).await, 100);
    for n in 0..100 {
        assert!(store.get(&id(&name(n))).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn an_operation_that_only_reserved_its_id_is_finished_by_a_resend() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store().await;
    let transactions = scratch.database().await.collection::<Document>("transactions");
    transactions.insert_one(doc! { "_id": "o", "reserved_for": "operation" }).await.unwrap();
    assert_eq!(store.get(&id("o")).await.unwrap(), None, "a reservation is no event");
    let other = store.append(&batch([transfer("o", "ann", "bob", 1)]), at(0)).await.unwrap();
    assert_eq!(other, [AppendOutcome::Conflict]);
    let event = deposit("o", "ann", "north", 1);
    assert_eq!(store.append(&batch([event.clone()]), at(0)).await.unwrap(), [AppendOutcome::Stored]);
    assert_eq!(store.get(&id("o")).await.unwrap().unwrap().event, event);
    let clients = store.clients(&ClientQuery::default()).await.unwrap();
    assert_eq!(clients.items, [client("ann")]);
}

#[tokio::test]
async fn a_damaged_document_is_corrupt_and_not_quoted() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store().await;
    let (transfers, deposits) = (transfer("t", "ann", "bob", 1), deposit("o", "ann", "north", 1));
    store.append(&batch([transfers.clone(), deposits.clone()]), at(0)).await.unwrap();
    let database = scratch.database().await;
    for (collection, event, change) in [
        ("transactions", &transfers, doc! { "$set": { "receiver": "ann" } }),
        ("transactions", &transfers, doc! { "$set": { "receiver": "bob", "amount": "much" } }),
        ("transactions", &transfers, doc! { "$unset": { "recorded_at": 1 } }),
        ("operations", &deposits, doc! { "$set": { "operation": "theft" } }),
        ("operations", &deposits, doc! { "$set": { "currency": "gold" } }),
    ] {
        database.collection::<Document>(collection).update_many(doc! {}, change).await.unwrap();
        for error in [
            store.get(event.id()).await.unwrap_err(),
            store.append(&batch([event.clone()]), at(0)).await.unwrap_err(),
        ] {
            assert_eq!(kind(&error), FaultKind::Corrupt);
            let text = whole(&error);
            assert!(text.contains(collection), "{text}");
            assert!(!["theft", "gold", "much", "ann"].iter().any(|word| text.contains(word)), "{text}");
        }
    }
}

#[tokio::test]
async fn a_unique_index_of_somebody_else_is_no_duplicate() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store().await;
    let options = IndexOptions::builder().unique(true).build();
    let model = IndexModel::builder().keys(doc! { "branch": 1 }).options(options).build();
    scratch.database().await.collection::<Document>("operations").create_index(model).await.unwrap();
    store.append(&batch([deposit("a", "ann", "north", 1)]), at(0)).await.unwrap();
    let error = store.append(&batch([deposit("b", "ann", "north", 1)]), at(0)).await.unwrap_err();
    assert_eq!(kind(&error), FaultKind::Internal);
    assert!(!whole(&error).contains("north"), "{}", whole(&error));
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store().await;
    let clone = store.clone();
    store.close().await;
    store.close().await;
    assert_eq!(kind(&clone.get(&id("a")).await.unwrap_err()), FaultKind::Unavailable);
}

#[tokio::test]
async fn a_connection_string_that_czoeot_be_used_is_told_by_its_part_and_never_shown() {
    for (uri, expected) in [
        ("postgres://zoe:secret@db.example", UriPart::Scheme),
        ("db.example", UriPart::Scheme),
        ("mongodb://zoe:sec%ret@db.example", UriPart::Credentials),
        ("mongodb://zoe:sec/ret@db.example", UriPart::Credentials),
        ("mongodb://zoe:secret@db.example:port", UriPart::Hosts),
        ("mongodb://zoe:secret@db.example/a$b", UriPart::Database),
        ("mongodb://zoe:secret@db.example/?directConnection=secret", UriPart::Options),
        ("mongodb://zoe:secret@a.example,b.example/?directConnection=true", UriPart::Options),
        ("mongodb://zoe:secret@a.example/?tlsCAFile=/nowhere/secret.pem&tls=true", UriPart::Options),
    ] {
        let refused = connect(&MongoConfig::new(uri, "bank")).await;
        assert!(
            matches!(&refused, ConnectError::InvalidUri { part } if *part == expected),
            "{uri}: {refused:?}"
        );
        let text = whole(&refused);
        assert!(!text.contains("sec") && !text.contains("zoe"), "{text}");
    }
}

#[tokio::test]
async fn a_database_that_nobody_can_have_is_refused() {
    for name in ["", "a b", "a.b", "a/b", "$a"] {
        let refused = connect(&MongoConfig::new("mongodb://127.0.0.1:1", name)).await;
        assert!(matches!(refused, ConnectError::InvalidDatabaseName { .. }), "{name:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_reported_within_the_timeout() {
    let port = server::free_port();
    let uri = format!("mongodb://{USER}:{ESCAPED_PASSWORD}@127.0.0.1:{port}");
    let asked = Instant::now();
    let refused = connect(&MongoConfig::new(uri, "bank").with_timeout(Duration::from_millis(500))).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused:?}");
    let text = whole(&refused);
    assert!(text.contains(&port.to_string()), "says where: {text}");
    assert!(!text.contains(PASSWORD) && !text.contains(USER) && !text.contains("s3cret"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_and_missing_rights_are_denied() {
    let Some(set) = MongoSet::start_with_auth().await else { return };
    let roles = doc! { "role": "read", "db": "bank" };
    set.run(0, doc! { "createUser": "reader", "pwd": "pw-of-reader", "roles": [roles] }).await;
    let good = set.uri();
    let credentials = format!("{USER}:{ESCAPED_PASSWORD}@");
    let config = |uri: String| MongoConfig::new(uri, "bank").with_timeout(Duration::from_secs(15));
    for (what, other) in [
        ("wrong password", "tester:pw-of-nobody@"),
        ("no user", ""),
        ("may only read", "reader:pw-of-reader@"),
    ] {
        let refused = connect(&config(good.replace(&credentials, other))).await;
        assert!(matches!(refused, ConnectError::Denied { .. }), "{what}: {refused:?}");
        let text = whole(&refused);
        assert!(!text.contains("pw-of") && !text.contains("reader:") && !text.contains("tester"), "{text}");
    }
    let store = MongoEventStore::connect(&config(good)).await.unwrap();
    let outcomes = store.append(&batch([transfer("a", "ann", "bob", 1)]), at(0)).await.unwrap();
    assert_eq!(outcomes, [AppendOutcome::Stored]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_alone_is_refused_with_what_to_do() {
    let Some(alone) = MongoSet::start_standalone().await else { return };
    let Some(uninitiated) = MongoSet::start_uninitiated().await else { return };
    for server in [alone, uninitiated] {
        let uri = format!("mongodb://{}", server.addr(0));
        let refused = connect(&MongoConfig::new(uri, "bank").with_timeout(Duration::from_secs(5))).await;
        assert!(matches!(refused, ConnectError::NotReplicaSet), "{refused:?}");
        assert!(refused.to_string().contains("--replSet"), "{refused}");
    }
}

#[tokio::test]
async fn a_connection_string_cannot_weaken_what_is_promised() {
    let Some(scratch) = Scratch::new() else { return };
    let weak = "&w=0&journal=false&retryWrites=false&readPreference=secondary&readConcernLevel=local";
    let config = MongoConfig::new(format!("{}{weak}", scratch.uri), &scratch.name);
    let store = MongoEventStore::connect(&config.with_timeout(Duration::from_secs(15))).await.unwrap();
    let profile = Profile::start(&scratch).await;
    let event = transfer("a", "ann", "bob", 1);
    assert_eq!(store.append(&batch([event.clone()]), at(0)).await.unwrap(), [AppendOutcome::Stored]);
    assert_eq!(store.get(&id("a")).await.unwrap().unwrap().event, event);
    let calls = profile.stop().await;
    let [insert, find] = &calls[..] else { panic!("two calls: {calls:?}") };
    let insert = insert.get_document("command").unwrap();
    let concern = insert.get_document("writeConcern").unwrap();
    assert_eq!(concern.get_str("w").unwrap(), "majority");
    assert!(concern.get_bool("j").unwrap());
    assert!(insert.contains_key("txnNumber"), "the driver may send it again: {insert}");
    let concern = find.get_document("command").unwrap().get_document("readConcern").unwrap();
    assert_eq!(concern.get_str("level").unwrap(), "majority");
}
