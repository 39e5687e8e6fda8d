//! What clients submit follows the rules of the HTTP interface.

use mini_platform_core::domain::{Event, EventScreening, IngestOutcome, OccurredAt, Recording};
use mini_platform_core::testkit::{at, deposit, id, list_version, transfer};
use mini_platform_grpc::convert::{RejectedSubmission, event_from, result_of};
use mini_platform_grpc::v1;
use mini_platform_grpc::v1::submission::Details;
use mini_platform_grpc::v1::submission_result::Answer;

fn submitted(submission: v1::Submission) -> Result<Event, RejectedSubmission> {
    event_from(submission, "JPY".parse().unwrap(), at(9), || Some(id("fresh")))
}

fn transaction_of(submission: &mut v1::Submission) -> &mut v1::Transaction {
    match &mut submission.details {
        Some(Details::Transaction(transaction)) => transaction,
        other => panic!("expected a transaction, got {other:?}"),
    }
}

fn operation_of(submission: &mut v1::Submission) -> &mut v1::Operation {
    match &mut submission.details {
        Some(Details::Operation(operation)) => operation,
        other => panic!("expected an operation, got {other:?}"),
    }
}

#[test]
fn what_is_left_out_is_filled_in() {
    let full = v1::Submission::from(&transfer("e1", "ann", "bob", 1));
    let bare =
        v1::Submission { id: String::new(), currency: String::new(), occurred_at_micros: None, ..full };
    let event = submitted(bare).unwrap();
    assert_eq!((event.id(), event.currency().code()), (&id("fresh"), "JPY"));
    assert_eq!(event.occurred_at(), OccurredAt::Received(at(9)));
}

#[test]
fn what_is_given_is_kept() {
    for event in [transfer("e1", "ann", "bob", 1), deposit("e2", "ann", "north", 2)] {
        assert_eq!(submitted(v1::Submission::from(&event)), Ok(event));
    }
}

/// A change that breaks a submission, and the code and field that are then answered.
type Break = (fn(&mut v1::Submission), &'static str, &'static str);

fn each_is_rejected(good: &Event, breaks: &[Break]) {
    for (change, code, field) in breaks {
        let mut submission = v1::Submission::from(good);
        change(&mut submission);
        let rejected = submitted(submission).unwrap_err();
        let v1::Rejection { code: answered, field: at_field, detail } = &rejected.rejection;
        assert_eq!((answered.as_str(), at_field.as_str()), (*code, *field), "{detail}");
        assert!(detail.starts_with(&format!("`{field}` ")) && detail.ends_with('.'), "{detail}");
        assert!(!detail.contains("ann") && !detail.contains("north"), "{detail}");
    }
}

#[test]
fn a_broken_transaction_is_rejected_by_its_code_and_field() {
    each_is_rejected(
        &transfer("e1", "ann", "bob", 1),
        &[
            (|event| event.id = "a b".into(), "invalid_field", "id"),
            (|event| event.amount_minor_units = 0, "invalid_field", "amount_minor_units"),
            (|event| event.amount_minor_units = -1, "invalid_field", "amount_minor_units"),
            (|event| event.currency = "eur".into(), "invalid_field", "currency"),
            (|event| event.occurred_at_micros = Some(i64::MAX), "invalid_field", "occurred_at_micros"),
            (|event| event.details = None, "missing_field", "details"),
            (|event| transaction_of(event).sender.clear(), "missing_field", "transaction.sender"),
            (|event| transaction_of(event).receiver = " b".into(), "invalid_field", "transaction.receiver"),
            (|event| transaction_of(event).receiver = "ann".into(), "same_party", "transaction.receiver"),
        ],
    );
}

#[test]
fn a_broken_operation_is_rejected_by_its_code_and_field() {
    each_is_rejected(
        &deposit("e1", "ann", "north", 1),
        &[
            (|event| operation_of(event).client = "a\0".into(), "invalid_field", "operation.client"),
            (|event| operation_of(event).branch.clear(), "missing_field", "operation.branch"),
            (|event| operation_of(event).operation = 0, "missing_field", "operation.operation"),
            (|event| operation_of(event).operation = 99, "invalid_field", "operation.operation"),
        ],
    );
}

#[test]
fn a_rejection_is_answered_under_the_id_that_was_sent_if_it_can_be_read() {
    for (sent, answered) in [("e1", "e1"), ("", ""), ("a b", "")] {
        let submission = v1::Submission { id: sent.to_owned(), ..v1::Submission::default() };
        let result = v1::SubmissionResult::from(submitted(submission).unwrap_err());
        assert_eq!(result.id, answered);
        assert!(matches!(result.answer, Some(Answer::Rejection(_))));
    }
}

#[test]
fn an_event_for_which_no_id_can_be_made_is_rejected() {
    let submission =
        v1::Submission { id: String::new(), ..v1::Submission::from(&transfer("e1", "ann", "bob", 1)) };
    let rejected = event_from(submission, "JPY".parse().unwrap(), at(9), || None).unwrap_err();
    assert_eq!((rejected.id, rejected.rejection.code.as_str()), (None, "internal"));
}

#[test]
fn an_event_that_was_taken_in_is_answered_under_its_id() {
    let screening = EventScreening::Clear { version: list_version(1) };
    let recording = Recording { occurred_at: at(1), recorded_at: at(2) };
    let outcome = IngestOutcome::stored(screening, recording);
    let result = result_of(&id("e1"), &outcome);
    assert_eq!(result.id, "e1");
    assert_eq!(result.answer, Some(Answer::Result((&outcome).into())));
}
