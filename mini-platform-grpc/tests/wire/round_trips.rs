//! What is sent is what arrives.

use std::fmt::Debug;

use mini_platform_core::domain::{
    Amount, ClientId, Event, EventBatch, EventId, IngestOutcome, MAX_BATCH, OccurredAt, ProtocolVersion,
    StoredEvent, Timestamp,
};
use mini_platform_core::port::{FetchAnswer, FetchQuery, JoinAnswer, JoinRequest};
use mini_platform_grpc::convert::{FetchRequest, WrongAnswer, event_from};
use mini_platform_grpc::{ConvertError, v1};
use proptest::prelude::*;
use prost::Message;

use crate::strategies;

/// Sends a value as bytes and takes it in.
fn survives<T, M>(value: &T)
where
    T: TryFrom<M, Error = ConvertError> + PartialEq + Debug,
    M: Message + Default + for<'a> From<&'a T>,
{
    let bytes = M::from(value).encode_to_vec();
    let arrived = T::try_from(M::decode(bytes.as_slice()).unwrap());
    assert_eq!(arrived.as_ref(), Ok(value));
}

/// Sends a message as bytes.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

/// Sends an answer in the response to its query.
fn answered<M>(answer: &FetchAnswer) -> FetchAnswer
where
    M: Message + Default + for<'a> TryFrom<&'a FetchAnswer, Error = WrongAnswer>,
    FetchAnswer: TryFrom<M, Error = ConvertError>,
{
    FetchAnswer::try_from(sent(&M::try_from(answer).unwrap())).unwrap()
}

/// Sends the request of a query as bytes, and takes it in as the call does that it is for.
fn asked(request: FetchRequest) -> Result<FetchQuery, ConvertError> {
    match request {
        FetchRequest::Transactions(request) => sent(&request).try_into(),
        FetchRequest::Operations(request) => sent(&request).try_into(),
        FetchRequest::Interactions(request) => sent(&request).try_into(),
        FetchRequest::Branches(request) => sent(&request).try_into(),
        FetchRequest::Client(request) => sent(&request).try_into(),
        FetchRequest::Event(request) => sent(&request).try_into(),
        FetchRequest::FraudList(request) => sent(&request).try_into(),
        FetchRequest::CheckName(request) => sent(&request).try_into(),
        other => panic!("{other:?} is not sent"),
    }
}

proptest! {
    #[test]
    fn a_query_survives(query in strategies::fetch_query()) {
        prop_assert_eq!(asked(FetchRequest::asking(&query).unwrap()), Ok(query));
    }

    #[test]
    fn an_answer_survives(answer in strategies::fetch_answer()) {
        let arrived = match &answer {
            FetchAnswer::Events(_) => {
                prop_assert_eq!(&answered::<v1::FetchOperationsResponse>(&answer), &answer);
                answered::<v1::FetchTransactionsResponse>(&answer)
            }
            FetchAnswer::Interactions(_) => answered::<v1::FetchInteractionsResponse>(&answer),
            FetchAnswer::Branches(_) => answered::<v1::FetchBranchesResponse>(&answer),
            FetchAnswer::Overview(_) => answered::<v1::FetchClientResponse>(&answer),
            FetchAnswer::Event(_) => answered::<v1::FetchEventResponse>(&answer),
            FetchAnswer::ListInForce(_) => answered::<v1::FetchFraudListResponse>(&answer),
            FetchAnswer::Check(_) => answered::<v1::CheckNameResponse>(&answer),
            other => panic!("{other:?} is not sent"),
        };
        prop_assert_eq!(arrived, answer);
    }

    #[test]
    fn results_survive_in_their_order(results in strategies::results()) {
        let message = sent(&v1::WorkerServiceIngestResponse::from(results.as_slice()));
        prop_assert_eq!(Vec::<IngestOutcome>::try_from(message), Ok(results));
    }

    #[test]
    fn a_batch_survives_in_its_request(batch in strategies::batch()) {
        survives::<EventBatch, v1::WorkerServiceIngestRequest>(&batch);
    }

    #[test]
    fn who_a_worker_is_survives(id in strategies::worker_id(), incarnation in strategies::incarnation()) {
        let message = sent(&v1::IdentifyResponse::from((&id, incarnation)));
        prop_assert_eq!(message.try_into(), Ok((id, incarnation, ProtocolVersion::CURRENT)));
    }

    #[test]
    fn a_wish_to_join_survives(request in strategies::join_request()) {
        let arrived = JoinRequest::try_from(sent(&v1::JoinRequest::from(&request))).unwrap();
        prop_assert!(arrived.token.matches(&request.token));
        prop_assert_eq!(format!("{arrived:?}"), format!("{request:?}"));
    }

    #[test]
    fn the_answer_to_a_wish_to_join_survives(answer in strategies::join_answer()) {
        survives::<JoinAnswer, v1::JoinResponse>(&answer);
    }

    #[test]
    fn a_heartbeat_and_its_answer_survive(
        id in strategies::worker_id(),
        epoch in strategies::epoch(),
        answer in strategies::heartbeat_answer(),
    ) {
        let heartbeat = sent(&v1::HeartbeatRequest::from((&id, epoch)));
        prop_assert_eq!(heartbeat.try_into(), Ok((id.clone(), epoch)));
        let leave = sent(&v1::LeaveRequest::from((&id, epoch)));
        prop_assert_eq!(leave.try_into(), Ok((id, epoch)));
        prop_assert_eq!(sent(&v1::HeartbeatResponse::from(answer)).try_into(), Ok(answer));
    }

    #[test]
    fn a_submitted_event_is_the_event(event in strategies::event(), received_at in strategies::timestamp()) {
        let submission = sent(&v1::Submission::from(&event));
        let arrived = event_from(submission, "JPY".parse().unwrap(), received_at, || panic!("it has an id"));
        let arrived = arrived.unwrap();
        prop_assert!(event.is_resend_of(&arrived));
        let time = match event.occurred_at() {
            OccurredAt::Given(at) => OccurredAt::Given(at),
            OccurredAt::Received(_) => OccurredAt::Received(received_at),
        };
        prop_assert_eq!(arrived.occurred_at(), time);
    }

    #[test]
    fn an_event_survives(event in strategies::event()) {
        survives::<Event, v1::Event>(&event);
    }

    #[test]
    fn a_stored_event_survives(stored in strategies::stored_event()) {
        survives::<StoredEvent, v1::StoredEvent>(&stored);
    }

    #[test]
    fn a_batch_survives_in_its_order(batch in strategies::batch()) {
        survives::<EventBatch, v1::EventBatch>(&batch);
    }

    #[test]
    fn a_result_survives(result in strategies::result()) {
        survives::<IngestOutcome, v1::EventResult>(&result);
    }
}

/// The `n`th event, in which everything is as long as it can be.
fn longest_event(n: usize) -> Event {
    let receiver = "b".repeat(256);
    Event::transaction(
        EventId::new(format!("{n:064}")).unwrap(),
        ClientId::new("a".repeat(256)).unwrap(),
        ClientId::new(receiver).unwrap(),
        Amount::from_minor_units(i64::MAX).unwrap(),
        "EUR".parse().unwrap(),
        OccurredAt::Given(Timestamp::from_micros(-1).unwrap()),
    )
    .unwrap()
}

#[test]
fn the_longest_batch_has_less_than_a_mebibyte() {
    let batch = EventBatch::new((0..MAX_BATCH).map(longest_event).collect()).unwrap();
    assert!(v1::EventBatch::from(&batch).encoded_len() < 1 << 20);
    let events: Vec<v1::Submission> = batch.events().iter().map(Into::into).collect();
    assert!(v1::IngestRequest { events }.encoded_len() < 1 << 20);
    survives::<EventBatch, v1::EventBatch>(&batch);
}
