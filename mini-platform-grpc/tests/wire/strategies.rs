//! Any valid domain value.

use mini_platform_core::domain::{
    Amount, BranchId, ClientId, Currency, Etag, Event, EventBatch, EventId, EventScreening, IngestOutcome,
    ListEntry, ListVersion, OccurredAt, OperationType, Outcome, PartyRole, StoredEvent, Timestamp,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// 0001-01-01T00:00:00Z and 9999-12-30T22:00:00Z, as `event.proto` says.
pub(crate) const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_207_200_000_000;

/// Names in many scripts, up to `max` characters.
fn name(max: usize) -> impl Strategy<Value = String> {
    let longest = "a".repeat(max);
    prop_oneof![
        8 => "[a-zA-Z0-9./%'\"éß🦀محمد]{1,20}( [a-zA-Z]{1,20})?",
        4 => vec(any::<char>().prop_filter("no control characters", |c| !c.is_control()), 1..=max / 4)
            .prop_map(|chars| chars.into_iter().collect::<String>().trim().to_owned())
            .prop_filter("not only white space", |text| !text.is_empty()),
        1 => Just(longest),
    ]
}

fn client() -> impl Strategy<Value = ClientId> {
    name(256).prop_map(|text| ClientId::new(text).unwrap())
}

fn branch() -> impl Strategy<Value = BranchId> {
    name(256).prop_map(|text| BranchId::new(text).unwrap())
}

fn event_id() -> impl Strategy<Value = EventId> {
    "[!-~]{1,64}".prop_map(|text| EventId::new(text).unwrap())
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![TIMES, select(vec![*TIMES.start(), -1, 0, 1, *TIMES.end()])]
        .prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

fn occurred_at() -> impl Strategy<Value = OccurredAt> {
    prop_oneof![timestamp().prop_map(OccurredAt::Given), timestamp().prop_map(OccurredAt::Received)]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![1..=i64::MAX, Just(1), Just(i64::MAX)]
        .prop_map(|units| Amount::from_minor_units(units).unwrap())
}

fn currency() -> impl Strategy<Value = Currency> {
    select(vec!["EUR", "CZK", "JPY", "KWD"]).prop_map(|code| code.parse().unwrap())
}

fn transaction() -> impl Strategy<Value = Event> {
    let parties = (client(), client()).prop_filter("nobody pays themselves", |(one, other)| one != other);
    (event_id(), parties, amount(), currency(), occurred_at()).prop_map(
        |(id, (sender, receiver), amount, currency, at)| {
            Event::transaction(id, sender, receiver, amount, currency, at).unwrap()
        },
    )
}

fn operation() -> impl Strategy<Value = Event> {
    let kind = select(vec![OperationType::Deposit, OperationType::Withdraw]);
    (event_id(), client(), branch(), kind, amount(), currency(), occurred_at()).prop_map(
        |(id, client, branch, kind, amount, currency, at)| {
            Event::operation(id, client, branch, kind, amount, currency, at)
        },
    )
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![transaction(), operation()]
}

pub(crate) fn stored_event() -> impl Strategy<Value = StoredEvent> {
    (event(), timestamp()).prop_map(|(event, recorded_at)| StoredEvent { event, recorded_at })
}

pub(crate) fn batch() -> impl Strategy<Value = EventBatch> {
    vec(event(), 1..12).prop_filter_map("different ids", |events| EventBatch::new(events).ok())
}

fn list_version() -> impl Strategy<Value = ListVersion> {
    (timestamp(), "[!-~]{1,128}").prop_map(|(at, etag)| ListVersion::new(at, Etag::new(etag).unwrap()))
}

fn party() -> impl Strategy<Value = PartyRole> {
    select(vec![PartyRole::Sender, PartyRole::Receiver, PartyRole::Depositor, PartyRole::Withdrawer])
}

pub(crate) fn screening() -> impl Strategy<Value = EventScreening> {
    prop_oneof![
        list_version().prop_map(|version| EventScreening::None { version }),
        list_version().prop_map(|version| EventScreening::Clear { version }),
        (list_version(), party(), name(1024)).prop_map(|(version, party, entry)| {
            EventScreening::Hit { version, party, entry: ListEntry::new(entry).unwrap() }
        }),
    ]
}

pub(crate) fn result() -> impl Strategy<Value = IngestOutcome> {
    let outcome = select(vec![Outcome::Stored, Outcome::Duplicate, Outcome::Fraudulent, Outcome::Conflict]);
    (outcome, screening()).prop_map(|(outcome, screening)| IngestOutcome { outcome, screening })
}
