//! Model tests: random operations on an adapter and on the memory adapter must agree.
//!
//! The sequences come from a fixed seed, so a run repeats; set `PROPTEST_CASES` for more of them. A
//! disagreement is shrunk to the shortest sequence that shows it. One sequence has one fixture and about fifty
//! calls, so that a run against a server that answers in a millisecond takes seconds.

use std::cell::Cell;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::prop_assert;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::adjacency_store::{self, all_branches, all_interactions};
use super::event_store::{self, all_pages};
use super::fraud_registry::all_entries;
use super::parking_lot::{self, LONG, ParkingLotStage, TICK, all_dead, all_parked, parcel, parcel_id};
use super::{
    Fixture, IntoFixture, ManualClock, at, client, deposit, fraud_list, id, list_version, transfer,
    untimed_transfer, withdrawal,
};
use crate::domain::{
    DeathCause, Edge, Event, EventBatchBuilder, EventFilter, EventQuery, LeaseRequest, LeasedParcel,
    MatchMode, Parcel, ParcelContent, ParkReason, ParkedParcel, Settlement, TimeRange,
};
use crate::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry, MemoryParkingLot};
use crate::port::{AdjacencyStore, EventStore, FraudRegistry, ParkingLot};

/// Sequences a run, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 32;

/// Names of which the first is the start of others.
const NAMES: [&str; 5] = ["a", "aa", "a/", "á", "b"];

fn event() -> impl Strategy<Value = Event> {
    (0..4_u8, 0..24_u8, 0..NAMES.len(), 1..NAMES.len(), -3..6_i64).prop_map(
        |(kind, number, one, step, seconds)| {
            let (event_id, one, other) =
                (format!("e{number}"), NAMES[one], NAMES[(one + step) % NAMES.len()]);
            match kind {
                0 => transfer(&event_id, one, other, seconds),
                1 => untimed_transfer(&event_id, one, other, seconds),
                2 => deposit(&event_id, one, other, seconds),
                _ => withdrawal(&event_id, one, other, seconds),
            }
        },
    )
}

fn query() -> impl Strategy<Value = EventQuery> {
    let filter = prop_oneof![
        Just(EventFilter::Transactions),
        Just(EventFilter::Sent),
        Just(EventFilter::Received),
        Just(EventFilter::Operations),
        Just(EventFilter::Deposits),
        Just(EventFilter::Withdrawals),
    ];
    let end = || proptest::option::of(-4..7_i64);
    (0..NAMES.len(), filter, end(), end()).prop_map(|(name, filter, from, to)| {
        let range = TimeRange { from: from.map(at), to: to.map(at) };
        EventQuery::new(client(NAMES[name]), filter).with_range(range)
    })
}

/// `PROPTEST_CASES`, which proptest reads itself, when it is set.
fn cases() -> u32 {
    let configured = Config::default().cases;
    // 256 is proptest's own default.
    if configured == 256 { CASES } else { configured }
}

/// Checks random sequences, each on a fixture of its own. Without a fixture there is nothing to check.
fn run<S, F>(
    fixture: impl Fn() -> F,
    operations: &S,
    check: impl AsyncFn(Fixture<<F::Output as IntoFixture>::Port>, S::Value) -> Result<(), TestCaseError>,
) where
    S: Strategy<Value: std::fmt::Debug>,
    F: Future<Output: IntoFixture>,
{
    let config = Config { failure_persistence: None, ..Config::with_cases(cases()) };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let skipped = Cell::new(false);
    let result = runner.run(operations, |sequence| {
        runtime.block_on(async {
            if skipped.get() {
                return Ok(());
            }
            match fixture().await.into_fixture() {
                Some(fixture) => check(fixture, sequence).await,
                None => {
                    skipped.set(true);
                    Ok(())
                }
            }
        })
    });
    if let Err(disagreement) = result {
        panic!("{disagreement}");
    }
}

fn agree<T: PartialEq + std::fmt::Debug>(adapter: &T, memory: &T) -> Result<(), TestCaseError> {
    if adapter == memory {
        Ok(())
    } else {
        Err(TestCaseError::fail(format!("the adapter answers\n{adapter:?}\nand memory\n{memory:?}")))
    }
}

#[derive(Debug, Clone)]
enum EventStoreCall {
    Append(Vec<Event>),
    Get(u8),
    Query(EventQuery, u16),
    Clients(u16),
}

/// Checks that an event store agrees with the one in memory.
pub fn event_store_agrees_with_memory<F>(fixture: impl Fn() -> F)
where
    F: Future<Output: IntoFixture<Port = dyn EventStore>>,
{
    let call = prop_oneof![
        3 => vec(event(), 1..12).prop_map(EventStoreCall::Append),
        1 => (0..26_u8).prop_map(EventStoreCall::Get),
        2 => (query(), 1..6_u16).prop_map(|(query, size)| EventStoreCall::Query(query, size)),
        1 => (1..6_u16).prop_map(EventStoreCall::Clients),
    ];
    run(fixture, &vec(call, 1..25), async |adapter, calls| {
        let memory = MemoryEventStore::default();
        for (recorded, call) in (0..).zip(calls) {
            match call {
                EventStoreCall::Append(events) => {
                    let mut builder = EventBatchBuilder::default();
                    // Of events with the same id in one batch, the first counts.
                    events.into_iter().for_each(|event| drop(builder.push(event)));
                    let batch = builder.build().unwrap();
                    let answer = adapter.port.append(&batch, at(recorded)).await.unwrap();
                    agree(&answer, &memory.append(&batch, at(recorded)).await.unwrap())?;
                }
                EventStoreCall::Get(number) => {
                    let event_id = id(&format!("e{number}"));
                    let answer = adapter.port.get(&event_id).await.unwrap();
                    agree(&answer, &memory.get(&event_id).await.unwrap())?;
                }
                EventStoreCall::Query(query, size) => {
                    let answer = all_pages(&*adapter.port, &query, size).await;
                    agree(&answer, &all_pages(&memory, &query, size).await)?;
                }
                EventStoreCall::Clients(size) => {
                    let answer = event_store::all_clients(&*adapter.port, size).await;
                    agree(&answer, &event_store::all_clients(&memory, size).await)?;
                }
            }
        }
        Ok(())
    });
}

/// The edges that events imply.
fn edges() -> impl Strategy<Value = Vec<Edge>> {
    let implied = |event: &Event| Edge::implied_by(event, event.occurred_at().timestamp());
    vec(event(), 0..12).prop_map(move |events| events.iter().flat_map(implied).collect())
}

#[derive(Debug, Clone)]
enum AdjacencyCall {
    Link(Vec<Edge>),
    Unlink(Vec<Edge>),
    Neighbours(usize, u16),
    Clients(u16),
}

/// Checks that an adjacency store agrees with the one in memory.
pub fn adjacency_store_agrees_with_memory<F>(fixture: impl Fn() -> F)
where
    F: Future<Output: IntoFixture<Port = dyn AdjacencyStore>>,
{
    let call = prop_oneof![
        2 => edges().prop_map(AdjacencyCall::Link),
        1 => edges().prop_map(AdjacencyCall::Unlink),
        2 => (0..NAMES.len(), 1..4_u16).prop_map(|(name, size)| AdjacencyCall::Neighbours(name, size)),
        1 => (1..4_u16).prop_map(AdjacencyCall::Clients),
    ];
    run(fixture, &vec(call, 1..25), async |adapter, calls| {
        let (adapter, memory) = (&*adapter.port, MemoryAdjacencyStore::default());
        for call in calls {
            match call {
                AdjacencyCall::Link(edges) => {
                    adapter.link(&edges).await.unwrap();
                    memory.link(&edges).await.unwrap();
                }
                AdjacencyCall::Unlink(edges) => {
                    adapter.unlink(&edges).await.unwrap();
                    memory.unlink(&edges).await.unwrap();
                }
                AdjacencyCall::Neighbours(name, size) => {
                    let name = NAMES[name];
                    let answer = all_interactions(adapter, name, size).await;
                    agree(&answer, &all_interactions(&memory, name, size).await)?;
                    let answer = all_branches(adapter, name, size).await;
                    agree(&answer, &all_branches(&memory, name, size).await)?;
                }
                AdjacencyCall::Clients(size) => {
                    let answer = linked_clients(adapter, size).await;
                    agree(&answer, &linked_clients(&memory, size).await)?;
                }
            }
        }
        Ok(())
    });
}

/// Returns the clients that have links: those that a store answers may have lost them.
async fn linked_clients(store: &dyn AdjacencyStore, size: u16) -> Vec<String> {
    let mut linked = Vec::new();
    for name in adjacency_store::all_clients(store, size).await {
        let interactions = all_interactions(store, &name, 100).await;
        if !interactions.is_empty() || !all_branches(store, &name, 100).await.is_empty() {
            linked.push(name);
        }
    }
    linked
}

#[derive(Debug, Clone)]
enum RegistryCall {
    Replace(i64, Vec<usize>),
    Rollback(i64),
    Screen,
    Entries(i64),
    Confirm(i64),
}

/// Checks that a fraud registry in the default match mode agrees with the one in memory.
///
/// The times of loading and confirming are the registries' own and are not compared, but never go back.
pub fn fraud_registry_agrees_with_memory<F>(fixture: impl Fn() -> F)
where
    F: Future<Output: IntoFixture<Port = dyn FraudRegistry>>,
{
    let call = prop_oneof![
        (0..12_i64, vec(0..NAMES.len(), 0..6)).prop_map(|(time, names)| RegistryCall::Replace(time, names)),
        (0..12_i64).prop_map(RegistryCall::Rollback),
        any::<()>().prop_map(|()| RegistryCall::Screen),
        (0..12_i64).prop_map(RegistryCall::Entries),
        (0..12_i64).prop_map(RegistryCall::Confirm),
    ];
    run(fixture, &vec(call, 1..20), async |adapter, calls| {
        let memory = MemoryFraudRegistry::new(MatchMode::default(), Arc::new(ManualClock::new(at(0))));
        let mut confirmed_at = None;
        for call in calls {
            agree(&answer(&*adapter.port, &call).await, &answer(&memory, &call).await)?;
            agree(&history(&*adapter.port).await, &history(&memory).await)?;
            let in_force = adapter.port.in_force().await.unwrap();
            let before = mem::replace(&mut confirmed_at, in_force.map(|list| list.confirmed_at));
            prop_assert!(confirmed_at >= before, "{call:?} took a confirmation back");
        }
        Ok(())
    });
}

/// What a registry answers to a call, in a form that can be compared.
async fn answer(registry: &dyn FraudRegistry, call: &RegistryCall) -> String {
    match call {
        RegistryCall::Replace(time, names) => {
            let names: Vec<&str> = names.iter().map(|name| NAMES[*name]).collect();
            match registry.replace(fraud_list(*time, &names)).await.unwrap() {
                crate::port::ReplaceOutcome::Replaced(info) => format!("{} {}", info.version, info.entries),
                stale => format!("{stale:?}"),
            }
        }
        RegistryCall::Rollback(time) => {
            let answer = registry.rollback(&list_version(*time)).await;
            format!("{:?}", answer.map(|info| info.version).map_err(|error| error.to_string()))
        }
        RegistryCall::Screen => {
            let answer = registry.screen(&NAMES.map(client)).await;
            format!("{:?}", answer.map_err(|error| error.to_string()))
        }
        RegistryCall::Entries(time) => {
            let answer = all_entries(registry, &list_version(*time)).await;
            format!("{:?}", answer.map_err(|error| error.to_string()))
        }
        RegistryCall::Confirm(time) => {
            let answer = registry.confirm(&list_version(*time)).await.unwrap();
            format!("{:?}", answer.map(|info| info.version))
        }
    }
}

async fn history(registry: &dyn FraudRegistry) -> Vec<(String, u64)> {
    let history = registry.history().await.unwrap();
    history.into_iter().map(|info| (info.version.to_string(), info.entries)).collect()
}

/// A pause, or a lease, whose end a sequence waits for at once.
const MOMENT: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Done,
    Retry(ParkReason, Duration),
    Postpone(ParkReason, Duration),
    Bury(DeathCause, Option<ParkReason>),
}

impl Verdict {
    fn settle(self, leased: LeasedParcel) -> Settlement {
        match self {
            Self::Done => leased.done(),
            Self::Retry(reason, after) => leased.retry(reason, after),
            Self::Postpone(reason, after) => leased.postpone(reason, after),
            Self::Bury(cause, last) => leased.bury(cause, last),
        }
    }

    fn pauses_for(self, pause: Duration) -> bool {
        matches!(self, Self::Retry(_, after) | Self::Postpone(_, after) if after == pause)
    }
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let reason = || prop_oneof![Just(ParkReason::Timeout), Just(ParkReason::Storing)];
    let pause = || prop_oneof![4 => Just(Duration::ZERO), 3 => Just(MOMENT), 1 => Just(LONG)];
    let last = proptest::option::of(reason());
    prop_oneof![
        3 => Just(Verdict::Done),
        3 => (reason(), pause()).prop_map(|(reason, after)| Verdict::Retry(reason, after)),
        1 => (reason(), pause()).prop_map(|(reason, after)| Verdict::Postpone(reason, after)),
        2 => last.prop_map(|last| Verdict::Bury(DeathCause::AttemptsSpent, last)),
    ]
}

#[derive(Debug, Clone)]
enum LotCall {
    /// Numbers, for the lane of one client, so that no two lanes come due at once.
    Park(usize, Vec<u32>),
    Lease(usize),
    /// Leases a parcel, and waits for the end of the lease.
    LeaseAndLose,
    /// Settles parcels of one lease.
    Settle(usize, Vec<Verdict>),
    SettleAgain(usize),
    Redrive(u32),
    Discard(u32),
    Look(u16),
}

fn lot_call() -> impl Strategy<Value = LotCall> {
    let number = || 0..24_u32;
    prop_oneof![
        4 => (0..NAMES.len(), vec(number(), 1..6)).prop_map(|(name, numbers)| LotCall::Park(name, numbers)),
        3 => (1..8_usize).prop_map(LotCall::Lease),
        1 => Just(LotCall::LeaseAndLose),
        5 => (any::<usize>(), vec(verdict(), 1..4)).prop_map(|(at, verdicts)| LotCall::Settle(at, verdicts)),
        1 => any::<usize>().prop_map(LotCall::SettleAgain),
        1 => number().prop_map(LotCall::Redrive),
        1 => number().prop_map(LotCall::Discard),
        2 => (1..5_u16).prop_map(LotCall::Look),
    ]
}

/// Two lots in step, and what was leased of both.
struct Lots {
    adapter: Arc<ParkingLotStage>,
    memory: ParkingLotStage,
    /// As the adapter leased it, and as memory did.
    leased: Vec<(LeasedParcel, LeasedParcel)>,
    /// What was settled before, or is too late.
    spent: Vec<(Settlement, Settlement)>,
}

/// Checks that a parking lot agrees with the one in memory.
///
/// Times and the numbers of leases are the lots' own and are not compared.
pub fn parking_lot_agrees_with_memory<F>(fixture: impl Fn() -> F)
where
    F: Future<Output: IntoFixture<Port = ParkingLotStage>>,
{
    run(fixture, &vec(lot_call(), 1..60), async |adapter, calls| {
        let clock = Arc::new(ManualClock::new(at(0)));
        let memory = MemoryParkingLot::new(parking_lot::LIMITS, Arc::clone(&clock) as _);
        let memory = ParkingLotStage::new(Arc::new(memory), clock);
        let adapter_stage = Arc::clone(&adapter.port);
        let mut lots = Lots { adapter: adapter_stage, memory, leased: Vec::new(), spent: Vec::new() };
        for call in calls {
            lots.pass_time(TICK).await;
            lots.make(call).await?;
        }
        lots.look(1).await
    });
}

/// A parcel of a number: a few of the longer ones fill a lot.
fn sized_parcel(number: u32, name: &str) -> Parcel {
    let bytes = usize::try_from(number % 4).unwrap() * 1_500;
    let content = ParcelContent::new(vec![u8::try_from(number).unwrap(); bytes]).unwrap();
    Parcel { content, ..parcel(number, name) }
}

fn seen(parked: &ParkedParcel) -> (Parcel, u32) {
    (parked.parcel.clone(), parked.attempts)
}

impl Lots {
    async fn pass_time(&self, duration: Duration) {
        self.adapter.pass_time(duration).await;
        self.memory.pass_time(duration).await;
    }

    async fn make(&mut self, call: LotCall) -> Result<(), TestCaseError> {
        let (adapter, memory) = (Arc::clone(&self.adapter.lot), Arc::clone(&self.memory.lot));
        match call {
            LotCall::Park(name, numbers) => {
                let parcels: Vec<Parcel> =
                    numbers.iter().map(|number| sized_parcel(*number, NAMES[name])).collect();
                let answer = async |lot: &dyn ParkingLot| format!("{:?}", lot.park(&parcels).await);
                agree(&answer(&*adapter).await, &answer(&*memory).await)
            }
            LotCall::Lease(max) => {
                let leased = self.lease(LeaseRequest::new(max, LONG)).await?;
                self.leased.extend(leased);
                Ok(())
            }
            LotCall::LeaseAndLose => {
                let lost = self.lease(LeaseRequest::new(1, MOMENT)).await?;
                self.pass_time(MOMENT).await;
                self.spent.extend(lost.into_iter().map(|(one, other)| (one.done(), other.done())));
                Ok(())
            }
            LotCall::Settle(place, verdicts) => self.settle(place, &verdicts).await,
            LotCall::SettleAgain(place) => {
                let Some(place) = place.checked_rem(self.spent.len()) else { return Ok(()) };
                let (one, other) = self.spent[place];
                agree(&adapter.settle(&[one]).await.unwrap(), &memory.settle(&[other]).await.unwrap())
            }
            LotCall::Redrive(number) => {
                let id = parcel_id(number);
                agree(&adapter.redrive(id).await.unwrap(), &memory.redrive(id).await.unwrap())
            }
            LotCall::Discard(number) => {
                let id = parcel_id(number);
                agree(&adapter.discard(id).await.unwrap(), &memory.discard(id).await.unwrap())
            }
            LotCall::Look(size) => self.look(size).await,
        }
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<(LeasedParcel, LeasedParcel)>, TestCaseError> {
        let adapter = self.adapter.lot.lease(request).await.unwrap();
        let memory = self.memory.lot.lease(request).await.unwrap();
        let parcels = |leased: &[LeasedParcel]| -> Vec<_> {
            leased.iter().map(|leased| seen(leased.parked())).collect()
        };
        agree(&parcels(&adapter), &parcels(&memory))?;
        Ok(adapter.into_iter().zip(memory).collect())
    }

    /// Settles as many parcels as there are verdicts, of the lane that a place falls on.
    async fn settle(&mut self, place: usize, verdicts: &[Verdict]) -> Result<(), TestCaseError> {
        let Some(place) = place.checked_rem(self.leased.len()) else { return Ok(()) };
        let lane = |(_, leased): &(LeasedParcel, LeasedParcel)| leased.parked().parcel.client.clone();
        let client = lane(&self.leased[place]);
        let (of_lane, others): (Vec<_>, Vec<_>) =
            mem::take(&mut self.leased).into_iter().partition(|leased| lane(leased) == client);
        self.leased = others;
        let mut of_lane = of_lane.into_iter();
        let settlements: Vec<_> = verdicts
            .iter()
            .zip(of_lane.by_ref())
            .map(|(verdict, (one, other))| (verdict.settle(one), verdict.settle(other)))
            .collect();
        self.leased.extend(of_lane);
        let (adapter, memory): (Vec<_>, Vec<_>) = settlements.iter().copied().unzip();
        self.spent.extend(settlements);
        let answer = self.adapter.lot.settle(&adapter).await.unwrap();
        agree(&answer, &self.memory.lot.settle(&memory).await.unwrap())?;
        if verdicts.iter().any(|verdict| verdict.pauses_for(MOMENT)) {
            self.pass_time(MOMENT).await;
        }
        Ok(())
    }

    async fn look(&self, size: u16) -> Result<(), TestCaseError> {
        let (adapter, memory) = (&*self.adapter.lot, &*self.memory.lot);
        let parked =
            async |lot: &dyn ParkingLot| -> Vec<_> { all_parked(lot, size).await.iter().map(seen).collect() };
        agree(&parked(adapter).await, &parked(memory).await)?;
        let dead = async |lot: &dyn ParkingLot| -> Vec<_> {
            all_dead(lot, size).await.iter().map(|dead| (seen(&dead.parked), dead.cause)).collect()
        };
        agree(&dead(adapter).await, &dead(memory).await)?;
        let counts = async |lot: &dyn ParkingLot| {
            let status = lot.status().await.unwrap();
            (status.parked, status.dead, status.bytes, status.oldest_parked_at.is_some())
        };
        agree(&counts(adapter).await, &counts(memory).await)
    }
}
