//! What every [`LongTermLog`] must do, together with its [`LogReader`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{TryStreamExt, poll};
use tokio::time::timeout;

use super::{Fixture, at, client, deposit, log_record, transfer, untimed_transfer, withdrawal};
use crate::domain::{Event, EventScreening, LogRecord, Outcome};
use crate::port::{LogReader, LongTermLog, MAX_RECORDS};

/// How long a case waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many publish at the same time.
const RACERS: usize = 16;

/// A log, and the way to read what is in it.
pub struct LogStage {
    /// The log under test.
    pub log: Arc<dyn LongTermLog>,
    /// Reads the same log.
    pub reader: Arc<dyn LogReader>,
}

impl std::fmt::Debug for LogStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogStage")
    }
}

impl LogStage {
    /// Makes a stage of something that is both.
    pub fn of(log: Arc<impl LongTermLog + LogReader>) -> Self {
        Self { log: Arc::clone(&log) as _, reader: log }
    }

    async fn publish(&self, records: &[LogRecord]) {
        self.log.publish(records).await.unwrap();
    }

    async fn read(&self) -> Vec<LogRecord> {
        let stream = self.reader.records().await.unwrap();
        timeout(PATIENCE, stream.try_collect()).await.expect("a reader ends").unwrap()
    }

    /// Returns the ids of a client's events, in the order in which their records are first found.
    async fn first_finds(&self, name: &str) -> Vec<String> {
        let records = self.read().await;
        let mut seen = BTreeSet::new();
        let ids = records.iter().filter(|record| *record.client() == client(name));
        ids.map(|record| record.event.id().to_string()).filter(|id| seen.insert(id.clone())).collect()
    }
}

type Subject = Fixture<LogStage>;

fn stored(event_id: &str, sender: &str) -> LogRecord {
    log_record(transfer(event_id, sender, "Receiver", 1), Outcome::Stored)
}

/// Returns what records are compared by when nothing is said about their order.
fn sorted(mut records: Vec<LogRecord>) -> Vec<LogRecord> {
    records.sort_by(|a, b| a.event.id().as_str().cmp(b.event.id().as_str()));
    records
}

/// LL-1: a log without records is read to its end at once.
pub async fn ll1_an_empty_log_has_no_records(subject: Subject) {
    assert_eq!(subject.port.read().await, []);
}

/// LL-1: whatever is in a record is found as it was published.
pub async fn ll1_records_are_found_as_they_were(subject: Subject) {
    let name = "Ω'%/\\\"🦀\u{2028} محمد";
    let longest = "\"".repeat(256);
    let events: [Event; 6] = [
        transfer("a", name, "bob", -3),
        untimed_transfer("b", "ann", name, 3),
        deposit("c", name, "Hl.m. Praha", 5),
        withdrawal("d", "ann", name, 5),
        transfer(&"e".repeat(64), &longest, name, 7),
        withdrawal("f", &longest, &longest, 7),
    ];
    let outcomes = [Outcome::Stored, Outcome::Duplicate, Outcome::Fraudulent, Outcome::Conflict];
    let mut records: Vec<_> = events
        .iter()
        .zip(outcomes.iter().cycle())
        .map(|(event, outcome)| log_record(event.clone(), *outcome))
        .collect();
    records[2].screening = EventScreening::None { version: records[2].screening.version().clone() };
    records[1].recorded_at = None;
    records[0].finished_at = at(-1);
    subject.port.publish(&records).await;
    assert_eq!(sorted(subject.port.read().await), records);
}

/// LL-1: of the largest call, every record is found.
pub async fn ll1_the_largest_call_is_found_whole(subject: Subject) {
    let records: Vec<_> =
        (0..MAX_RECORDS).map(|n| stored(&format!("e{n:04}"), &format!("client {}", n % 7))).collect();
    subject.port.publish(&records).await;
    assert!(sorted(subject.port.read().await) == records, "every record is found once");
}

/// LL-1: what is published at the same time is all found.
pub async fn ll1_racing_calls_lose_nothing(subject: Subject) {
    let calls = (0..RACERS).map(|racer| {
        let log = Arc::clone(&subject.port.log);
        let ids = (0..8).map(move |n| format!("e{racer:02}-{n}"));
        let records: Vec<_> = ids.map(|id| stored(&id, &format!("client {racer}"))).collect();
        tokio::spawn(async move { log.publish(&records).await.map(|()| records) })
    });
    let mut published = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        published.extend(call.await.unwrap().unwrap());
    }
    assert_eq!(sorted(subject.port.read().await), published);
    for racer in 0..RACERS {
        let expected: Vec<_> = (0..8).map(|n| format!("e{racer:02}-{n}")).collect();
        let found = subject.port.first_finds(&format!("client {racer}")).await;
        assert_eq!(found, expected, "the records of a call keep their order");
    }
}

/// LL-2: in order per client, whatever comes between.
pub async fn ll2_records_of_a_client_keep_their_order(subject: Subject) {
    // Ids that go down, so that no order but that of the calls will do.
    let names = ["ann", "bob", "cyd"];
    for call in (0..10).rev() {
        let records: Vec<_> =
            (0..6).rev().map(|n| stored(&format!("e{call}{n}"), names[(call + n) % 3])).collect();
        subject.port.publish(&records).await;
    }
    for (place, name) in names.into_iter().enumerate() {
        let calls = (0..10).rev().flat_map(|call| (0..6).rev().map(move |n| (call, n)));
        let of_client = calls.filter(|(call, n)| (call + n) % 3 == place);
        let expected: Vec<_> = of_client.map(|(call, n)| format!("e{call}{n}")).collect();
        assert_eq!(subject.port.first_finds(name).await, expected, "{name}");
    }
}

/// LL-2: who reads again finds the same.
pub async fn ll2_reading_takes_nothing_away(subject: Subject) {
    subject.port.publish(&[stored("a", "ann"), stored("b", "ann")]).await;
    for _ in 0..2 {
        assert_eq!(subject.port.first_finds("ann").await, ["a", "b"]);
    }
}

/// LL-2: a reader answers what was there when it was opened, and ends although more comes.
pub async fn ll2_a_reader_ends_although_the_log_grows(subject: Subject) {
    subject.port.publish(&[stored("a", "ann")]).await;
    let stream = subject.port.reader.records().await.unwrap();
    subject.port.publish(&[stored("b", "ann")]).await;
    let found: Vec<_> = timeout(PATIENCE, stream.try_collect()).await.expect("a reader ends").unwrap();
    assert_eq!(found.first(), Some(&stored("a", "ann")));
}

/// LL-3: a record that is published again is still found in front of what came after it.
pub async fn ll3_publishing_again_keeps_the_order(subject: Subject) {
    let records = ["a", "b", "c"].map(|id| stored(id, "ann"));
    for again in [&records[..], &records[..1], &records[1..]] {
        subject.port.publish(again).await;
        assert_eq!(subject.port.first_finds("ann").await, ["a", "b", "c"]);
    }
}

/// A call that is cancelled may be applied, but never behind a later one.
pub async fn ll3_a_cancelled_call_does_not_come_later(subject: Subject) {
    for round in 0..20 {
        let ids = [format!("e{round:02}a"), format!("e{round:02}b")];
        let cancelled = [stored(&ids[0], "ann")];
        {
            let mut call = std::pin::pin!(subject.port.log.publish(&cancelled));
            let _ = poll!(&mut call);
        }
        subject.port.publish(&[stored(&ids[1], "ann")]).await;
    }
    let found = subject.port.first_finds("ann").await;
    assert!(found.is_sorted(), "a cancelled call is in its place or nowhere: {found:?}");
    assert!(found.len() >= 20, "the other calls are all there");
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! long_term_log_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args long_term_log:
            ll1_an_empty_log_has_no_records,
            ll1_records_are_found_as_they_were,
            ll1_the_largest_call_is_found_whole,
            ll1_racing_calls_lose_nothing,
            ll2_records_of_a_client_keep_their_order,
            ll2_reading_takes_nothing_away,
            ll2_a_reader_ends_although_the_log_grows,
            ll3_publishing_again_keeps_the_order,
            ll3_a_cancelled_call_does_not_come_later,
        }
    };
}

/// Emits the [`LongTermLog`](crate::port::LongTermLog) suite for the fixture that a future answers: a
/// [`LogStage`](crate::testkit::long_term_log::LogStage).
#[macro_export]
macro_rules! long_term_log_conformance {
    ($fixture:expr) => {
        $crate::long_term_log_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
