//! Model tests: random operations on an adapter and on the memory adapter must agree.
//!
//! The sequences come from a fixed seed, so a run repeats; set `PROPTEST_CASES` for more of them. A
//! disagreement is shrunk to the shortest sequence that shows it. One sequence has one fixture and about fifty
//! calls, so that a run against a server that answers in a millisecond takes seconds.

use std::cell::Cell;
use std::future::Future;
use std::mem;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::prop_assert;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::adjacency_store::{self, all_branches, all_interactions};
use super::event_store::{self, all_pages};
use super::fraud_registry::all_entries;
use super::{
    Fixture, IntoFixture, ManualClock, at, client, deposit, fraud_list, id, list_version, transfer,
    untimed_transfer, withdrawal,
};
use crate::domain::{Edge, Event, EventBatchBuilder, EventFilter, EventQuery, MatchMode, TimeRange};
use crate::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use crate::port::{AdjacencyStore, EventStore, FraudRegistry};

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
