//! How memberships last and end.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::dispatcher::WorkerState;
use mini_platform_core::domain::Epoch;
use mini_platform_core::port::{FetchQuery, HeartbeatAnswer, JoinRequest, Membership};
use mini_platform_core::testkit::membership::MembershipStage;
use tokio::task::yield_now;
use tokio::time::{advance, sleep};

use super::support::{LEASE, ask, interval, join, stage, states, sweep, view, worker};

const HOUR: Duration = Duration::from_secs(3600);
const A_MOMENT: Duration = Duration::from_millis(1);

async fn heartbeat(stage: &MembershipStage, worker: &JoinRequest, epoch: Epoch) -> HeartbeatAnswer {
    stage.cluster.heartbeat(&worker.id, epoch).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_lasts_from_its_last_heartbeat_and_not_longer() {
    let stage = stage(8);
    let epoch = join(&stage, &worker(1)).await.epoch;
    advance(LEASE - A_MOMENT).await;
    assert_eq!(heartbeat(&stage, &worker(1), epoch).await, HeartbeatAnswer::Renewed);
    advance(LEASE - A_MOMENT).await;
    assert_eq!(heartbeat(&stage, &worker(1), epoch).await, HeartbeatAnswer::Renewed);
    advance(LEASE).await;
    assert_eq!(heartbeat(&stage, &worker(1), epoch).await, HeartbeatAnswer::Unknown);
    assert!(view(&stage).is_empty(), "also before anybody has swept");
    assert_eq!(heartbeat(&stage, &worker(1), epoch).await, HeartbeatAnswer::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_goes_when_its_lease_ends() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    join(&stage, &worker(1)).await;
    let member = Arc::clone(&stage.dispatcher.view().members()[0]);
    sleep(LEASE - A_MOMENT).await;
    assert_eq!(view(&stage).len(), 1);
    sleep(A_MOMENT * 2).await;
    assert!(view(&stage).is_empty());
    assert!(member.is_draining(), "who still looks at an old view does not pick it");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_just_before_the_sweep_saves_the_member_and_just_after_does_not() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    let (in_time, late) = (join(&stage, &worker(1)).await.epoch, join(&stage, &worker(2)).await.epoch);
    sleep(LEASE - A_MOMENT).await;
    assert_eq!(heartbeat(&stage, &worker(1), in_time).await, HeartbeatAnswer::Renewed);
    sleep(A_MOMENT).await;
    assert_eq!(heartbeat(&stage, &worker(2), late).await, HeartbeatAnswer::Unknown);
    assert_eq!(view(&stage), [(worker(1).id, in_time)]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_gives_everybody_a_whole_lease() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    let epochs = [join(&stage, &worker(1)).await.epoch, join(&stage, &worker(2)).await.epoch];
    sleep(LEASE / 2).await;
    advance(HOUR).await;
    yield_now().await;
    assert_eq!(view(&stage).len(), 2, "their heartbeats are about to come");
    sleep(LEASE - A_MOMENT * 10).await;
    assert_eq!(heartbeat(&stage, &worker(1), epochs[0]).await, HeartbeatAnswer::Renewed);
    sleep(A_MOMENT * 20).await;
    assert_eq!(view(&stage), [(worker(1).id, epochs[0])], "who stays silent goes");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_comes_before_the_first_sweep_after_a_stand_still_counts() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    let (one, two) = (join(&stage, &worker(1)).await.epoch, join(&stage, &worker(2)).await.epoch);
    yield_now().await;
    let beating = {
        let cluster = stage.cluster.clone();
        async move { cluster.heartbeat(&worker(1).id, one).await.unwrap() }
    };
    let (answer, ()) =
        tokio::join!(biased; async { advance_without_yielding(HOUR); beating.await }, yield_now());
    assert_eq!(answer, HeartbeatAnswer::Renewed);
    assert_eq!(heartbeat(&stage, &worker(2), two).await, HeartbeatAnswer::Renewed);
}

/// Moves time on before any other task runs.
fn advance_without_yielding(by: Duration) {
    let mut moving = std::pin::pin!(advance(by));
    let waker = std::task::Waker::noop();
    let _ = moving.as_mut().poll(&mut std::task::Context::from_waker(waker));
}

#[tokio::test(start_paused = true)]
async fn a_pause_shorter_than_a_heartbeat_is_no_excuse() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    join(&stage, &worker(1)).await;
    sleep(LEASE - interval() / 2).await;
    advance(interval()).await;
    yield_now().await;
    assert!(view(&stage).is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_sweeps_a_late_look_is_no_stand_still() {
    for told in [true, false] {
        let stage = stage(8);
        let (sweeping, stop) = sweep(&stage);
        let epoch = join(&stage, &worker(1)).await.epoch;
        yield_now().await;
        if told {
            stop.cancel();
        } else {
            sweeping.abort();
        }
        let _ = sweeping.await;
        advance(HOUR).await;
        assert_eq!(heartbeat(&stage, &worker(1), epoch).await, HeartbeatAnswer::Unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_takes_no_picks_finishes_what_it_holds_and_goes() {
    let stage = stage(8);
    let (_sweeping, _stop) = sweep(&stage);
    let leaving = stage.workers.listen(&worker(1));
    let _joined = ask(&stage, &worker(1)).await.unwrap();
    let held = leaving.hold();
    let dispatcher = stage.dispatcher.clone();
    let answer = tokio::spawn(async move { dispatcher.fetch(&FetchQuery::ListInForce).await });
    while leaving.fetches() == 0 {
        yield_now().await;
    }
    join(&stage, &worker(2)).await;
    let epoch = view(&stage)[0].1;
    stage.cluster.leave(&worker(1).id, epoch).await.unwrap();
    stage.cluster.leave(&worker(1).id, epoch).await.unwrap();
    assert_eq!(heartbeat(&stage, &worker(1), epoch).await, HeartbeatAnswer::Unknown, "it has left");
    for _ in 0..10 {
        assert!(stage.dispatcher.fetch(&FetchQuery::ListInForce).await.is_ok());
    }
    assert_eq!(leaving.fetches(), 1);
    let (one, two) = ("w001".to_owned(), "w002".to_owned());
    assert_eq!(
        states(&stage),
        [(one, WorkerState::Draining), (two.clone(), WorkerState::Ready)],
        "it is seen while it holds requests"
    );
    drop(held);
    assert!(answer.await.unwrap().is_ok());
    sleep(interval()).await;
    assert_eq!(view(&stage).len(), 1, "a sweep removes it");
    assert_eq!(states(&stage), [(two, WorkerState::Ready)]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_left_and_never_finishes_goes_with_its_lease() {
    let stage = stage(8);
    let leaving = stage.workers.listen(&worker(1));
    let _joined = ask(&stage, &worker(1)).await.unwrap();
    let _held = leaving.hold();
    let holding = tokio::spawn({
        let member = Arc::clone(&stage.dispatcher.view().members()[0]);
        let dispatcher = stage.dispatcher.clone();
        async move {
            let _ = dispatcher.fetch(&FetchQuery::ListInForce).await;
            drop(member);
        }
    });
    while leaving.fetches() == 0 {
        yield_now().await;
    }
    stage.cluster.leave(&worker(1).id, view(&stage)[0].1).await.unwrap();
    assert_eq!(view(&stage).len(), 1);
    // At once, so that the request's own timeout has no chance to end it before.
    advance_without_yielding(LEASE);
    assert!(states(&stage).is_empty());
    holding.abort();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_left_may_come_back_as_a_new_member() {
    let stage = stage(1);
    let leaving = stage.workers.listen(&worker(1));
    let _joined = ask(&stage, &worker(1)).await.unwrap();
    let epoch = view(&stage)[0].1;
    let held = leaving.hold();
    let dispatcher = stage.dispatcher.clone();
    let answer = tokio::spawn(async move { dispatcher.fetch(&FetchQuery::ListInForce).await });
    while leaving.fetches() == 0 {
        yield_now().await;
    }
    stage.cluster.leave(&worker(1).id, epoch).await.unwrap();
    let again = join(&stage, &worker(1)).await;
    assert!(again.epoch > epoch);
    assert_eq!(states(&stage), [("w001".to_owned(), WorkerState::Ready)]);
    drop(held);
    assert!(answer.await.unwrap().is_ok(), "what the old member held is finished");
}

#[tokio::test(start_paused = true)]
async fn a_member_removed_by_hand_is_no_member_by_lease_either() {
    let stage = stage(8);
    let epoch = join(&stage, &worker(1)).await.epoch;
    stage.dispatcher.remove_member(&worker(1).id);
    assert_eq!(heartbeat(&stage, &worker(1), epoch).await, HeartbeatAnswer::Unknown);
    assert!(join(&stage, &worker(1)).await.epoch > epoch);
}
