//! One request: submissions in, one result for each.

use std::collections::HashMap;

use mini_platform_core::Dispatcher;
use mini_platform_core::domain::{Event, EventBatch, EventBatchBuilder, EventId, MAX_BATCH, Timestamp};
use mini_platform_core::error::{DispatchError, Fault, FaultKind};
use tonic::Status;
use uuid::{NoContext, Uuid};

use super::IngestRules;
use crate::convert::{ConvertError, event_from, result_of};
use crate::status::{
    convert_error_to_failure, convert_error_to_status, dispatch_error_to_failure, dispatch_error_to_status,
};
use crate::v1;
use crate::v1::ingest_stream_response::Failure;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Takes events in through a dispatcher.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    dispatcher: Dispatcher,
    rules: IngestRules,
}

/// A request could not be finished; nothing is promised.
#[derive(Debug)]
pub(super) enum Unfinished {
    Invalid(ConvertError),
    Dispatch(DispatchError),
}

impl Unfinished {
    /// A request panicked.
    pub(super) fn broke_down() -> Self {
        let fault = Fault::new("dispatcher", "take events in", FaultKind::Internal);
        Self::Dispatch(DispatchError::Ingest(fault.into()))
    }
}

impl From<&Unfinished> for Status {
    fn from(unfinished: &Unfinished) -> Self {
        match unfinished {
            Unfinished::Invalid(error) => convert_error_to_status(error),
            Unfinished::Dispatch(error) => dispatch_error_to_status(error),
        }
    }
}

impl From<&Unfinished> for Failure {
    fn from(unfinished: &Unfinished) -> Self {
        match unfinished {
            Unfinished::Invalid(error) => convert_error_to_failure(error),
            Unfinished::Dispatch(error) => dispatch_error_to_failure(error),
        }
    }
}

impl Intake {
    pub(super) fn new(dispatcher: Dispatcher, rules: IngestRules) -> Self {
        Self { dispatcher, rules }
    }

    /// Takes submissions in. What is wrong is answered and harms nothing else; what has the id of one before it is
    /// taken in after that one, so that it finds what became of it.
    pub(super) async fn take_in(&self, request: v1::IngestRequest) -> Result<v1::IngestResponse, Unfinished> {
        let submissions = counted(request).map_err(Unfinished::Invalid)?;
        let received_at = self.rules.clock.now();
        let mut results = Results::new(submissions.len());
        let mut rounds = Rounds::default();
        for (place, submission) in submissions.into_iter().enumerate() {
            let fresh_id = || new_id(received_at);
            match event_from(submission, self.rules.default_currency, received_at, fresh_id) {
                Ok(event) => rounds.add(place, event),
                Err(rejected) => results.set(place, rejected.into()),
            }
        }
        for Round { batch, places } in rounds.0 {
            let Some(batch) = batch.build() else { continue };
            let outcomes = self.dispatcher.ingest(&batch).await.map_err(Unfinished::Dispatch)?;
            for ((place, event), outcome) in places.into_iter().zip(batch.events()).zip(&outcomes) {
                results.set(place, result_of(event.id(), outcome));
            }
        }
        Ok(v1::IngestResponse { results: results.0 })
    }
}

/// Results in the order of the submissions.
struct Results(Vec<v1::SubmissionResult>);

impl Results {
    fn new(count: usize) -> Self {
        Self(vec![v1::SubmissionResult::default(); count])
    }

    fn set(&mut self, place: usize, result: v1::SubmissionResult) {
        if let Some(slot) = self.0.get_mut(place) {
            *slot = result;
        }
    }
}

/// Events that are taken in together, and their places in the request.
#[derive(Default)]
struct Round {
    batch: EventBatchBuilder,
    places: Vec<usize>,
}

/// Events with different ids are in one round, those with the same id in one after the other.
#[derive(Default)]
struct Rounds(Vec<Round>, HashMap<EventId, usize>);

impl Rounds {
    fn add(&mut self, place: usize, event: Event) {
        let Self(rounds, repeated) = self;
        let event = match push(rounds, 0, place, event) {
            Ok(()) => return,
            Err(event) => event,
        };
        let round = repeated.entry(event.id().clone()).or_default();
        *round += 1;
        // There is room: a request has no more submissions than a batch has.
        let _ = push(rounds, *round, place, event);
    }
}

fn push(rounds: &mut Vec<Round>, round: usize, place: usize, event: Event) -> Result<(), Event> {
    if rounds.len() <= round {
        rounds.resize_with(round + 1, Round::default);
    }
    let Some(Round { batch, places }) = rounds.get_mut(round) else { return Err(event) };
    batch.push(event)?;
    places.push(place);
    Ok(())
}

/// Refuses what is no batch in number. As a batch is: one table has the limits and their texts.
fn counted(request: v1::IngestRequest) -> Result<Vec<v1::Submission>, ConvertError> {
    let count = request.events.len();
    if (1..=MAX_BATCH).contains(&count) {
        return Ok(request.events);
    }
    let events = vec![v1::Event::default(); count.min(MAX_BATCH + 1)];
    EventBatch::try_from(v1::EventBatch { events }).map(|_| request.events)
}

/// Makes the id of an event that was received at a time: a UUIDv7, so that ids order by time of receipt.
fn new_id(received_at: Timestamp) -> Option<EventId> {
    let micros = received_at.as_micros().max(0);
    let seconds = u64::try_from(micros / MICROS_PER_SECOND).ok()?;
    let nanos = u32::try_from(micros % MICROS_PER_SECOND).ok()?.saturating_mul(1_000);
    let id = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos));
    EventId::new(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).ok()
}
