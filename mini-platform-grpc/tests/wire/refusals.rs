//! What breaks a rule is refused by the name of its field, whatever it is.

use mini_platform_core::domain::{
    BranchLink, Epoch, Event, EventBatch, EventScreening, Incarnation, IngestOutcome, Interaction,
    InvalidBatch, InvalidId, InvalidMoney, ListEntry, ListInfo, ListVersion, MAX_BATCH, Page, PartyRole,
    ProtocolVersion, Recording, SameParty, Screening, StoredEvent, WorkerId,
};
use mini_platform_core::port::{FetchAnswer, FetchQuery, HeartbeatAnswer, JoinAnswer, JoinRequest};
use mini_platform_core::testkit::{at, batch, deposit, id, list_version, transfer};
use mini_platform_grpc::convert::event_from;
use mini_platform_grpc::v1::event::{Details, OccurredAt};
use mini_platform_grpc::v1::event_screening::{Hit, Verdict};
use mini_platform_grpc::{ConvertError, Problem, v1};
use proptest::prelude::*;
use prost::Message;

use crate::strategies;

/// A change that breaks a message, the field that is then named, and what is said of it.
pub(crate) type Break<M> = (fn(&mut M), &'static str, Problem);

/// Breaks a good message in each way, and expects the refusal that belongs to it.
pub(crate) fn each_is_refused<M: Clone, T: TryFrom<M, Error = ConvertError> + std::fmt::Debug>(
    good: &M,
    breaks: Vec<Break<M>>,
) {
    assert!(T::try_from(good.clone()).is_ok(), "what is broken below is good before");
    for (change, field, problem) in breaks {
        let mut broken = good.clone();
        change(&mut broken);
        let refused = T::try_from(broken).expect_err(field);
        assert_eq!((refused.field(), refused.problem()), (field, &problem));
    }
}

fn transaction_of(event: &mut v1::Event) -> &mut v1::Transaction {
    match &mut event.details {
        Some(Details::Transaction(transaction)) => transaction,
        other => panic!("expected a transaction, got {other:?}"),
    }
}

fn operation_of(event: &mut v1::Event) -> &mut v1::Operation {
    match &mut event.details {
        Some(Details::Operation(operation)) => operation,
        other => panic!("expected an operation, got {other:?}"),
    }
}

fn hit_of(screening: &mut v1::EventScreening) -> &mut Hit {
    match &mut screening.verdict {
        Some(Verdict::Hit(hit)) => hit,
        other => panic!("expected a hit, got {other:?}"),
    }
}

fn hit() -> EventScreening {
    let entry = ListEntry::new("Eve Secret").unwrap();
    EventScreening::Hit { version: list_version(1), party: PartyRole::Receiver, entry }
}

#[test]
fn a_broken_event_is_refused() {
    let too_long = || InvalidId::TooLong { max: 64, actual: 65 }.into();
    each_is_refused::<v1::Event, Event>(
        &(&transfer("e1", "ann", "bob", 1)).into(),
        vec![
            (|event| event.id.clear(), "id", InvalidId::Empty.into()),
            (|event| event.id = "a".repeat(65), "id", too_long()),
            (|event| event.id = "a b".into(), "id", InvalidId::NotPrintableAscii.into()),
            (|event| event.amount_minor_units = 0, "amount_minor_units", InvalidMoney::NotPositive.into()),
            (|event| event.amount_minor_units = -1, "amount_minor_units", InvalidMoney::NotPositive.into()),
            (|event| event.currency.clear(), "currency", InvalidMoney::UnknownCurrency.into()),
            (|event| event.currency = "eur".into(), "currency", InvalidMoney::UnknownCurrency.into()),
            (|event| event.occurred_at = None, "occurred_at", Problem::Missing),
            (|event| event.details = None, "details", Problem::Missing),
        ],
    );
}

#[test]
fn a_time_outside_of_four_digit_years_is_refused() {
    let (min, max) = (*strategies::TIMES.start(), *strategies::TIMES.end());
    for micros in [i64::MIN, min - 1, max + 1, i64::MAX] {
        for (time, field) in [
            (OccurredAt::GivenAtMicros(micros), "given_at_micros"),
            (OccurredAt::ReceivedAtMicros(micros), "received_at_micros"),
        ] {
            let mut event = v1::Event::from(&transfer("e1", "ann", "bob", 1));
            event.occurred_at = Some(time);
            let refused = Event::try_from(event).expect_err(field);
            assert_eq!((refused.field(), refused.problem()), (field, &Problem::Timestamp));
        }
    }
}

#[test]
fn a_broken_transaction_is_refused() {
    each_is_refused::<v1::Event, Event>(
        &(&transfer("e1", "ann", "bob", 1)).into(),
        vec![
            (|event| transaction_of(event).sender.clear(), "transaction.sender", InvalidId::Empty.into()),
            (
                |event| transaction_of(event).receiver = " bob".into(),
                "transaction.receiver",
                InvalidId::OuterWhiteSpace.into(),
            ),
            (|event| transaction_of(event).receiver = "ann".into(), "transaction.receiver", SameParty.into()),
        ],
    );
}

#[test]
fn a_broken_operation_is_refused() {
    each_is_refused::<v1::Event, Event>(
        &(&deposit("e1", "ann", "north", 1)).into(),
        vec![
            (
                |event| operation_of(event).client = "a\0".into(),
                "operation.client",
                InvalidId::ControlCharacter.into(),
            ),
            (|event| operation_of(event).branch.clear(), "operation.branch", InvalidId::Empty.into()),
            (|event| operation_of(event).operation = 0, "operation.operation", Problem::Unspecified),
            (|event| operation_of(event).operation = 3, "operation.operation", Problem::UnknownEnumValue(3)),
            (
                |event| operation_of(event).operation = -1,
                "operation.operation",
                Problem::UnknownEnumValue(-1),
            ),
        ],
    );
}

#[test]
fn a_broken_stored_event_is_refused() {
    let stored = StoredEvent { event: transfer("e1", "ann", "bob", 1), recorded_at: at(2) };
    each_is_refused::<v1::StoredEvent, StoredEvent>(
        &(&stored).into(),
        vec![
            (|stored| stored.event = None, "event", Problem::Missing),
            (|stored| stored.event = Some(v1::Event::default()), "event.id", InvalidId::Empty.into()),
            (|stored| stored.recorded_at_micros = None, "recorded_at_micros", Problem::Missing),
            (|stored| stored.recorded_at_micros = Some(i64::MAX), "recorded_at_micros", Problem::Timestamp),
        ],
    );
}

#[test]
fn a_broken_batch_is_refused_with_the_place_of_the_event() {
    let events = [transfer("e1", "ann", "bob", 1), deposit("e2", "ann", "north", 2)];
    each_is_refused::<v1::EventBatch, EventBatch>(
        &(&batch(events)).into(),
        vec![
            (|batch| batch.events.clear(), "events", InvalidBatch::Empty.into()),
            (
                |batch| batch.events.resize(MAX_BATCH + 1, v1::Event::default()),
                "events",
                InvalidBatch::TooLarge(MAX_BATCH + 1).into(),
            ),
            (|batch| batch.events[1].id = "e1".into(), "events", InvalidBatch::RepeatedId(id("e1")).into()),
            (
                |batch| transaction_of(&mut batch.events[0]).sender.clear(),
                "events[0].transaction.sender",
                InvalidId::Empty.into(),
            ),
            (|batch| batch.events[1].details = None, "events[1].details", Problem::Missing),
        ],
    );
}

#[test]
fn a_broken_result_is_refused() {
    let result = IngestOutcome::fraudulent(hit());
    each_is_refused::<v1::EventResult, IngestOutcome>(
        &(&result).into(),
        vec![
            (|result| result.outcome = 0, "outcome", Problem::Unspecified),
            (|result| result.outcome = i32::MAX, "outcome", Problem::UnknownEnumValue(i32::MAX)),
            (|result| result.screening = None, "screening", Problem::Missing),
            (
                |result| result.screening = Some(v1::EventScreening::default()),
                "screening.list_version",
                Problem::Missing,
            ),
        ],
    );
}

#[test]
fn a_broken_recording_is_refused() {
    let recording = Recording { occurred_at: at(1), recorded_at: at(2) };
    each_is_refused::<v1::Recording, Recording>(
        &recording.into(),
        vec![
            (|recording| recording.occurred_at_micros = None, "occurred_at_micros", Problem::Missing),
            (
                |recording| recording.occurred_at_micros = Some(i64::MIN),
                "occurred_at_micros",
                Problem::Timestamp,
            ),
            (|recording| recording.recorded_at_micros = None, "recorded_at_micros", Problem::Missing),
            (
                |recording| recording.recorded_at_micros = Some(i64::MAX),
                "recorded_at_micros",
                Problem::Timestamp,
            ),
        ],
    );
    let screening = || EventScreening::Clear { version: list_version(1) };
    for outcome in
        [IngestOutcome::stored(screening(), recording), IngestOutcome::duplicate(screening(), recording)]
    {
        each_is_refused::<v1::EventResult, IngestOutcome>(
            &(&outcome).into(),
            vec![(
                |result| result.recording = Some(v1::Recording::default()),
                "recording.occurred_at_micros",
                Problem::Missing,
            )],
        );
    }
}

#[test]
fn a_recording_of_what_is_not_stored_is_passed_over() {
    for outcome in [IngestOutcome::fraudulent(hit()), IngestOutcome::conflict(hit())] {
        let result = v1::EventResult { recording: Some(v1::Recording::default()), ..(&outcome).into() };
        assert_eq!(IngestOutcome::try_from(result), Ok(outcome));
    }
}

#[test]
fn a_broken_screening_is_refused() {
    let too_long = InvalidId::TooLong { max: 1024, actual: 1025 };
    each_is_refused::<v1::EventScreening, EventScreening>(
        &(&hit()).into(),
        vec![
            (|screening| screening.list_version = None, "list_version", Problem::Missing),
            (|screening| screening.verdict = None, "verdict", Problem::Missing),
            (|screening| hit_of(screening).party = 0, "hit.party", Problem::Unspecified),
            (|screening| hit_of(screening).party = 5, "hit.party", Problem::UnknownEnumValue(5)),
            (|screening| hit_of(screening).entry.clear(), "hit.entry", InvalidId::Empty.into()),
            (|screening| hit_of(screening).entry = "a".repeat(1025), "hit.entry", too_long.into()),
        ],
    );
}

#[test]
fn a_broken_list_version_is_refused() {
    each_is_refused::<v1::ListVersion, ListVersion>(
        &(&list_version(1)).into(),
        vec![
            (|version| version.published_at_micros = None, "published_at_micros", Problem::Missing),
            (
                |version| version.published_at_micros = Some(i64::MIN),
                "published_at_micros",
                Problem::Timestamp,
            ),
            (|version| version.etag.clear(), "etag", Problem::Etag),
            (|version| version.etag = "a b".into(), "etag", Problem::Etag),
        ],
    );
}

#[test]
fn a_refusal_can_be_read_and_gives_nobody_away() {
    let mut event = v1::Event::from(&transfer("e1", "Ann Secret", "bob", 1));
    transaction_of(&mut event).receiver = "Ann Secret".into();
    let refused = Event::try_from(event).unwrap_err();
    assert_eq!(refused.to_string(), "transaction.receiver: sender and receiver must be different clients");
}

/// Takes any bytes in: a value or a refusal.
fn read_as<M: Message + Default, T: TryFrom<M, Error = ConvertError>>(bytes: &[u8]) {
    let _ = M::decode(bytes).map(T::try_from);
}

/// Takes any bytes in: a value or a refusal, and what is taken can be sent on.
fn take_in<M: Message + Default + for<'a> From<&'a T>, T: TryFrom<M, Error = ConvertError>>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else { return };
    if let Ok(value) = T::try_from(message) {
        assert!(T::try_from(M::from(&value)).is_ok());
    }
}

fn take_in_as_everything(bytes: &[u8]) {
    take_in::<v1::Event, Event>(bytes);
    take_in::<v1::StoredEvent, StoredEvent>(bytes);
    take_in::<v1::EventBatch, EventBatch>(bytes);
    take_in::<v1::EventResult, IngestOutcome>(bytes);
    take_in::<v1::EventScreening, EventScreening>(bytes);
    take_in::<v1::ListVersion, ListVersion>(bytes);
    take_in::<v1::EventPage, Page<StoredEvent>>(bytes);
    take_in::<v1::InteractionPage, Page<Interaction>>(bytes);
    take_in::<v1::BranchPage, Page<BranchLink>>(bytes);
    take_in::<v1::FraudListInfo, ListInfo>(bytes);
    take_in::<v1::CheckNameResponse, Screening>(bytes);
    take_in::<v1::JoinRequest, JoinRequest>(bytes);
    take_in::<v1::JoinResponse, JoinAnswer>(bytes);
    read_as::<v1::FetchTransactionsRequest, FetchQuery>(bytes);
    read_as::<v1::FetchOperationsRequest, FetchQuery>(bytes);
    read_as::<v1::FetchInteractionsRequest, FetchQuery>(bytes);
    read_as::<v1::FetchBranchesRequest, FetchQuery>(bytes);
    read_as::<v1::FetchClientResponse, FetchAnswer>(bytes);
    read_as::<v1::HeartbeatRequest, (WorkerId, Epoch)>(bytes);
    read_as::<v1::HeartbeatResponse, HeartbeatAnswer>(bytes);
    read_as::<v1::IdentifyResponse, (WorkerId, Incarnation, ProtocolVersion)>(bytes);
    if let Ok(submission) = v1::Submission::decode(bytes) {
        let _ = event_from(submission, "EUR".parse().unwrap(), at(1), || Some(id("fresh")));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        take_in_as_everything(&bytes);
    }

    #[test]
    fn a_good_batch_with_damaged_bytes_never_panics(
        batch in strategies::batch(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        kept in any::<prop::sample::Index>(),
    ) {
        let mut bytes = v1::EventBatch::from(&batch).encode_to_vec();
        for (place, byte) in damage {
            *place.get_mut(&mut bytes) = byte;
        }
        take_in_as_everything(&bytes);
        take_in_as_everything(&bytes[..kept.index(bytes.len())]);
    }

    #[test]
    fn a_good_result_with_damaged_bytes_never_panics(
        result in strategies::result(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = v1::EventResult::from(&result).encode_to_vec();
        for (place, byte) in damage {
            *place.get_mut(&mut bytes) = byte;
        }
        take_in_as_everything(&bytes);
    }

    #[test]
    fn a_good_request_or_answer_with_damaged_bytes_never_panics(
        answer in strategies::fetch_answer(),
        request in strategies::join_request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let answered = match v1::FetchClientResponse::try_from(&answer) {
            Ok(response) => response.encode_to_vec(),
            Err(_) => v1::FetchTransactionsResponse::try_from(&answer).unwrap_or_default().encode_to_vec(),
        };
        for mut bytes in [answered, v1::JoinRequest::from(&request).encode_to_vec()] {
            for (place, byte) in damage.iter().filter(|_| !bytes.is_empty()).cloned().collect::<Vec<_>>() {
                *place.get_mut(&mut bytes) = byte;
            }
            take_in_as_everything(&bytes);
        }
    }

    #[test]
    fn a_number_that_an_enum_does_not_have_is_refused(number in prop_oneof![any::<i32>(), -1..8]) {
        let mut event = v1::Event::from(&deposit("e1", "ann", "north", 1));
        operation_of(&mut event).operation = number;
        let known = v1::OperationType::try_from(number).is_ok_and(|kind| kind != v1::OperationType::Unspecified);
        prop_assert_eq!(Event::try_from(event).is_ok(), known);
    }
}
