//! What every [`Outbox`] must do.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::{Fixture, log_record, transfer, withdrawal};
use crate::domain::{LogRecord, Outcome};
use crate::error::LogError;
use crate::port::{MAX_RECORDS, Outbox, OutboxPage, OutboxPosition};

/// How many bytes wait at most in an outbox under test: room for the largest call and little more.
pub const MAX_BYTES: u64 = 600 << 10;

/// How long a case waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many append at the same time.
const RACERS: usize = 16;

/// An outbox that a case can close and open again. It holds [`MAX_BYTES`] at most.
#[async_trait]
pub trait RestartedOutbox: Outbox {
    /// Ends the outbox as its program ends, and opens it again.
    async fn restart(&self);
}

type Subject = Fixture<dyn RestartedOutbox>;

fn record(id: impl AsRef<str>) -> LogRecord {
    log_record(transfer(id.as_ref(), "ann", "bob", 1), Outcome::Stored)
}

fn records(ids: &[&str]) -> Vec<LogRecord> {
    ids.iter().map(record).collect()
}

fn ids(records: &[LogRecord]) -> Vec<&str> {
    records.iter().map(|record| record.event.id().as_str()).collect()
}

async fn append(subject: &Subject, ids: &[&str]) {
    subject.port.append(&records(ids)).await.unwrap();
}

async fn read(subject: &Subject, max: usize) -> OutboxPage {
    subject.port.read(max).await.unwrap()
}

async fn forget(subject: &Subject, before: OutboxPosition) {
    subject.port.forget(before).await.unwrap();
}

/// Reads and forgets until the outbox is empty.
async fn drain(subject: &Subject) -> Vec<LogRecord> {
    let mut drained = Vec::new();
    loop {
        let page = read(subject, 100).await;
        if page.records.is_empty() {
            return drained;
        }
        drained.extend(page.records);
        forget(subject, page.end).await;
    }
}

/// Appends calls of a hundred records until the outbox is full; returns how many it took.
async fn fill(subject: &Subject) -> usize {
    // A record takes more than a hundred bytes.
    for call in 0..usize::try_from(MAX_BYTES).unwrap() / 10_000 {
        let hundred: Vec<_> = (0..100).map(|n| record(format!("f{call}-{n}"))).collect();
        match subject.port.append(&hundred).await {
            Ok(()) => {}
            Err(LogError::Full) => return call,
            Err(error) => panic!("an outbox is full or not: {error}"),
        }
    }
    panic!("an outbox holds {MAX_BYTES} bytes at most")
}

/// OB-1: records come out as they went in, in the order of the calls.
pub async fn ob1_records_are_read_in_the_order_of_append(subject: Subject) {
    let mut appended = vec![
        log_record(transfer("b", "Ω'%/\\\"🦀", "bob", -1), Outcome::Stored),
        log_record(withdrawal("a", "ann", "Hl.m. Praha", 1), Outcome::Fraudulent),
    ];
    subject.port.append(&appended).await.unwrap();
    for id in ["z", "c", "d"] {
        appended.push(record(id));
        append(&subject, &[id]).await;
    }
    assert_eq!(read(&subject, 100).await.records, appended);
}

/// OB-1: the largest call is taken whole.
pub async fn ob1_the_largest_call_is_taken_whole(subject: Subject) {
    let largest: Vec<_> = (0..MAX_RECORDS).map(|n| record(format!("e{n}"))).collect();
    subject.port.append(&largest).await.unwrap();
    assert!(drain(&subject).await == largest, "every record is read once, in order");
}

/// OB-1: what is appended at the same time is all there, each call in its order.
pub async fn ob1_racing_appends_lose_nothing(subject: Subject) {
    let calls = (0..RACERS).map(|racer| {
        let port = std::sync::Arc::clone(&subject.port);
        let records: Vec<_> = (0..8).map(|n| record(format!("e{racer:02}-{n}"))).collect();
        tokio::spawn(async move { port.append(&records).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    let drained = drain(&subject).await;
    let mut found = ids(&drained);
    for racer in 0..RACERS {
        let prefix = format!("e{racer:02}-");
        let of_racer = found.iter().filter(|id| id.starts_with(&prefix));
        assert!(of_racer.is_sorted(), "the records of a call keep their order");
    }
    found.sort_unstable();
    let expected: Vec<_> =
        (0..RACERS).flat_map(|racer| (0..8).map(move |n| format!("e{racer:02}-{n}"))).collect();
    assert_eq!(found, expected);
}

/// OB-2: there is an end to what is taken, and it is where it should be.
pub async fn ob2_the_room_is_bounded(subject: Subject) {
    fill(&subject).await;
    let bytes = subject.port.status().bytes;
    assert!(bytes <= MAX_BYTES, "{bytes} bytes wait, {MAX_BYTES} may");
    assert!(bytes > MAX_BYTES / 2, "{bytes} bytes are not full");
}

/// OB-2: a call that does not fit leaves nothing.
pub async fn ob2_what_does_not_fit_is_not_taken(subject: Subject) {
    let taken = fill(&subject).await;
    let bytes = subject.port.status().bytes;
    let again: Vec<_> = (0..100).map(|n| record(format!("again-{n}"))).collect();
    assert!(matches!(subject.port.append(&again).await, Err(LogError::Full)));
    assert_eq!(subject.port.status().bytes, bytes);
    let drained = drain(&subject).await;
    assert!(ids(&drained).iter().all(|id| !id.starts_with("again")), "none of the call is taken");
    assert_eq!(drained.len(), taken * 100, "what was taken before is all there");
}

/// OB-2: nor do calls together take more room than there is.
pub async fn ob2_racing_appends_share_the_room(subject: Subject) {
    let calls = (0..RACERS).map(|racer| {
        let port = std::sync::Arc::clone(&subject.port);
        // All of them have no room.
        let records: Vec<_> = (0..120).map(|n| record(format!("e{racer:02}-{n:03}"))).collect();
        tokio::spawn(async move { port.append(&records).await })
    });
    let mut taken = Vec::new();
    for (racer, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        match call.await.unwrap() {
            Ok(()) => taken.extend((0..120).map(|n| format!("e{racer:02}-{n:03}"))),
            Err(error) => assert!(matches!(error, LogError::Full), "an outbox is full or not: {error}"),
        }
    }
    let bytes = subject.port.status().bytes;
    assert!(bytes <= MAX_BYTES, "{bytes} bytes wait, {MAX_BYTES} may");
    let drained = drain(&subject).await;
    let mut found = ids(&drained);
    found.sort_unstable();
    assert_eq!(found, taken, "each call is taken whole or not at all");
}

/// OB-3: the same page again, until it is forgotten.
pub async fn ob3_reading_takes_nothing_away(subject: Subject) {
    append(&subject, &["a", "b", "c"]).await;
    let first = read(&subject, 2).await;
    assert_eq!(ids(&first.records), ["a", "b"]);
    append(&subject, &["d"]).await;
    assert_eq!(read(&subject, 2).await, first);
    assert_eq!(ids(&read(&subject, 100).await.records), ["a", "b", "c", "d"]);
}

/// OB-3: a page has an end, and the next one starts there.
pub async fn ob3_a_page_holds_what_was_asked_for_at_most(subject: Subject) {
    append(&subject, &["a", "b", "c", "d", "e"]).await;
    for expected in [&["a", "b"][..], &["c", "d"], &["e"], &[]] {
        let page = read(&subject, 2).await;
        assert_eq!(ids(&page.records), expected);
        forget(&subject, page.end).await;
    }
}

/// OB-3: nothing is lost with the program, and nothing changes its place.
pub async fn ob3_a_restart_loses_nothing(subject: Subject) {
    append(&subject, &["a", "b"]).await;
    append(&subject, &["c", "d", "e"]).await;
    let page = read(&subject, 2).await;
    forget(&subject, page.end).await;
    subject.port.restart().await;
    append(&subject, &["f"]).await;
    let after = read(&subject, 100).await;
    let found = ids(&after.records);
    assert!(found.ends_with(&["c", "d", "e", "f"]), "what was not forgotten is read: {found:?}");
    assert!(["a", "b", "c", "d", "e", "f"].ends_with(&found), "in the same order: {found:?}");
}

/// OB-4: what is forgotten is not read again.
pub async fn ob4_what_is_forgotten_is_gone(subject: Subject) {
    append(&subject, &["a", "b", "c"]).await;
    let page = read(&subject, 1).await;
    forget(&subject, page.end).await;
    assert_eq!(ids(&read(&subject, 100).await.records), ["b", "c"]);
    append(&subject, &["d"]).await;
    assert_eq!(ids(&drain(&subject).await), ["b", "c", "d"]);
}

/// OB-4: what is forgotten makes room, again and again.
pub async fn ob4_forgetting_gives_room(subject: Subject) {
    let taken = fill(&subject).await;
    for _ in 0..2 {
        assert_eq!(drain(&subject).await.len(), taken * 100);
        assert_eq!(fill(&subject).await, taken, "there is as much room as before");
    }
}

/// OB-4: forgetting what is forgotten forgets nothing else.
pub async fn ob4_forgetting_again_changes_nothing(subject: Subject) {
    append(&subject, &["a", "b", "c"]).await;
    let (first, second) = (read(&subject, 1).await, read(&subject, 2).await);
    for end in [second.end, second.end, first.end] {
        forget(&subject, end).await;
        assert_eq!(ids(&read(&subject, 100).await.records), ["c"]);
    }
}

/// OB-5: how full it is, from empty to empty.
pub async fn ob5_status_tells_the_bytes_that_wait(subject: Subject) {
    assert_eq!(subject.port.status().bytes, 0);
    append(&subject, &["a"]).await;
    let one = subject.port.status().bytes;
    append(&subject, &["b"]).await;
    assert!(one > 0 && subject.port.status().bytes > one);
    drain(&subject).await;
    assert_eq!(subject.port.status().bytes, 0);
}

/// OB-5: who waits for something that is there waits no longer.
pub async fn ob5_wait_answers_while_something_is_there(subject: Subject) {
    append(&subject, &["a"]).await;
    for _ in 0..2 {
        timeout(PATIENCE, subject.port.wait()).await.expect("there is something to read");
    }
}

/// OB-5: an append is noticed, whenever it comes.
pub async fn ob5_an_append_ends_the_wait(subject: Subject) {
    for round in 0..50 {
        let port = std::sync::Arc::clone(&subject.port);
        let appending = tokio::spawn(async move { port.append(&[record(format!("e{round}"))]).await });
        let found = timeout(PATIENCE, async {
            loop {
                subject.port.wait().await;
                let found = drain(&subject).await;
                if !found.is_empty() {
                    return found;
                }
            }
        });
        assert_eq!(found.await.expect("an append ends the wait").len(), 1);
        appending.await.unwrap().unwrap();
    }
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! outbox_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args outbox:
            ob1_records_are_read_in_the_order_of_append,
            ob1_the_largest_call_is_taken_whole,
            ob1_racing_appends_lose_nothing,
            ob2_the_room_is_bounded,
            ob2_what_does_not_fit_is_not_taken,
            ob2_racing_appends_share_the_room,
            ob3_reading_takes_nothing_away,
            ob3_a_page_holds_what_was_asked_for_at_most,
            ob3_a_restart_loses_nothing,
            ob4_what_is_forgotten_is_gone,
            ob4_forgetting_gives_room,
            ob4_forgetting_again_changes_nothing,
            ob5_status_tells_the_bytes_that_wait,
            ob5_wait_answers_while_something_is_there,
            ob5_an_append_ends_the_wait,
        }
    };
}

/// Emits the [`Outbox`](crate::port::Outbox) suite for the fixture that a future answers: a
/// [`RestartedOutbox`](crate::testkit::outbox::RestartedOutbox).
#[macro_export]
macro_rules! outbox_conformance {
    ($fixture:expr) => {
        $crate::outbox_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
