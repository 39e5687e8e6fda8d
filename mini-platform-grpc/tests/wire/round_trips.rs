//! What is sent is what arrives.

use std::fmt::Debug;

use mini_platform_core::domain::{
    Amount, ClientId, Event, EventBatch, EventId, IngestOutcome, MAX_BATCH, OccurredAt, StoredEvent,
    Timestamp,
};
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

proptest! {
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
    survives::<EventBatch, v1::EventBatch>(&batch);
}
