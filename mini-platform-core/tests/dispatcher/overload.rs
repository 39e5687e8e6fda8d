//! More comes than can be done.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, P2cEwma, ParkingConfig, RoundRobin};
use mini_platform_core::domain::{LotLimits, LotStatus, WorkerId};
use mini_platform_core::error::DispatchError;
use mini_platform_core::memory::MemoryParkingLot;
use mini_platform_core::port::{FetchQuery, ParkingLot, WorkerNode};
use mini_platform_core::testkit::{VirtualClock, at, transfer};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::support::{Act, Scripted, balanced, dispatcher, millis, send, worker};

/// How one event fared, and after how long.
type Fared = (Result<(), DispatchError>, Duration);

/// Sends single events at an even pace, whatever becomes of them.
async fn flood(dispatcher: &Dispatcher, a_second: u32, seconds: u32) -> Vec<Fared> {
    let mut tasks: Vec<JoinHandle<Fared>> = Vec::new();
    for n in 0..a_second * seconds {
        let dispatcher = dispatcher.clone();
        tasks.push(tokio::spawn(async move {
            let start = Instant::now();
            let answer = dispatcher.ingest_one(transfer(&format!("t{n}"), "ann", "bob", 1)).await;
            (answer.map(drop), start.elapsed())
        }));
        if n % a_second.div_ceil(100) == 0 {
            tokio::time::sleep(Duration::from_secs(1) * a_second.div_ceil(100) / a_second).await;
        }
    }
    futures_util::future::join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

fn is_overloaded(answer: &Result<(), DispatchError>) -> bool {
    matches!(answer, Err(DispatchError::Overloaded))
}

#[tokio::test(start_paused = true)]
async fn ten_times_too_much_is_refused_at_once_and_the_rest_is_in_time() {
    let (worker, _) = worker().await;
    let member = Scripted::new(&worker, Act::Answer(millis(100)));
    // Four batches of ten every 100 ms: 400 events a second.
    let config = DispatcherConfig::default().with_max_batch(10).with_queue(200);
    let dispatcher = dispatcher(config, vec![member.clone()]);
    let fared = flood(&dispatcher, 4_000, 5).await;
    let (refused, accepted): (Vec<_>, Vec<_>) =
        fared.into_iter().partition(|(answer, _)| is_overloaded(answer));
    assert!(refused.iter().all(|(_, took)| *took == Duration::ZERO), "refused at once");
    assert!(accepted.iter().all(|(answer, took)| answer.is_ok() && *took <= millis(700)), "in time");
    assert!((1_900..=2_300).contains(&accepted.len()), "as many as there is room for: {}", accepted.len());
    assert_eq!(member.most_under_way(), 4, "the worker holds no more than usual");
}

#[tokio::test(start_paused = true)]
async fn a_minute_of_ten_times_too_much_costs_no_goodput_fills_no_lot_and_is_over_at_once() {
    let (worker, _) = worker().await;
    let member = Scripted::new(&worker, Act::Answer(millis(100)));
    // Four batches of one every 100 ms: 40 events a second.
    let config = DispatcherConfig::default().with_max_batch(1).with_queue(20);
    let lot = Arc::new(MemoryParkingLot::new(LotLimits::default(), Arc::new(VirtualClock::new(at(0)))));
    let dispatcher = Dispatcher::builder(config, Arc::new(RoundRobin::default()))
        .with_parking(lot.clone(), ParkingConfig::default())
        .build();
    dispatcher.add_member(WorkerId::LOCAL, member.clone());
    let fared = flood(&dispatcher, 400, 60).await;
    let capacity = 40 * 60;
    let accepted = fared.iter().filter(|(answer, _)| answer.is_ok()).count();
    assert!(
        accepted * 10 >= capacity * 9,
        "at least 90 % of what there is room for: {accepted} of {capacity}"
    );
    assert!(fared.iter().all(|(answer, _)| answer.is_ok() || is_overloaded(answer)));
    assert!(fared.iter().all(|(_, took)| *took <= millis(700)), "nobody waits long");
    assert_eq!(lot.status().await.unwrap(), LotStatus::default(), "overload is not parked");
    let after = flood(&dispatcher, 30, 5).await;
    assert!(
        after.iter().all(|(answer, took)| answer.is_ok() && *took <= millis(200)),
        "as if nothing had been"
    );
}

#[tokio::test(start_paused = true)]
async fn as_soon_as_events_wait_for_long_more_are_refused_at_once_however_many_may_wait() {
    let (worker, _) = worker().await;
    let member = Scripted::new(&worker, Act::Answer(millis(100)));
    let config = DispatcherConfig::default().with_max_batch(10).with_queue(100_000);
    let dispatcher = dispatcher(config, vec![member.clone()]);
    let fared = flood(&dispatcher, 4_000, 5).await;
    let (refused, accepted): (Vec<_>, Vec<_>) =
        fared.into_iter().partition(|(answer, _)| is_overloaded(answer));
    assert!(accepted.iter().all(|(answer, took)| answer.is_ok() && *took <= millis(600)), "in time");
    assert!(refused.iter().all(|(_, took)| *took <= millis(600)), "nobody waits long for a refusal");
    let at_once = refused.iter().filter(|(_, took)| *took == Duration::ZERO).count();
    assert!(at_once * 10 >= refused.len() * 9, "{at_once} of {} refused at once", refused.len());
    assert!(accepted.len() >= 2_000, "the worker is never idle: {}", accepted.len());
    assert_eq!(member.calls(), accepted.len().div_ceil(10), "and never works for nothing");
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_can_be_done_in_time_is_done() {
    let (worker, _) = worker().await;
    let member = Scripted::new(&worker, Act::Answer(millis(100)));
    let config = DispatcherConfig::default().with_max_batch(10);
    let dispatcher = dispatcher(config, vec![member]);
    // Of 400 a second, fewer than half.
    let burst = (0..180).map(|n| dispatcher.ingest_one(transfer(&format!("t{n}"), "ann", "bob", 1)));
    assert!(futures_util::future::join_all(burst).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_was_slow_is_not_taken_for_slow_when_it_is_quick_again() {
    let (worker, _) = worker().await;
    let member = Scripted::new(&worker, Act::Answer(millis(100)));
    let config = DispatcherConfig::default().with_max_batch(10);
    let dispatcher = dispatcher(config, vec![member.clone()]);
    let fared = flood(&dispatcher, 4_000, 1).await;
    assert!(fared.iter().any(|(answer, _)| is_overloaded(answer)), "it is slow");
    member.act(Act::Answer(millis(1)));
    let burst = (0..1_000).map(|n| dispatcher.ingest_one(transfer(&format!("b{n}"), "ann", "bob", 1)));
    let fared = futures_util::future::join_all(burst).await;
    assert!(fared.iter().all(Result::is_ok), "a thousand take 25 ms");
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_for_half_of_its_time_is_not_sent() {
    let (worker, _) = worker().await;
    let member = Scripted::new(&worker, Act::Answer(millis(700)));
    let config = DispatcherConfig::default().with_max_batch(1).with_concurrent_batches(1);
    let dispatcher = dispatcher(config, vec![member.clone()]);
    let [first, second] = ["t1", "t2"].map(|id| dispatcher.ingest_one(transfer(id, "ann", "bob", 1)));
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok());
    assert!(is_overloaded(&second.map(drop)), "it had no time left to be stored");
    assert_eq!(member.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hung_member_among_three_does_not_stop_single_events() {
    let (worker, _) = worker().await;
    let hung = Scripted::new(&worker, Act::Hang);
    let quick = Scripted::new(&worker, Act::Answer(millis(5)));
    let nodes: Vec<Arc<dyn WorkerNode>> = vec![quick.clone(), hung.clone(), quick];
    let dispatcher = balanced(DispatcherConfig::default(), P2cEwma::new(1), nodes);
    let fared = flood(&dispatcher, 1_000, 5).await;
    assert!(fared.iter().all(|(answer, _)| answer.is_ok()));
    let late = fared.iter().filter(|(_, took)| *took > millis(100)).count();
    assert!(late * 100 < fared.len(), "{late} of {} are late", fared.len());
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_may_be_under_way_are_refused_at_once() {
    let (worker, _) = worker().await;
    let member = Scripted::new(&worker, Act::Answer(millis(100)));
    let config = DispatcherConfig::default().with_max_in_flight(8);
    let dispatcher = dispatcher(config, vec![member.clone()]);
    let sent: Vec<_> = (0..80)
        .map(|n| {
            let dispatcher = dispatcher.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                let answer = match n % 2 {
                    0 => send(&dispatcher, n).await.map(drop),
                    _ => dispatcher.fetch(&FetchQuery::ListInForce).await.map(drop),
                };
                (answer, start.elapsed())
            })
        })
        .collect();
    let fared = futures_util::future::join_all(sent).await;
    let (refused, accepted): (Vec<_>, Vec<_>) =
        fared.into_iter().map(Result::unwrap).partition(|(answer, _)| is_overloaded(answer));
    assert_eq!((accepted.len(), member.most_under_way()), (8, 8));
    assert!(accepted.iter().all(|(answer, took)| answer.is_ok() && *took == millis(100)));
    assert!(refused.iter().all(|(_, took)| *took == Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn there_is_room_again_whatever_way_a_request_ends() {
    let (worker, _) = worker().await;
    let member = Scripted::new(&worker, Act::Answer(Duration::ZERO));
    let dispatcher = dispatcher(DispatcherConfig::default().with_max_in_flight(1), vec![member.clone()]);
    let acts = [
        Act::Hang,
        Act::Answer(Duration::ZERO),
        Act::Shorten,
        Act::Fail(Duration::ZERO, mini_platform_core::error::FaultKind::Timeout),
    ];
    for act in acts {
        member.act(act);
        let _ = send(&dispatcher, 1).await;
    }
    member.act(Act::Hang);
    assert!(tokio::time::timeout(millis(10), send(&dispatcher, 2)).await.is_err(), "its caller went away");
    tokio::time::sleep(DispatcherConfig::default().timeout).await;
    member.act(Act::Answer(Duration::ZERO));
    send(&dispatcher, 3).await.unwrap();
}
