//! Stores that are made anew from the long-term log.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, RoundRobin};
use mini_platform_core::domain::*;
use mini_platform_core::error::*;
use mini_platform_core::memory::*;
use mini_platform_core::port::*;
use mini_platform_core::replay::{ReplayError, ReplayReport, Replayer};
use mini_platform_core::testkit::{
    Fate, Faulty, ManualClock, at, batch, deposit, fraud_list, id, log_record, transfer, untimed_transfer,
    withdrawal,
};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Stores {
    events: Arc<MemoryEventStore>,
    adjacency: Arc<MemoryAdjacencyStore>,
}

impl Stores {
    async fn replay(&self, log: &dyn LogReader) -> ReplayReport {
        let replayer = Replayer::new(Arc::clone(&self.events) as _, Arc::clone(&self.adjacency) as _);
        replayer.run(log, &CancellationToken::new(), |_| {}).await.unwrap()
    }

    /// Returns everything that they answer: of every client all pages, and every event by its id.
    async fn answers(&self) -> Vec<String> {
        let (mut answers, size) = (Vec::new(), PageSize::new(1000).unwrap());
        let clients = ClientQuery::default().with_size(size);
        for name in self.events.clients(&clients).await.unwrap().items {
            for filter in [
                EventFilter::Transactions,
                EventFilter::Sent,
                EventFilter::Received,
                EventFilter::Operations,
                EventFilter::Deposits,
                EventFilter::Withdrawals,
            ] {
                for event in self.events_of(&name, filter).await {
                    let by_id = self.events.get(event.event.id()).await.unwrap().unwrap();
                    answers.push(format!("{name:?} {filter:?} {} {}", told(event), told(by_id)));
                }
            }
            let neighbours = NeighbourQuery::new(name.clone()).with_size(size);
            let interactions = self.adjacency.interactions(&neighbours).await.unwrap();
            let branches = self.adjacency.branches(&neighbours).await.unwrap();
            answers.push(format!("{name:?} {interactions:?} {branches:?}"));
        }
        answers.push(format!("{:?}", self.adjacency.clients(&clients).await.unwrap()));
        answers
    }

    async fn events_of(&self, name: &ClientId, filter: EventFilter) -> Vec<StoredEvent> {
        let mut events = Vec::new();
        let first = EventQuery::new(name.clone(), filter).with_size(PageSize::new(7).unwrap());
        let mut query = first.clone();
        loop {
            let page = self.events.query(&query).await.unwrap();
            events.extend(page.items);
            let Some(token) = page.next else { return events };
            query = first.clone().with_token(&token).unwrap();
        }
    }
}

/// Writes an event as it is answered, which does not tell who said when it happened.
fn told(StoredEvent { event, recorded_at }: StoredEvent) -> String {
    let occurred_at = OccurredAt::Given(event.occurred_at().timestamp());
    format!("{:?} recorded {recorded_at}", event.happened(occurred_at))
}

/// A platform whose dispatcher writes a log.
struct Platform {
    stores: Stores,
    log: Arc<MemoryLog>,
    dispatcher: Dispatcher,
    clock: Arc<ManualClock>,
}

impl Platform {
    async fn new() -> Self {
        let (stores, log) = (Stores::default(), Arc::new(MemoryLog::default()));
        let clock = Arc::new(ManualClock::new(at(1_000)));
        let registry = Arc::new(MemoryFraudRegistry::default());
        registry.replace(fraud_list(1, &["mallory"])).await.unwrap();
        let (events, adjacency) = (Arc::clone(&stores.events), Arc::clone(&stores.adjacency));
        let worker = Worker::new(events, adjacency, registry).with_clock(Arc::clone(&clock) as _);
        let dispatcher = Dispatcher::builder(DispatcherConfig::default(), Arc::new(RoundRobin::default()))
            .with_log(Arc::clone(&log) as _)
            .with_clock(Arc::clone(&clock) as _)
            .build();
        dispatcher.add_member(WorkerId::LOCAL, Arc::new(worker));
        Self { stores, log, dispatcher, clock }
    }

    async fn ingest(&self, events: impl IntoIterator<Item = Event>) {
        self.dispatcher.ingest(&batch(events)).await.unwrap();
        self.clock.advance(Duration::from_secs(1));
    }

    /// A bank with every kind of event and of outcome.
    async fn busy() -> Self {
        let platform = Self::new().await;
        for round in 0..40 {
            let name = |n: i64| ["ann", "bob", "Žofie/%20", "cyd"][usize::try_from((round + n) % 4).unwrap()];
            let event_id = |kind: &str| format!("{kind}{round}");
            platform
                .ingest([
                    transfer(&event_id("t"), name(0), name(1), 500 - round % 7),
                    untimed_transfer(&event_id("u"), name(2), name(0), 600 + round),
                    deposit(&event_id("d"), name(1), "Hl.m. Praha", round),
                    withdrawal(&event_id("w"), name(3), "north", 90 - round),
                    transfer(&event_id("m"), name(0), "mallory", round),
                ])
                .await;
            platform
                .ingest([
                    untimed_transfer(&event_id("u"), name(2), name(0), 900 + round),
                    deposit(&event_id("t"), name(1), "conflict", round),
                    deposit(&event_id("d"), name(1), "Hl.m. Praha", round),
                ])
                .await;
        }
        platform
    }
}

async fn log_of(records: impl IntoIterator<Item = LogRecord>) -> MemoryLog {
    let log = MemoryLog::default();
    for record in records {
        log.publish(&[record]).await.unwrap();
    }
    log
}

fn counts(report: &ReplayReport) -> [u64; 5] {
    let ReplayReport { records, stored, duplicate, conflict, skipped, .. } = *report;
    [records, stored, duplicate, conflict, skipped]
}

#[tokio::test]
async fn a_replayed_store_answers_what_the_first_one_does_and_twice_changes_nothing() {
    let platform = Platform::busy().await;
    let (replayed, expected) = (Stores::default(), platform.stores.answers().await);
    let report = replayed.replay(&*platform.log).await;
    assert!(report.is_complete);
    assert_eq!(counts(&report), [320, 160, 80, 0, 80]);
    assert_eq!(replayed.answers().await, expected);
    let again = replayed.replay(&*platform.log).await;
    assert_eq!(counts(&again), [320, 0, 240, 0, 80]);
    assert_eq!(replayed.answers().await, expected);
    let beside = platform.stores.replay(&*platform.log).await;
    assert_eq!(counts(&beside), [320, 0, 240, 0, 80], "the log says nothing that was not so");
    assert_eq!(platform.stores.answers().await, expected);
}

#[tokio::test]
async fn a_log_that_holds_records_twice_makes_the_same_stores() {
    let platform = Platform::busy().await;
    let expected = platform.stores.answers().await;
    let records: Vec<_> = platform.log.records().await.unwrap().map(Result::unwrap).collect().await;
    // Pages that were published again, as after lost answers.
    let again = records.chunks(50).flat_map(|page| [page, page]).flatten().cloned();
    let replayed = Stores::default();
    let report = replayed.replay(&log_of(again).await).await;
    assert_eq!(counts(&report), [640, 160, 320, 0, 160]);
    assert_eq!(replayed.answers().await, expected);
}

#[tokio::test]
async fn of_several_records_of_an_event_the_first_says_when_it_was_recorded() {
    let record = |recorded_at| LogRecord {
        recorded_at,
        ..log_record(transfer("t", "ann", "bob", 1), Outcome::Stored)
    };
    for (recorded_at, expected) in [(Some(at(7)), at(7)), (None, at(102))] {
        let log = log_of([record(recorded_at), record(Some(at(3))), record(Some(at(999)))]).await;
        let replayed = Stores::default();
        assert_eq!(counts(&replayed.replay(&log).await), [3, 1, 2, 0, 0]);
        let stored = replayed.events.get(&id("t")).await.unwrap().unwrap();
        assert_eq!(stored.recorded_at, expected, "without it, when the request was finished");
    }
}

#[tokio::test]
async fn many_events_of_their_own_time_are_all_replayed() {
    let record = |n: i64| LogRecord {
        recorded_at: Some(at(n)),
        ..log_record(transfer(&format!("t{n}"), "ann", "bob", n), Outcome::Stored)
    };
    let replayed = Stores::default();
    let report = replayed.replay(&log_of((0..2_500).map(record)).await).await;
    assert_eq!(counts(&report), [2_500, 2_500, 0, 0, 0]);
    for n in [0, 1_023, 1_024, 2_499] {
        let stored = replayed.events.get(&id(&format!("t{n}"))).await.unwrap().unwrap();
        assert_eq!(stored.recorded_at, at(n));
    }
}

#[tokio::test]
async fn another_event_of_the_same_id_is_named_and_not_overwritten() {
    let stores = Stores::default();
    let (kept, logged) = (transfer("t", "ann", "bob", 1), transfer("t", "ann", "eve", 1));
    stores.events.append(&batch([kept.clone()]), at(5)).await.unwrap();
    let log = log_of([
        log_record(transfer("s", "ann", "bob", 2), Outcome::Stored),
        log_record(logged, Outcome::Stored),
    ]);
    let replayer = Replayer::new(Arc::clone(&stores.events) as _, Arc::clone(&stores.adjacency) as _);
    let mut named = Vec::new();
    let report = replayer
        .run(&log.await, &CancellationToken::new(), |step| named.extend(step.conflicts.to_vec()))
        .await
        .unwrap();
    assert_eq!(counts(&report), [2, 1, 0, 1, 0]);
    assert_eq!(named, [id("t")]);
    assert_eq!(stores.events.get(&id("t")).await.unwrap().unwrap().event, kept);
    let linked = stores.adjacency.clients(&ClientQuery::default()).await.unwrap().items;
    assert!(linked.iter().all(|client| client.as_str() != "eve"), "what is not stored is not linked");
}

#[tokio::test]
async fn whatever_failed_a_new_replay_does_the_rest() {
    let platform = Platform::busy().await;
    let expected = platform.stores.answers().await;
    for fate in [Fate::Fail(FaultKind::Unavailable), Fate::LoseAnswer(FaultKind::Timeout)] {
        for (failing, calls) in [("append", 7), ("link", 1)] {
            let replayed = Stores::default();
            let plan = |port| {
                let is_failing = port == failing;
                std::iter::repeat_n(Fate::Pass, calls).chain([fate]).filter(move |_| is_failing)
            };
            let replayer = Replayer::new(
                Arc::new(Faulty::new(Arc::clone(&replayed.events), plan("append"))),
                Arc::new(Faulty::new(Arc::clone(&replayed.adjacency), plan("link"))),
            );
            let error = replayer.run(&*platform.log, &CancellationToken::new(), |_| {}).await.unwrap_err();
            match failing {
                "append" => assert!(matches!(error, ReplayError::Append(_)), "{error:?}"),
                _ => assert!(matches!(error, ReplayError::Link(_)), "{error:?}"),
            }
            replayed.replay(&*platform.log).await;
            assert_eq!(replayed.answers().await, expected, "after {failing} and {fate:?}");
        }
    }
}

/// A log that fails behind its records.
struct Torn(MemoryLog);

#[async_trait]
impl LogReader for Torn {
    async fn records(&self) -> Result<RecordStream, LogError> {
        let end = Err(Fault::new("log", "read", FaultKind::Corrupt).into());
        Ok(self.0.records().await?.chain(stream::iter([end])).boxed())
    }
}

#[tokio::test]
async fn what_comes_before_a_place_that_cannot_be_read_is_replayed() {
    let stores = Stores::default();
    let log = Torn(log_of([log_record(transfer("t", "ann", "bob", 1), Outcome::Stored)]).await);
    let replayer = Replayer::new(Arc::clone(&stores.events) as _, Arc::clone(&stores.adjacency) as _);
    let error = replayer.run(&log, &CancellationToken::new(), |_| {}).await.unwrap_err();
    assert!(matches!(error, ReplayError::Log(_)), "{error:?}");
    assert!(stores.events.get(&id("t")).await.unwrap().is_some());
    assert_eq!(stores.adjacency.clients(&ClientQuery::default()).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_it_has_begun() {
    let record = |n: i64| log_record(transfer(&format!("t{n}"), "ann", "bob", n), Outcome::Stored);
    let log = log_of((0..5_000).map(record)).await;
    let (stores, stop) = (Stores::default(), CancellationToken::new());
    let replayer = Replayer::new(Arc::clone(&stores.events) as _, Arc::clone(&stores.adjacency) as _);
    let report = replayer.run(&log, &stop, |_| stop.cancel()).await.unwrap();
    assert!(!report.is_complete && report.stored == report.records, "{report:?}");
    assert!(report.records < 5_000, "it stops early: {report:?}");
    assert!(stores.replay(&log).await.is_complete);
}
