//! [`Retrying`]: what is made again, how often, and what is not.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::decorate::{RetryPolicy, Retrying};
use mini_platform_core::domain::{
    AppendOutcome, ClientQuery, DeathCause, Edge, EventFilter, EventQuery, LeaseRequest, NeighbourQuery,
    Parcel, ParcelContent, ParcelId, ParcelQuery, ParkReason, Recording, Settled, Side,
};
use mini_platform_core::error::{Fault, FaultKind, LotError, RegistryError, StoreError};
use mini_platform_core::memory::{
    MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry, MemoryParkingLot,
};
use mini_platform_core::mock::{MockEventStore, MockFraudRegistry, MockParkingLot};
use mini_platform_core::port::{AdjacencyStore, EventStore, FraudRegistry, ParkingLot};
use mini_platform_core::testkit::{Fate, Faulty, at, batch, client, fraud_list, id, list_version, transfer};
use tokio::time::Instant;

const DOWN: Fate = Fate::Fail(FaultKind::Unavailable);

fn retrying<P: ?Sized>(inner: Arc<P>) -> Retrying<P> {
    Retrying::new(inner, RetryPolicy::default(), 1)
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new("test", "answer", kind)
}

/// A store whose `get` fails like this, exactly so many times.
fn failing(times: usize, fault: impl Fn() -> Fault + Send + 'static) -> Arc<MockEventStore> {
    let mut store = MockEventStore::new();
    store.expect_get().times(times).returning(move |_| Err(fault().into()));
    Arc::new(store)
}

#[tokio::test(start_paused = true)]
async fn every_call_of_an_event_store_is_made_again() {
    let inner = Arc::new(MemoryEventStore::default());
    let ann = client("ann");
    for times in 1..5 {
        let store = || retrying(Arc::new(Faulty::new(Arc::clone(&inner), vec![DOWN; times])));
        store().append(&batch([transfer("e", "ann", "bob", 1)]), at(1)).await.unwrap();
        assert!(store().get(&id("e")).await.unwrap().is_some());
        let query = EventQuery::new(ann.clone(), EventFilter::Sent);
        assert_eq!(store().query(&query).await.unwrap().items.len(), 1);
        assert_eq!(store().clients(&ClientQuery::default()).await.unwrap().items.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_of_an_adjacency_store_is_made_again() {
    let inner = Arc::new(MemoryAdjacencyStore::default());
    let store = || retrying(Arc::new(Faulty::new(Arc::clone(&inner), [DOWN; 2])));
    let query = NeighbourQuery::new(client("ann"));
    let edge =
        Edge::Interaction { client: client("ann"), counterparty: client("bob"), side: Side::Sent, at: at(1) };
    store().link(std::slice::from_ref(&edge)).await.unwrap();
    assert_eq!(store().interactions(&query).await.unwrap().items.len(), 1);
    assert!(store().branches(&query).await.unwrap().items.is_empty());
    assert_eq!(store().clients(&ClientQuery::default()).await.unwrap().items.len(), 1);
    store().unlink(&[edge]).await.unwrap();
    assert!(inner.interactions(&query).await.unwrap().items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_call_of_a_registry_but_replace_is_made_again() {
    let inner = Arc::new(MemoryFraudRegistry::default());
    let registry = || retrying(Arc::new(Faulty::new(Arc::clone(&inner), [DOWN])));
    let refused = registry().replace(fraud_list(1, &["bad"])).await;
    assert!(matches!(refused, Err(RegistryError::Fault(_))), "its stream is used up: {refused:?}");
    inner.replace(fraud_list(1, &["bad"])).await.unwrap();
    assert_eq!(registry().screen(&[client("bad")]).await.unwrap().verdicts.len(), 1);
    assert!(registry().in_force().await.unwrap().is_some());
    assert_eq!(registry().history().await.unwrap().len(), 1);
    assert!(registry().entries(&list_version(1)).await.is_ok());
    assert_eq!(registry().rollback(&list_version(1)).await.unwrap().version, list_version(1));
}

fn parcel(number: u8) -> Parcel {
    let (id, content) = (ParcelId::new(at(0), [number; 10]), ParcelContent::new(vec![number]).unwrap());
    Parcel { id, client: client("ann"), content, reason: ParkReason::Timeout }
}

#[tokio::test(start_paused = true)]
async fn every_call_of_a_parking_lot_is_made_again() {
    let inner = Arc::new(MemoryParkingLot::default());
    let lot = || retrying(Arc::new(Faulty::new(Arc::clone(&inner), [DOWN; 2])));
    let parcels = [1, 2, 3].map(parcel);
    lot().park(&parcels).await.unwrap();
    let leased = lot().lease(LeaseRequest::new(2, Duration::from_secs(60))).await.unwrap();
    let buried = leased.into_iter().map(|leased| leased.bury(DeathCause::Undecodable, None));
    let settled = lot().settle(&buried.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(settled, [Settled::Yes, Settled::Yes]);
    assert_eq!(lot().status().await.unwrap().dead, 2);
    assert_eq!(lot().parked(&ParcelQuery::default()).await.unwrap().items.len(), 1);
    assert_eq!(lot().dead_letters(&ParcelQuery::default()).await.unwrap().items.len(), 2);
    let [first, second, _] = parcels.map(|parcel| parcel.id);
    assert!(lot().dead_letter(first).await.unwrap().is_some());
    assert!(lot().redrive(first).await.unwrap());
    assert!(lot().discard(second).await.unwrap());
    assert_eq!(inner.status().await.unwrap().parked, 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_parking_lot_is_not_waited_for() {
    let mut lot = MockParkingLot::new();
    lot.expect_park().times(1).returning(|_| Err(LotError::Full));
    let started = Instant::now();
    let answer = retrying(Arc::new(lot)).park(&[parcel(1)]).await;
    assert!(matches!(answer, Err(LotError::Full)), "{answer:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_parking_lot_whose_answer_was_lost_takes_effect_once() {
    let inner = Arc::new(MemoryParkingLot::default());
    let lot = || retrying(Arc::new(Faulty::new(Arc::clone(&inner), [Fate::LoseAnswer(FaultKind::Timeout)])));
    lot().park(&[parcel(1)]).await.unwrap();
    let request = LeaseRequest::new(1, Duration::from_secs(60));
    assert!(lot().lease(request).await.unwrap().is_empty(), "the lease that was not heard of runs");
    lot().park(&[parcel(1), Parcel { client: client("bob"), ..parcel(2) }]).await.unwrap();
    let leased = inner.lease(request).await.unwrap().remove(0);
    let buried = leased.bury(DeathCause::Undecodable, None);
    assert_eq!(lot().settle(&[buried]).await.unwrap(), [Settled::LeaseLost], "it was settled the first time");
    assert!(!lot().redrive(parcel(2).id).await.unwrap(), "it was redriven the first time");
    let status = inner.status().await.unwrap();
    assert_eq!((status.parked, status.dead), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_answer_was_lost_ends_in_a_duplicate() {
    let inner = Arc::new(MemoryEventStore::default());
    for lost in [FaultKind::Timeout, FaultKind::Unavailable] {
        let event_id = format!("e-{}", lost.as_str());
        let store = retrying(Arc::new(Faulty::new(Arc::clone(&inner), [Fate::LoseAnswer(lost)])));
        let outcomes = store.append(&batch([transfer(&event_id, "ann", "bob", 1)]), at(1)).await.unwrap();
        let first = Recording { occurred_at: at(1), recorded_at: at(1) };
        assert_eq!(outcomes, [AppendOutcome::Duplicate(first)], "{lost:?}");
    }
    let stored = inner.query(&EventQuery::new(client("ann"), EventFilter::Sent)).await.unwrap();
    assert_eq!(stored.items.len(), 2, "each is stored once");
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_the_attempts_and_answers_the_last_error() {
    let store = failing(3, || fault(FaultKind::Unavailable));
    let policy = RetryPolicy::default().with_max_attempts(3);
    let error = Retrying::new(store, policy, 1).get(&id("e")).await.unwrap_err();
    let StoreError::Fault(fault) = error else { panic!("{error:?}") };
    assert_eq!(fault.kind(), FaultKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_when_the_budget_is_spent() {
    let call = Duration::from_millis(300);
    let store = Faulty::new(Arc::new(MemoryEventStore::default()), [Fate::Delay(call); 9]);
    let slow = Faulty::new(Arc::new(store), vec![Fate::LoseAnswer(FaultKind::Timeout); 9]);
    let budget = Duration::from_secs(1);
    let policy = RetryPolicy::default().with_max_attempts(100).with_budget(budget);
    let started = Instant::now();
    Retrying::new(Arc::new(slow), policy, 1).get(&id("e")).await.unwrap_err();
    let took = started.elapsed();
    assert!(took > budget - call && took < budget + call, "no call starts after the budget: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_backend_asks_for_is_kept() {
    let hint = Duration::from_millis(700);
    let store = failing(2, move || fault(FaultKind::Throttled).with_retry_after(hint));
    let policy = RetryPolicy::default().with_max_attempts(2);
    let started = Instant::now();
    Retrying::new(store, policy, 1).get(&id("e")).await.unwrap_err();
    let took = started.elapsed();
    assert!(took >= hint && took <= hint + Duration::from_millis(21), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_does_not_fit_into_the_budget_is_not_waited_for() {
    let hint = Duration::from_secs(60);
    let started = Instant::now();
    let store = failing(1, move || fault(FaultKind::Throttled).with_retry_after(hint));
    retrying(store).get(&id("e")).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_is_not_made_again() {
    for kind in [FaultKind::Denied, FaultKind::Corrupt, FaultKind::Internal] {
        retrying(failing(1, move || fault(kind))).get(&id("e")).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn a_screening_does_not_wait_for_a_first_list() {
    let mut registry = MockFraudRegistry::new();
    registry.expect_screen().times(1).returning(|_| Err(RegistryError::NoList));
    let started = Instant::now();
    let answer = retrying(Arc::new(registry)).screen(&[client("ann")]).await;
    assert!(matches!(answer, Err(RegistryError::NoList)), "{answer:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_during_a_pause_is_not_made_again() {
    let policy = RetryPolicy::default().with_base(Duration::from_secs(1));
    let store = Retrying::new(failing(1, || fault(FaultKind::Unavailable)), policy, 1);
    let event = id("e");
    let call = store.get(&event);
    assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err(), "it waits for its pause");
    tokio::time::sleep(Duration::from_secs(10)).await;
}
