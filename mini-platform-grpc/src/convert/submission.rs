//! Events as clients submit them, and what they are answered.

use mini_platform_core::domain::{
    Currency, Event, EventDetails, EventId, IngestOutcome, InvalidId, OccurredAt, Timestamp,
};

use super::{ConvertError, Problem};
use crate::v1::submission_result::Answer;
use crate::{text, v1};

/// What is answered to an event that is wrong, under its id when that much is known.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedSubmission {
    /// The event's id.
    pub id: Option<EventId>,
    /// What is wrong.
    pub rejection: v1::Rejection,
}

/// Makes an event of what a client submitted.
///
/// What was left out is filled in: the id with one that `fresh_id` makes, the currency with the default, the time
/// with that of the receipt.
///
/// # Errors
/// Says the first rule that the submission breaks. It is also refused when `fresh_id` makes none.
pub fn event_from(
    submission: v1::Submission,
    default_currency: Currency,
    received_at: Timestamp,
    fresh_id: impl FnOnce() -> Option<EventId>,
) -> Result<Event, RejectedSubmission> {
    let own_id = EventId::new(&submission.id).ok();
    let id = if submission.id.is_empty() { fresh_id() } else { own_id.clone() };
    if submission.id.is_empty() && id.is_none() {
        return Err(RejectedSubmission { id, rejection: no_id() });
    }
    let message = complete(submission, id.as_ref(), default_currency, received_at);
    Event::try_from(message).map_err(|error| RejectedSubmission { id: own_id, rejection: (&error).into() })
}

fn complete(
    submission: v1::Submission,
    id: Option<&EventId>,
    default_currency: Currency,
    received_at: Timestamp,
) -> v1::Event {
    use v1::event::{Details, OccurredAt as Time};
    let v1::Submission { id: own_id, amount_minor_units, currency, occurred_at_micros, details } = submission;
    v1::Event {
        id: id.map_or(own_id, |id| id.as_str().to_owned()),
        amount_minor_units,
        currency: if currency.is_empty() { default_currency.code().to_owned() } else { currency },
        occurred_at: Some(
            occurred_at_micros.map_or(Time::ReceivedAtMicros(received_at.as_micros()), Time::GivenAtMicros),
        ),
        details: details.map(|details| match details {
            v1::submission::Details::Transaction(transaction) => Details::Transaction(transaction),
            v1::submission::Details::Operation(operation) => Details::Operation(operation),
        }),
    }
}

/// The fields of an event that have another name in a submission.
fn submitted_field(field: &str) -> &str {
    match field {
        "given_at_micros" => "occurred_at_micros",
        other => other,
    }
}

impl From<&ConvertError> for v1::Rejection {
    fn from(error: &ConvertError) -> Self {
        let field = submitted_field(error.field()).to_owned();
        let code = code_of(error.problem()).to_owned();
        let detail = text::cut(&format!("`{field}` {}.", error.problem()));
        Self { code, field, detail }
    }
}

/// The table of codes, which are those of the HTTP interface.
fn code_of(problem: &Problem) -> &'static str {
    match problem {
        Problem::Missing | Problem::Unspecified | Problem::Id(InvalidId::Empty) => "missing_field",
        Problem::SameParty(_) => "same_party",
        _ => "invalid_field",
    }
}

fn no_id() -> v1::Rejection {
    v1::Rejection {
        code: "internal".to_owned(),
        field: "id".to_owned(),
        detail: "No id could be made; send one with the event.".to_owned(),
    }
}

impl From<RejectedSubmission> for v1::SubmissionResult {
    fn from(rejected: RejectedSubmission) -> Self {
        let id = rejected.id.map(|id| id.as_str().to_owned()).unwrap_or_default();
        Self { id, answer: Some(Answer::Rejection(rejected.rejection)) }
    }
}

/// Makes the answer to an event that was taken in.
#[must_use]
pub fn result_of(id: &EventId, outcome: &IngestOutcome) -> v1::SubmissionResult {
    v1::SubmissionResult { id: id.as_str().to_owned(), answer: Some(Answer::Result(outcome.into())) }
}

/// Makes the answer to an event that is kept until it can be finished.
#[must_use]
pub fn parked_result(id: &EventId) -> v1::SubmissionResult {
    v1::SubmissionResult { id: id.as_str().to_owned(), answer: Some(Answer::Parked(v1::Parked {})) }
}

impl From<&Event> for v1::Submission {
    fn from(event: &Event) -> Self {
        use v1::submission::Details;
        let occurred_at_micros = match event.occurred_at() {
            OccurredAt::Given(at) => Some(at.as_micros()),
            OccurredAt::Received(_) => None,
        };
        let details = match event.details() {
            EventDetails::Transaction { sender, receiver } => Details::Transaction(v1::Transaction {
                sender: sender.as_str().to_owned(),
                receiver: receiver.as_str().to_owned(),
            }),
            EventDetails::Operation { client, branch, operation } => Details::Operation(v1::Operation {
                client: client.as_str().to_owned(),
                branch: branch.as_str().to_owned(),
                operation: v1::OperationType::from(*operation).into(),
            }),
        };
        Self {
            id: event.id().as_str().to_owned(),
            amount_minor_units: event.amount().minor_units(),
            currency: event.currency().code().to_owned(),
            occurred_at_micros,
            details: Some(details),
        }
    }
}
