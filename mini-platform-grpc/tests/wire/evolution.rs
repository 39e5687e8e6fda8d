//! Programs of different ages understand each other, or say what they do not understand.

use mini_platform_core::domain::{Event, EventScreening, IngestOutcome, ListInfo, Outcome};
use mini_platform_core::port::{FetchAnswer, FetchQuery, HeartbeatAnswer, JoinAnswer};
use mini_platform_core::testkit::{at, deposit, list_version};
use mini_platform_grpc::{ConvertError, Problem, v1};
use prost::Message;

use crate::schema::all_types;

#[test]
fn a_field_that_a_newer_program_adds_is_passed_over_in_every_message() {
    for message in all_types() {
        for (before, after) in message.before_and_after_a_newer_program() {
            assert_eq!(before, after, "{}", message.name());
        }
    }
}

/// Says where a message is refused, and why.
fn refusal<M, T: TryFrom<M, Error = ConvertError> + std::fmt::Debug>(message: M) -> (String, Problem) {
    let refused = T::try_from(message).unwrap_err();
    (refused.field().to_owned(), refused.problem().clone())
}

/// Reads a message in which only a member of a oneof is set that this version does not know, number 100.
fn with_unknown_member<M: Message + Default>(known: &M) -> M {
    let mut bytes = known.encode_to_vec();
    bytes.extend_from_slice(b"\xa2\x06\x05later");
    M::decode(bytes.as_slice()).unwrap()
}

#[test]
fn a_member_of_a_oneof_that_a_newer_program_adds_is_refused() {
    let missing = |field: &str| (field.to_owned(), Problem::Missing);
    let event = v1::Event { details: None, ..(&deposit("e1", "ann", "north", 1)).into() };
    assert_eq!(refusal::<_, Event>(with_unknown_member(&event)), missing("details"));
    let screening = v1::EventScreening { list_version: Some((&list_version(1)).into()), verdict: None };
    assert_eq!(refusal::<_, EventScreening>(with_unknown_member(&screening)), missing("verdict"));
    let result =
        v1::EventResult { outcome: 1, screening: Some(with_unknown_member(&screening)), recording: None };
    assert_eq!(refusal::<_, IngestOutcome>(result), missing("screening.verdict"));
    let checked = v1::CheckNameResponse { list_version: Some((&list_version(1)).into()), verdict: None };
    assert_eq!(refusal::<_, FetchAnswer>(with_unknown_member(&checked)), missing("verdict"));
    assert_eq!(
        refusal::<_, JoinAnswer>(with_unknown_member(&v1::JoinResponse::default())),
        missing("answer")
    );
}

#[test]
fn an_enum_value_that_a_newer_program_adds_is_refused() {
    let unknown = |field: &str| (field.to_owned(), Problem::UnknownEnumValue(99));
    let client = || "ann".to_owned();
    let transactions =
        v1::FetchTransactionsRequest { client: client(), direction: 99, range: None, page: None };
    assert_eq!(refusal::<_, FetchQuery>(transactions), unknown("direction"));
    let operations = v1::FetchOperationsRequest { client: client(), operation: 99, range: None, page: None };
    assert_eq!(refusal::<_, FetchQuery>(operations), unknown("operation"));
    assert_eq!(refusal::<_, HeartbeatAnswer>(v1::HeartbeatResponse { status: 99 }), unknown("status"));
    let rejected = v1::join_response::Rejected { reason: 99, ..Default::default() };
    let answer = Some(v1::join_response::Answer::Rejected(rejected));
    assert_eq!(refusal::<_, JoinAnswer>(v1::JoinResponse { answer }), unknown("rejected.reason"));
}

#[test]
fn an_older_worker_does_not_say_under_which_times_it_stores() {
    for stored in [Outcome::Stored, Outcome::Duplicate] {
        let result = v1::EventResult {
            outcome: v1::Outcome::from(stored).into(),
            screening: Some((&EventScreening::Clear { version: list_version(1) }).into()),
            recording: None,
        };
        let outcome = IngestOutcome::try_from(result).unwrap();
        assert_eq!((outcome.outcome, outcome.recording), (stored, None));
    }
}

#[test]
fn an_older_worker_confirms_its_list_when_it_loads_it() {
    let list = v1::FraudListInfo {
        version: Some((&list_version(1)).into()),
        entries: 3,
        source: "file:list.csv".to_owned(),
        loaded_at_micros: Some(at(5).as_micros()),
        confirmed_at_micros: None,
    };
    assert_eq!(ListInfo::try_from(list).unwrap().confirmed_at, at(5));
}
