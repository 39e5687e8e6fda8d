//! One request: submissions in, one result for each.

use std::collections::HashMap;

use mini_platform_core::dispatcher::{Ingested, fresh_id};
use mini_platform_core::domain::{Event, EventBatchBuilder, EventId, TraceContext};
use mini_platform_core::error::DispatchError;
use mini_platform_core::{Dispatcher, deadline, trace};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::IngestRules;
use crate::convert::{ConvertError, event_from, parked_result, result_of};
use crate::server::LONGEST;
use crate::status::{
    broke_down_failure, convert_error_to_failure, convert_error_to_status, dispatch_error_to_failure,
    dispatch_error_to_status, dispatcher_broke_down,
};
use crate::v1;
use crate::v1::ingest_stream_response::Failure;

/// Names the trace of a call (W3C Trace Context). What is no such name is passed over.
const TRACEPARENT: &str = "traceparent";

/// Takes events in through a dispatcher.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    dispatcher: Dispatcher,
    rules: IngestRules,
    trace: Option<TraceContext>,
}

/// A request could not be finished; nothing is promised.
#[derive(Debug)]
pub(super) enum Unfinished {
    Invalid(ConvertError),
    Dispatch(DispatchError),
    Panicked,
}

impl From<&Unfinished> for Status {
    fn from(unfinished: &Unfinished) -> Self {
        match unfinished {
            Unfinished::Invalid(error) => convert_error_to_status(error),
            Unfinished::Dispatch(error) => dispatch_error_to_status(error),
            Unfinished::Panicked => dispatcher_broke_down(),
        }
    }
}

impl From<&Unfinished> for Failure {
    fn from(unfinished: &Unfinished) -> Self {
        match unfinished {
            Unfinished::Invalid(error) => convert_error_to_failure(error),
            Unfinished::Dispatch(error) => dispatch_error_to_failure(error),
            Unfinished::Panicked => broke_down_failure(),
        }
    }
}

impl Intake {
    pub(super) fn new(dispatcher: Dispatcher, rules: IngestRules) -> Self {
        Self { dispatcher, rules, trace: None }
    }

    /// Takes in for a call, in the trace that its metadata name, if they name one.
    pub(super) fn of_call(&self, metadata: &MetadataMap) -> Self {
        let trace = metadata.get(TRACEPARENT).and_then(|value| value.to_str().ok()?.parse().ok());
        Self { trace, ..self.clone() }
    }

    /// Takes submissions in. What is wrong is answered and harms nothing else; what has the id of one before it is
    /// taken in after that one, so that it finds what became of it. All of them have as much time as one call.
    pub(super) async fn take_in(
        &self,
        submissions: Vec<v1::Submission>,
    ) -> Result<v1::IngestResponse, Unfinished> {
        let received_at = self.rules.clock.now();
        let mut results = Results::new(submissions.len());
        let mut rounds = Rounds::default();
        for (place, submission) in submissions.into_iter().enumerate() {
            let id = || fresh_id(received_at);
            match event_from(submission, self.rules.default_currency, received_at, id) {
                Ok(event) => rounds.add(place, event),
                Err(rejected) => results.set(place, rejected.into()),
            }
        }
        deadline::within(LONGEST, self.dispatch(rounds, &mut results))
            .await
            .unwrap_or(Err(DispatchError::Timeout(LONGEST)))
            .map_err(Unfinished::Dispatch)?;
        Ok(v1::IngestResponse { results: results.0 })
    }

    async fn dispatch(&self, rounds: Rounds, results: &mut Results) -> Result<(), DispatchError> {
        for Round { batch, places } in rounds.0 {
            let Some(batch) = batch.build() else { continue };
            let taken_in = match self.trace {
                Some(trace) => trace::within(trace, self.dispatcher.ingest(&batch)).await?,
                None => self.dispatcher.ingest(&batch).await?,
            };
            let mut outcomes = match &taken_in {
                Ingested::Finished(outcomes) => outcomes.iter(),
                Ingested::Parked => [].iter(),
            };
            for (place, event) in places.into_iter().zip(batch.events()) {
                let finished = outcomes.next().map(|outcome| result_of(event.id(), outcome));
                results.set(place, finished.unwrap_or_else(|| parked_result(event.id())));
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mini_platform_core::domain::WorkerId;
    use mini_platform_core::testkit::transfer;
    use tokio::time::Instant;

    use super::*;
    use crate::ingest::tests::{Slow, intake};

    #[tokio::test(start_paused = true)]
    async fn many_events_with_one_id_have_no_more_time_than_one_call() {
        let worker = Slow::new(Duration::from_secs(1)).await;
        let intake = intake([(WorkerId::new("w-1").unwrap(), worker as _)]);
        let same = vec![v1::Submission::from(&transfer("same", "ann", "bob", 1)); 1024];
        let start = Instant::now();
        let unfinished = intake.take_in(same).await.unwrap_err();
        assert_eq!(start.elapsed(), LONGEST);
        assert!(matches!(unfinished, Unfinished::Dispatch(DispatchError::Timeout(_))), "{unfinished:?}");
    }
}
