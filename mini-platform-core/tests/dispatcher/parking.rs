//! What no worker can finish is parked, and ends as if nothing had been.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::Worker;
use mini_platform_core::codec::ParkedEvent;
use mini_platform_core::deadline;
use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, Ingested, ParkingConfig, RoundRobin};
use mini_platform_core::domain::{
    DeadLetter, DeathCause, Event, EventBatch, IngestOutcome, LeaseRequest, LotLimits, LotStatus, Outcome,
    Parcel, ParcelContent, ParcelId, ParcelQuery, ParkReason, ParkedParcel, WorkerId,
};
use mini_platform_core::error::{DispatchError, Fault, FaultKind, FetchError, IngestError, LotError};
use mini_platform_core::memory::{
    MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry, MemoryParkingLot,
};
use mini_platform_core::port::{EventStore, FetchAnswer, FetchQuery, FraudRegistry, ParkingLot, WorkerNode};
use mini_platform_core::testkit::{
    Fate, Faulty, VirtualClock, at, batch, client, fraud_list, id, transfer, untimed_transfer,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::support::{Act, RecordingLog, Scripted, faulty, millis, worker};

/// A platform with a parking lot, on virtual time.
struct Platform {
    dispatcher: Dispatcher,
    lot: Arc<MemoryParkingLot>,
    log: Arc<RecordingLog>,
    events: Arc<MemoryEventStore>,
    stop: CancellationToken,
}

impl Platform {
    async fn new(node: impl FnOnce(&Arc<Worker>) -> Arc<dyn WorkerNode>) -> Self {
        Self::with(LotLimits::default(), ParkingConfig::default(), node).await
    }

    async fn with(
        limits: LotLimits,
        config: ParkingConfig,
        node: impl FnOnce(&Arc<Worker>) -> Arc<dyn WorkerNode>,
    ) -> Self {
        let (worker, events) = worker().await;
        let clock = Arc::new(VirtualClock::new(at(1_000)));
        let lot = Arc::new(MemoryParkingLot::new(limits, clock.clone()));
        let log = Arc::new(RecordingLog::default());
        let settings = DispatcherConfig::default();
        let dispatcher = Dispatcher::builder(settings, Arc::new(RoundRobin::default()))
            .with_parking(lot.clone(), config)
            .with_log(log.clone())
            .with_clock(clock)
            .with_seed(1)
            .build();
        dispatcher.add_member(WorkerId::LOCAL, node(&worker));
        Self { dispatcher, lot, log, events, stop: CancellationToken::new() }
    }

    fn redrive(&self) -> JoinHandle<()> {
        let (redriver, stop) = (self.dispatcher.redriver().unwrap(), self.stop.clone());
        tokio::spawn(async move { redriver.run(stop).await })
    }

    /// Redrives for a while.
    async fn redrive_for(&self, time: Duration) {
        let redriving = self.redrive();
        tokio::time::sleep(time).await;
        redriving.abort();
    }

    async fn is_stored(&self, name: &str) -> bool {
        self.events.get(&id(name)).await.unwrap().is_some()
    }

    async fn status(&self) -> LotStatus {
        self.lot.status().await.unwrap()
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        self.lot.dead_letters(&ParcelQuery::default()).await.unwrap().items
    }

    async fn ingest(
        &self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Ingested<Vec<IngestOutcome>>, DispatchError> {
        self.dispatcher.ingest(&batch(events)).await
    }

    /// Puts something into the lot that no dispatcher put there.
    async fn park_raw(&self, name: &str, content: &[u8]) {
        let count = u8::try_from(self.status().await.parked).unwrap();
        let parcel = Parcel {
            id: ParcelId::new(at(1), [count; 10]),
            client: client(name),
            content: ParcelContent::new(content.to_vec()).unwrap(),
            reason: ParkReason::Timeout,
        };
        self.lot.park(&[parcel]).await.unwrap();
    }
}

fn payment(n: usize, sender: &str) -> Event {
    transfer(&format!("t{n}"), sender, "bob", 1)
}

/// A worker that never answers a batch with a certain event, and answers all others.
struct Poisoned {
    inner: Arc<Worker>,
    poison: &'static str,
    calls: AtomicUsize,
}

#[async_trait]
impl WorkerNode for Poisoned {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if batch.events().iter().any(|event| event.id().as_str() == self.poison) {
            return Err(Fault::new("worker", "digest it", FaultKind::Internal).into());
        }
        self.inner.ingest(batch).await
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.inner.fetch(query).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_finished_in_time_is_parked_at_once_and_stored_later() {
    let platform = Platform::new(|worker| faulty(worker, [Fate::Delay(Duration::from_secs(5))])).await;
    let start = Instant::now();
    let answer = platform.ingest([payment(1, "ann"), payment(2, "cyd")]).await.unwrap();
    assert_eq!(answer, Ingested::Parked);
    assert_eq!(start.elapsed(), Duration::from_secs(1), "a client waits for the timeout and no longer");
    assert_eq!(platform.status().await.parked, 2);
    platform.redrive_for(Duration::from_secs(3)).await;
    assert!(platform.is_stored("t1").await && platform.is_stored("t2").await);
    assert_eq!(platform.status().await, LotStatus::default(), "the lot is empty");
}

#[tokio::test(start_paused = true)]
async fn single_events_are_parked_too() {
    let platform = Platform::new(|worker| faulty(worker, [Fate::Fail(FaultKind::Unavailable); 8])).await;
    assert_eq!(platform.dispatcher.ingest_one(payment(1, "ann")).await.unwrap(), Ingested::Parked);
    platform.redrive_for(Duration::from_secs(60)).await;
    assert!(platform.is_stored("t1").await);
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_single_events_to_a_worker_that_hangs_waits_for_the_timeout_and_no_longer() {
    let platform = Platform::new(|worker| Scripted::new(worker, Act::Hang)).await;
    let mut senders = Vec::new();
    for n in 0..3_000 {
        let dispatcher = platform.dispatcher.clone();
        senders.push(tokio::spawn(async move {
            let start = Instant::now();
            (n, dispatcher.ingest_one(payment(n, "ann")).await, start.elapsed())
        }));
        tokio::time::sleep(millis(1)).await;
    }
    for sender in senders {
        let (n, answer, took) = sender.await.unwrap();
        assert!(took <= Duration::from_secs(1), "t{n} took {took:?}");
        match answer {
            Ok(answer) => assert_eq!(answer, Ingested::Parked),
            Err(error) => {
                assert!(matches!(error, DispatchError::Overloaded), "{error}");
                assert!(n <= 1_000, "t{n} is refused in an outage that is known");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_timed_out_and_was_stored_ends_as_stored_once_and_logged() {
    let platform = Platform::new(|worker| faulty(worker, [Fate::Hang])).await;
    let sent = untimed_transfer("t1", "ann", "bob", 7);
    assert_eq!(platform.ingest([sent]).await.unwrap(), Ingested::Parked);
    assert!(platform.is_stored("t1").await, "it was stored, and nobody knows");
    assert!(platform.log.records().is_empty());
    platform.redrive_for(Duration::from_secs(3)).await;
    assert_eq!(platform.status().await, LotStatus::default());
    let [record] = platform.log.records().try_into().unwrap();
    let stored = platform.events.get(&id("t1")).await.unwrap().unwrap();
    assert_eq!(record.outcome, Outcome::Duplicate);
    assert_eq!(record.recorded_at, Some(stored.recorded_at), "a record says when it was stored");
    assert_eq!(record.event.occurred_at().timestamp(), stored.event.occurred_at().timestamp());
}

#[tokio::test(start_paused = true)]
async fn a_record_says_who_finished_what_when() {
    let platform = Platform::new(|worker| worker.clone()).await;
    let finished = platform.ingest([payment(1, "ann"), transfer("t2", "ann", "mallory", 1)]).await.unwrap();
    let outcomes: Vec<Outcome> = finished.finished().unwrap().iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [Outcome::Stored, Outcome::Fraudulent]);
    let [stored, fraudulent] = platform.log.records().try_into().unwrap();
    assert_eq!((stored.outcome, stored.recorded_at.is_some()), (Outcome::Stored, true));
    assert_eq!((fraudulent.outcome, fraudulent.recorded_at), (Outcome::Fraudulent, None));
    assert_eq!(stored.worker, WorkerId::LOCAL);
    assert_eq!((stored.received_at, stored.finished_at), (at(1_000), at(1_000)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_logged_is_parked_until_it_can() {
    let platform = Platform::new(|worker| worker.clone()).await;
    platform.log.fail(true);
    assert_eq!(platform.ingest([payment(1, "ann")]).await.unwrap(), Ingested::Parked);
    platform.redrive_for(Duration::from_secs(30)).await;
    assert_eq!((platform.status().await.parked, platform.dead().await.len()), (1, 0), "it is no dead letter");
    platform.log.fail(false);
    platform.redrive_for(Duration::from_secs(120)).await;
    assert_eq!(platform.log.records().len(), 1);
    assert_eq!(platform.status().await, LotStatus::default());
}

#[tokio::test(start_paused = true)]
async fn without_a_lot_what_cannot_be_logged_is_an_error() {
    let (worker, _) = worker().await;
    let log = Arc::new(RecordingLog::default());
    log.fail(true);
    let balancer = Arc::new(RoundRobin::default());
    let dispatcher = Dispatcher::builder(DispatcherConfig::default(), balancer).with_log(log).build();
    dispatcher.add_member(WorkerId::LOCAL, worker);
    let failed = dispatcher.ingest(&batch([payment(1, "ann")])).await;
    assert!(matches!(failed, Err(DispatchError::Log(_))), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_waits_for_any_more_is_logged_all_the_same() {
    let platform = Platform::new(|worker| Scripted::new(worker, Act::Answer(millis(10)))).await;
    let request = platform.ingest([payment(1, "ann")]);
    assert!(tokio::time::timeout(millis(5), request).await.is_err(), "the client is gone");
    platform.dispatcher.shut_down().await;
    assert!(platform.is_stored("t1").await);
    assert_eq!(platform.log.records().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_lot_promises_nothing_and_takes_no_part_of_a_batch() {
    let limits = LotLimits { parcels: 3, ..LotLimits::default() };
    let platform = Platform::with(limits, ParkingConfig::default(), |worker| {
        Scripted::new(worker, Act::Fail(Duration::ZERO, FaultKind::Unavailable))
    })
    .await;
    let parked = platform.ingest([payment(1, "ann"), payment(2, "ann")]).await;
    assert_eq!(parked.unwrap(), Ingested::Parked);
    let refused = platform.ingest([payment(3, "ann"), payment(4, "ann")]).await;
    assert!(matches!(refused, Err(DispatchError::Park(LotError::Full))), "{refused:?}");
    assert_eq!(platform.status().await.parked, 2);
}

#[tokio::test(start_paused = true)]
async fn overload_is_refused_and_never_parked() {
    let platform = Platform::new(|worker| Scripted::new(worker, Act::Answer(millis(900)))).await;
    let requests = (0..3_000).map(|n| platform.ingest([payment(n, "ann")]));
    let answers = futures_util::future::join_all(requests).await;
    let overloaded = answers.iter().filter(|answer| matches!(answer, Err(DispatchError::Overloaded))).count();
    assert_eq!(overloaded, 3_000 - 1_024);
    assert_eq!(platform.status().await.parked, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_s_parked_events_are_redriven_in_the_order_in_which_they_were_parked() {
    let down = vec![Fate::Fail(FaultKind::Unavailable); 200];
    let platform = Platform::new(|worker| faulty(worker, down)).await;
    for n in 0..100 {
        let sender = ["ann", "cyd", "eve"][n % 3];
        assert_eq!(platform.ingest([payment(n, sender)]).await.unwrap(), Ingested::Parked);
    }
    platform.redrive_for(Duration::from_secs(600)).await;
    assert_eq!(platform.status().await, LotStatus::default());
    for sender in ["ann", "cyd", "eve"] {
        let of_sender =
            platform.log.records().into_iter().filter(|record| record.client().as_str() == sender);
        let order: Vec<usize> =
            of_sender.map(|record| record.event.id().as_str()[1..].parse().unwrap()).collect();
        assert!(order.len() >= 33 && order.is_sorted(), "{sender}: {order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ids_of_what_is_parked_together_are_in_the_order_of_the_events() {
    let platform = Platform::new(|worker| faulty(worker, [Fate::Fail(FaultKind::Unavailable)])).await;
    platform.ingest((0..50).map(|n| payment(n, "ann"))).await.unwrap();
    let parked = platform.lot.parked(&ParcelQuery::default()).await.unwrap().items;
    let event = |parcel: &ParkedParcel| ParkedEvent::decode(&parcel.parcel.content).unwrap().event;
    let listed: Vec<_> = parked.iter().map(|parcel| event(parcel).id().as_str().to_owned()).collect();
    assert_eq!(listed, (0..50).map(|n| format!("t{n}")).collect::<Vec<_>>(), "so they are redriven by hand");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_can_never_be_finished_takes_nobody_along() {
    let platform = Platform::new(|worker| {
        Arc::new(Poisoned { inner: worker.clone(), poison: "t250", calls: AtomicUsize::new(0) })
    })
    .await;
    let events = (0..500).map(|n| payment(n, &format!("client {n}")));
    assert_eq!(platform.ingest(events).await.unwrap(), Ingested::Parked);
    // Three pauses of up to 1, 2 and 4 seconds, until it travels alone.
    platform.redrive_for(Duration::from_secs(10)).await;
    let stored = futures_util::future::join_all((0..500).map(|n| {
        let events = platform.events.clone();
        async move { events.get(&id(&format!("t{n}"))).await.unwrap().is_some() }
    }));
    let missing: Vec<usize> =
        stored.await.iter().enumerate().filter(|(_, stored)| !**stored).map(|(n, _)| n).collect();
    assert_eq!(missing, [250], "after a few seconds all others are stored");
    platform.redrive_for(Duration::from_secs(600)).await;
    let [letter] = platform.dead().await.try_into().unwrap();
    assert_eq!((letter.cause, letter.parked.attempts), (DeathCause::AttemptsSpent, 10));
    let event = ParkedEvent::decode(&letter.parked.parcel.content).unwrap().event;
    assert_eq!(event, payment(250, "client 250"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_dead_letter_and_delays_nobody_behind_it() {
    let platform = Platform::new(|worker| worker.clone()).await;
    platform.park_raw("ann", b"\xff\x00 garbage").await;
    let older = r#"{"schema":1,"event":{"type":"transaction","id":"old","sender":"ann","receiver":"bob","amount":100,"currency":"EUR","occurred_at":"1970-01-01T00:00:05Z"},"received_at":"1970-01-01T00:00:06Z"}"#;
    platform.park_raw("ann", older.as_bytes()).await;
    platform.park_raw("ann", br#"{"schema":99}"#).await;
    let newest = ParkedEvent { event: payment(1, "ann"), received_at: at(1), trace: None };
    platform.park_raw("ann", newest.encode().unwrap().as_bytes()).await;
    platform.redrive_for(millis(10)).await;
    assert!(platform.is_stored("old").await && platform.is_stored("t1").await, "in the first round");
    let causes: Vec<_> =
        platform.dead().await.iter().map(|letter| (letter.cause, letter.parked.attempts)).collect();
    assert_eq!(causes, [(DeathCause::Undecodable, 0); 2]);
    assert_eq!(platform.status().await.parked, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_redriven_by_hand_is_finished() {
    let platform =
        Platform::with(LotLimits::default(), ParkingConfig::default().with_max_attempts(1), |worker| {
            faulty(worker, [Fate::Fail(FaultKind::Internal); 2])
        })
        .await;
    platform.ingest([payment(1, "ann")]).await.unwrap();
    platform.redrive_for(Duration::from_secs(3)).await;
    let [letter] = platform.dead().await.try_into().unwrap();
    assert!(platform.lot.redrive(letter.parked.parcel.id).await.unwrap());
    platform.redrive_for(Duration::from_secs(3)).await;
    assert!(platform.is_stored("t1").await);
    assert_eq!(platform.status().await, LotStatus::default());
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_whose_receiver_was_listed_meanwhile_is_not_stored() {
    let platform = Platform::new(|worker| faulty(worker, [Fate::Fail(FaultKind::Unavailable)])).await;
    platform.ingest([transfer("t1", "ann", "mallory", 1)]).await.unwrap();
    platform.redrive_for(Duration::from_secs(3)).await;
    assert!(!platform.is_stored("t1").await);
    assert_eq!(platform.status().await, LotStatus::default());
    assert_eq!(platform.log.records()[0].outcome, Outcome::Fraudulent);
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_events_are_parked_without_waiting() {
    let mut hanging = None;
    let platform = Platform::new(|worker| hanging.insert(Scripted::new(worker, Act::Hang)).clone()).await;
    let hanging = hanging.unwrap();
    for n in 0..3 {
        platform.ingest([payment(n, "ann")]).await.unwrap();
    }
    let start = Instant::now();
    for n in 3..1_003 {
        assert_eq!(platform.ingest([payment(n, "ann")]).await.unwrap(), Ingested::Parked);
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody waits for what cannot be");
    hanging.act(Act::Answer(Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tried = platform.ingest([payment(1_003, "ann")]).await.unwrap();
    assert!(matches!(tried, Ingested::Finished(_)), "one in a while is tried, and that ends it");
    assert!(matches!(platform.ingest([payment(1_004, "ann")]).await.unwrap(), Ingested::Finished(_)));
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_store_does_not_end_an_outage() {
    let away =
        Arc::new(Faulty::new(Arc::new(MemoryEventStore::default()), [Fate::Fail(FaultKind::Unavailable); 3]));
    let registry = MemoryFraudRegistry::default();
    registry.replace(fraud_list(1, &["mallory"])).await.unwrap();
    let worker = Worker::new(away, Arc::new(MemoryAdjacencyStore::default()), Arc::new(registry));
    let platform = Platform::new(|_| Arc::new(worker)).await;
    for n in 0..3 {
        platform.ingest([payment(n, "ann")]).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let listed = platform.ingest([transfer("t3", "ann", "mallory", 1)]).await.unwrap();
    assert!(matches!(listed, Ingested::Finished(_)), "it is the trial");
    assert_eq!(platform.ingest([payment(4, "ann")]).await.unwrap(), Ingested::Parked, "and tells nothing");
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_make_no_outage_and_use_up_no_trial() {
    let mut hanging = None;
    let platform = Platform::new(|worker| hanging.insert(Scripted::new(worker, Act::Hang)).clone()).await;
    let hanging = hanging.unwrap();
    let in_a_hurry = async |n| deadline::within(millis(5), platform.ingest([payment(n, "ann")])).await;
    for n in 0..10 {
        assert!(in_a_hurry(n).await.is_err());
    }
    tokio::time::sleep(millis(1)).await;
    hanging.act(Act::Answer(Duration::ZERO));
    let tried = platform.ingest([payment(10, "ann")]).await.unwrap();
    assert!(matches!(tried, Ingested::Finished(_)), "nobody else was in a hurry");
    hanging.act(Act::Hang);
    for n in 11..14 {
        platform.ingest([payment(n, "ann")]).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let calls = hanging.calls();
    assert_eq!(in_a_hurry(14).await.unwrap().unwrap(), Ingested::Parked);
    assert_eq!(hanging.calls(), calls, "in an outage who is in a hurry is parked");
    platform.ingest([payment(15, "ann")]).await.unwrap();
    assert_eq!(hanging.calls(), calls + 1, "and the next one is tried");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_is_an_outage() {
    let mut counted = None;
    let answer = Act::Answer(Duration::ZERO);
    let platform = Platform::new(|worker| counted.insert(Scripted::new(worker, answer)).clone()).await;
    let counted = counted.unwrap();
    platform.log.fail(true);
    let redriving = platform.redrive();
    for n in 0..1_000 {
        assert_eq!(platform.ingest([payment(n, &format!("client {n}"))]).await.unwrap(), Ingested::Parked);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = counted.calls();
    assert!(calls < 1_000, "{calls} calls: what cannot be logged is not stored again and again");
    platform.log.fail(false);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(platform.status().await, LotStatus::default());
    assert_eq!(platform.log.records().len(), 1_000);
    redriving.abort();
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_makes_no_dead_letters_and_ends_by_itself() {
    let mut hanging = None;
    let platform = Platform::new(|worker| hanging.insert(Scripted::new(worker, Act::Hang)).clone()).await;
    let hanging = hanging.unwrap();
    let redriving = platform.redrive();
    for n in 0..600 {
        assert_eq!(
            platform.ingest([payment(n, &format!("client {}", n % 50))]).await.unwrap(),
            Ingested::Parked
        );
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    assert!(platform.dead().await.is_empty(), "{:?}", platform.dead().await.len());
    hanging.act(Act::Answer(Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(platform.status().await, LotStatus::default(), "the lot is empty a minute after the outage");
    redriving.abort();
}

#[tokio::test(start_paused = true)]
async fn several_redrivers_do_no_parcel_twice() {
    let mut counted = None;
    let platform = Platform::new(|worker| {
        counted.insert(Scripted::new(worker, Act::Fail(Duration::ZERO, FaultKind::Unavailable))).clone()
    })
    .await;
    let counted = counted.unwrap();
    for n in 0..500 {
        platform.ingest([payment(n, &format!("client {}", n % 20))]).await.unwrap();
    }
    counted.act(Act::Answer(millis(50)));
    let redriving: Vec<_> = (0..4).map(|_| platform.redrive()).collect();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(platform.status().await, LotStatus::default());
    let records = platform.log.records();
    assert_eq!(records.len(), 500, "one record an event: none was finished twice");
    assert!(records.iter().all(|record| record.outcome == Outcome::Stored));
    redriving.into_iter().for_each(|one| one.abort());
}

#[tokio::test(start_paused = true)]
async fn parcels_of_a_redriver_that_died_are_taken_over_when_its_lease_ends() {
    let platform = Platform::new(|worker| faulty(worker, [Fate::Fail(FaultKind::Unavailable)])).await;
    platform.ingest([payment(1, "ann")]).await.unwrap();
    let dead = platform.lot.lease(LeaseRequest::new(10, Duration::from_secs(30))).await.unwrap();
    assert_eq!(dead.len(), 1, "somebody leases it and is heard of no more");
    let redriving = platform.redrive();
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(!platform.is_stored("t1").await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(platform.is_stored("t1").await);
    redriving.abort();
}

#[tokio::test(start_paused = true)]
async fn stopping_gives_back_what_was_leased() {
    let mut slow = None;
    let platform = Platform::new(|worker| {
        slow.insert(Scripted::new(worker, Act::Fail(Duration::ZERO, FaultKind::Unavailable))).clone()
    })
    .await;
    let events = (0..1_000).map(|n| payment(n, &format!("client {n}")));
    platform.ingest(events).await.unwrap();
    slow.unwrap().act(Act::Answer(millis(500)));
    let redriving = platform.redrive();
    tokio::time::sleep(millis(100)).await;
    platform.stop.cancel();
    redriving.await.unwrap();
    let left = platform.status().await.parked;
    assert_eq!(left, 1_000 - 512, "the batch under way is finished");
    let again = platform.lot.lease(LeaseRequest::new(1_024, Duration::from_secs(1))).await.unwrap();
    assert_eq!(again.len(), 1_000 - 512, "and the rest is free at once");
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_comes_with_a_request_goes_into_its_record_also_through_the_lot() {
    let platform =
        Platform::new(|worker| faulty(worker, [Fate::Pass, Fate::Fail(FaultKind::Unavailable)])).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    for n in 0..2 {
        mini_platform_core::trace::within(trace, platform.ingest([payment(n, "ann")])).await.unwrap();
    }
    platform.dispatcher.ingest_one(payment(2, "ann")).await.unwrap();
    platform.redrive_for(Duration::from_secs(3)).await;
    let traces: Vec<_> = platform.log.records().iter().map(|record| record.trace).collect();
    assert_eq!(traces.len(), 3);
    assert_eq!(
        traces.iter().filter(|found| **found == trace).count(),
        2,
        "and who brings none gets a new one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_s_failure_is_no_outage_while_others_finish() {
    let (worker, _) = worker().await;
    let lot = Arc::new(MemoryParkingLot::new(LotLimits::default(), Arc::new(VirtualClock::new(at(0)))));
    let dispatcher = Dispatcher::builder(DispatcherConfig::default(), Arc::new(RoundRobin::default()))
        .with_parking(lot, ParkingConfig::default())
        .build();
    let failing = Scripted::new(&worker, Act::Fail(Duration::ZERO, FaultKind::Unavailable));
    dispatcher.add_member(WorkerId::new("w1").unwrap(), failing);
    dispatcher.add_member(WorkerId::new("w2").unwrap(), worker);
    for n in 0..100 {
        let answer = dispatcher.ingest(&batch([payment(n, "ann")])).await.unwrap();
        assert!(matches!(answer, Ingested::Finished(_)), "{n}");
    }
}
