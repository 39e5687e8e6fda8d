//! Short ways to write events, lists and records.

use futures_util::{StreamExt, stream};

use crate::domain::{
    Amount, BranchId, ClientId, Etag, Event, EventBatch, EventId, EventScreening, ListEntry, ListVersion,
    LogRecord, OccurredAt, OperationType, Outcome, Timestamp, TraceContext, WorkerId,
};
use crate::port::FraudList;

/// Returns an event id.
#[must_use]
pub fn id(text: &str) -> EventId {
    EventId::new(text).unwrap()
}

/// Returns a client.
#[must_use]
pub fn client(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

/// Returns a branch.
#[must_use]
pub fn branch(name: &str) -> BranchId {
    BranchId::new(name).unwrap()
}

/// Returns the time of that many seconds after 1970 (before, when negative).
#[must_use]
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000).unwrap()
}

fn amount() -> Amount {
    Amount::from_minor_units(1_250).unwrap()
}

/// Returns a transaction.
#[must_use]
pub fn transfer(event_id: &str, sender: &str, receiver: &str, seconds: i64) -> Event {
    timed_transfer(event_id, sender, receiver, OccurredAt::Given(at(seconds)))
}

/// Returns a transaction whose submitter did not say when it happened.
#[must_use]
pub fn untimed_transfer(event_id: &str, sender: &str, receiver: &str, received_at: i64) -> Event {
    timed_transfer(event_id, sender, receiver, OccurredAt::Received(at(received_at)))
}

fn timed_transfer(event_id: &str, sender: &str, receiver: &str, occurred_at: OccurredAt) -> Event {
    let currency = "EUR".parse().unwrap();
    Event::transaction(id(event_id), client(sender), client(receiver), amount(), currency, occurred_at)
        .unwrap()
}

/// Returns a deposit.
#[must_use]
pub fn deposit(event_id: &str, name: &str, place: &str, seconds: i64) -> Event {
    operation(event_id, name, place, OperationType::Deposit, seconds)
}

/// Returns a withdrawal.
#[must_use]
pub fn withdrawal(event_id: &str, name: &str, place: &str, seconds: i64) -> Event {
    operation(event_id, name, place, OperationType::Withdraw, seconds)
}

fn operation(event_id: &str, name: &str, place: &str, operation: OperationType, seconds: i64) -> Event {
    let occurred_at = OccurredAt::Given(at(seconds));
    let currency = "EUR".parse().unwrap();
    Event::operation(id(event_id), client(name), branch(place), operation, amount(), currency, occurred_at)
}

/// Returns a batch.
#[must_use]
pub fn batch(events: impl IntoIterator<Item = Event>) -> EventBatch {
    EventBatch::new(events.into_iter().collect()).unwrap()
}

/// Returns the version of a list that was published that many seconds after 1970.
#[must_use]
pub fn list_version(published_at: i64) -> ListVersion {
    ListVersion::new(at(published_at), Etag::new(format!("etag-{published_at}")).unwrap())
}

/// Returns a list of names that was published that many seconds after 1970, in chunks of two.
#[must_use]
pub fn fraud_list(published_at: i64, names: &[&str]) -> FraudList {
    let entries: Vec<ListEntry> = names.iter().map(|name| ListEntry::new(name).unwrap()).collect();
    let chunks: Vec<_> = entries.chunks(2).map(|chunk| Ok(chunk.to_vec())).collect();
    FraudList {
        version: list_version(published_at),
        source: "test".to_owned(),
        chunks: stream::iter(chunks).boxed(),
    }
}

/// Returns the record of an event that was received at 100 s, recorded at 101 s if it was stored or is a duplicate,
/// and finished at 102 s. The first party of a fraudulent one is on the list.
#[must_use]
pub fn log_record(event: Event, outcome: Outcome) -> LogRecord {
    let version = list_version(1);
    let screening = match (outcome, event.parties().next()) {
        (Outcome::Fraudulent, Some((party, name))) => {
            let entry = ListEntry::new(name.as_str()).unwrap();
            EventScreening::Hit { version, party, entry }
        }
        _ => EventScreening::Clear { version },
    };
    let is_stored = matches!(outcome, Outcome::Stored | Outcome::Duplicate);
    LogRecord {
        event,
        outcome,
        screening,
        recorded_at: is_stored.then(|| at(101)),
        worker: WorkerId::LOCAL,
        received_at: at(100),
        finished_at: at(102),
        trace: TraceContext::new(1, 2).unwrap(),
    }
}
