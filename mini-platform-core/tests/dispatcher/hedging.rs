//! A member that is slow is given company.

use std::time::Duration;

use mini_platform_core::dispatcher::DispatcherConfig;
use mini_platform_core::domain::Outcome;
use mini_platform_core::error::{DispatchError, FaultKind};
use mini_platform_core::port::EventStore;
use mini_platform_core::testkit::id;
use tokio::time::Instant;

use super::support::{Act, Scripted, dispatcher, millis, send, use_up_budget, worker};

const HANGS: Act = Act::Hang;

fn answers(after: u64) -> Act {
    Act::Answer(millis(after))
}

fn fails(after: u64, kind: FaultKind) -> Act {
    Act::Fail(millis(after), kind)
}

/// Sends one batch to members that act so, in this order. Returns whether it was stored, after how long, how often
/// each was called, and how many requests each failed.
async fn race(acts: &[Act]) -> (bool, Duration, Vec<usize>, Vec<u64>) {
    let (worker, _) = worker().await;
    let members: Vec<_> = acts.iter().map(|act| Scripted::new(&worker, *act)).collect();
    let nodes = members.iter().map(|member| member.clone() as _).collect();
    let dispatcher = dispatcher(DispatcherConfig::default(), nodes);
    let start = Instant::now();
    let stored = send(&dispatcher, 0).await.is_ok();
    let took = start.elapsed();
    let view = dispatcher.view();
    assert!(view.members().iter().all(|member| member.in_flight() == 0), "the race is over");
    (
        stored,
        took,
        members.iter().map(|m| m.calls()).collect(),
        view.members().iter().map(|m| m.failed()).collect(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_hung_member_costs_half_of_the_time() {
    let (stored, took, calls, failed) = race(&[HANGS, answers(10)]).await;
    assert!(stored);
    assert_eq!(took, millis(510));
    assert_eq!(calls, [1, 1]);
    assert_eq!(failed, [1, 0], "the slow one failed");
}

#[tokio::test(start_paused = true)]
async fn a_slow_member_that_comes_back_wins_and_the_other_did_not_fail() {
    let (stored, took, calls, failed) = race(&[answers(600), answers(300)]).await;
    assert!(stored);
    assert_eq!(took, millis(600));
    assert_eq!(calls, [1, 1]);
    assert_eq!(failed, [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn three_members_are_tried_at_once_and_no_more() {
    let (stored, took, calls, failed) = race(&[HANGS, HANGS, answers(1), answers(1)]).await;
    assert!(stored);
    assert_eq!((took, calls), (millis(751), vec![1, 1, 1, 0]));
    assert_eq!(failed, [1, 1, 0, 0]);
    let (stored, took, calls, failed) = race(&[HANGS, HANGS, HANGS, answers(1)]).await;
    assert!(!stored);
    assert_eq!((took, calls), (millis(1_000), vec![1, 1, 1, 0]));
    assert_eq!(failed, [1, 1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_try_is_followed_at_once_while_a_slow_one_goes_on() {
    let (stored, took, calls, _) = race(&[answers(900), fails(10, FaultKind::Timeout), answers(20)]).await;
    assert!(stored);
    assert_eq!((took, calls), (millis(530), vec![1, 1, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_is_followed_by_another() {
    let (stored, took, calls, failed) = race(&[answers(800), fails(10, FaultKind::Denied), answers(1)]).await;
    assert!(stored);
    assert_eq!((took, calls), (millis(511), vec![1, 1, 1]));
    assert_eq!(failed, [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_try_after_a_failed_one_is_hedged_in_its_own_time() {
    let (stored, took, calls, _) = race(&[fails(200, FaultKind::Throttled), HANGS, answers(1)]).await;
    assert!(stored);
    assert_eq!((took, calls), (millis(200 + 400 + 1), vec![1, 1, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_member_alone_has_all_the_time() {
    let (stored, took, calls, _) = race(&[answers(900)]).await;
    assert!(stored);
    assert_eq!((took, calls), (millis(900), vec![1]));
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_slow_members_still_answer() {
    let (worker, _) = worker().await;
    let (one, other) = (Scripted::new(&worker, answers(600)), Scripted::new(&worker, answers(600)));
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![one.clone(), other.clone()]);
    use_up_budget(&dispatcher, &[one.clone(), other.clone()]).await;
    tokio::time::advance(Duration::from_secs(600)).await;
    let before = one.calls() + other.calls();
    let start = Instant::now();
    send(&dispatcher, 0).await.unwrap();
    assert_eq!(start.elapsed(), millis(600));
    assert_eq!(one.calls() + other.calls(), before + 1, "nobody else was bothered");
}

#[tokio::test(start_paused = true)]
async fn slow_and_failing_members_get_a_fifth_more_calls_at_most() {
    let (worker, _) = worker().await;
    let acts = [answers(600), fails(5, FaultKind::Unavailable), answers(700), answers(600)];
    let members: Vec<_> = acts.map(|act| Scripted::new(&worker, act)).into_iter().collect();
    let nodes = members.iter().map(|member| member.clone() as _).collect();
    let dispatcher = dispatcher(DispatcherConfig::default().with_max_in_flight(100), nodes);
    for n in 0..2_000 {
        let _ = send(&dispatcher, n).await;
    }
    let calls: usize = members.iter().map(|member| member.calls()).sum();
    assert!(calls <= 2_000 + 400 + 100, "{calls}");
    assert!(calls >= 2_000 + 400, "the budget is used: {calls}");
}

#[tokio::test(start_paused = true)]
async fn a_hung_member_is_ejected_and_costs_nothing_from_then_on() {
    let (worker, _) = worker().await;
    let hung = Scripted::new(&worker, HANGS);
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![hung.clone(), worker.clone(), worker]);
    let mut slow = 0;
    for n in 0..300 {
        let start = Instant::now();
        send(&dispatcher, n).await.unwrap();
        slow += usize::from(start.elapsed() >= millis(500));
        tokio::time::advance(millis(1)).await;
    }
    assert_eq!((slow, hung.calls()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_two_members_took_in_is_stored_once() {
    let (worker, events) = worker().await;
    let members =
        vec![super::support::faulty(&worker, [mini_platform_core::testkit::Fate::Hang]), worker.clone()];
    let dispatcher = dispatcher(DispatcherConfig::default(), members);
    let outcomes = send(&dispatcher, 0).await.unwrap();
    assert_eq!(outcomes.first().map(|finished| finished.outcome), Some(Outcome::Duplicate));
    assert!(events.get(&id("t0")).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_last_error_is_told() {
    let (worker, _) = worker().await;
    let one = Scripted::new(&worker, fails(600, FaultKind::Unavailable));
    let other = Scripted::new(&worker, fails(50, FaultKind::Throttled));
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![one, other]);
    let failed = send(&dispatcher, 0).await;
    assert!(matches!(failed, Err(DispatchError::Ingest(error)) if error.is_unreachable()));
}
