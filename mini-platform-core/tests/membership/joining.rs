//! Who may join, and what becomes of others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mini_platform_core::dispatcher::WorkerState;
use mini_platform_core::domain::{Epoch, JoinToken, NodeAddress, ProtocolVersion, WorkerId};
use mini_platform_core::error::{Fault, FaultKind};
use mini_platform_core::mock::{MockWorkerDialer, MockWorkerNode};
use mini_platform_core::port::{HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, Membership};
use mini_platform_core::testkit::membership::{join_request, worker_id};
use tokio::time::Instant;

use super::support::{DIAL_TIMEOUT, another_run, ask, config, join, refusal, stage, states, view, worker};

fn is_joined(answer: &JoinAnswer) -> bool {
    matches!(answer, JoinAnswer::Joined(_))
}

const FULL: fn(usize) -> JoinAnswer =
    |max_workers| JoinAnswer::Rejected(JoinRejection::ClusterFull { max_workers });

#[tokio::test(start_paused = true)]
async fn a_join_storm_fills_the_cluster_and_no_more() {
    let stage = stage(128);
    let workers: Vec<JoinRequest> = (0..200).map(worker).collect();
    for worker in &workers {
        stage.workers.listen_after(worker, Duration::from_millis(5));
    }
    let answers = join_all(workers.iter().map(|worker| stage.ask(worker))).await;
    assert_eq!(answers.iter().filter(|answer| is_joined(answer)).count(), 128);
    assert_eq!(answers.iter().filter(|answer| **answer == FULL(128)).count(), 72);
    assert_eq!(view(&stage).len(), 128);
    assert!(states(&stage).iter().all(|(_, state)| *state == WorkerState::Ready), "no place is kept");
    assert!(stage.workers.most_at_once() <= 32, "dials are bounded: {}", stage.workers.most_at_once());

    for (id, epoch) in view(&stage).into_iter().take(10) {
        stage.cluster.leave(&id, epoch).await.unwrap();
    }
    let refused = workers.iter().zip(&answers).filter(|(_, answer)| !is_joined(answer));
    let answers = join_all(refused.map(|(worker, _)| stage.ask(worker))).await;
    assert_eq!(answers.iter().filter(|answer| is_joined(answer)).count(), 10, "as many as have left");
    assert_eq!(view(&stage).len(), 128);
}

#[tokio::test(start_paused = true)]
async fn refusals_come_in_order_and_before_any_dial() {
    let stage = stage(1);
    join(&stage, &worker(1)).await;
    let dials = stage.workers.dials();
    let mut request = join_request("w001", worker(2).address.as_str(), 1);
    request.token = JoinToken::new("wrong");
    request.protocol = ProtocolVersion(2);
    assert_eq!(refusal(&stage, &request).await, JoinRejection::Token);
    request.token = worker(1).token;
    let supported = ProtocolVersion::CURRENT;
    assert_eq!(refusal(&stage, &request).await, JoinRejection::ProtocolVersion { supported });
    request.protocol = supported;
    assert_eq!(refusal(&stage, &request).await, JoinRejection::IdTaken);
    request.id = worker_id("w002");
    assert_eq!(refusal(&stage, &request).await, JoinRejection::ClusterFull { max_workers: 1 });
    stage.cluster.shut_down();
    request.token = JoinToken::new("wrong");
    assert_eq!(refusal(&stage, &request).await, JoinRejection::ShuttingDown);
    assert_eq!(stage.workers.dials(), dials);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_a_token_lets_everybody_in() {
    let open = config(8).with_token(JoinToken::default());
    let stage = mini_platform_core::testkit::membership::MembershipStage::new(open);
    join(&stage, &worker(1)).await;
    let mut without = worker(2);
    without.token = JoinToken::default();
    join(&stage, &without).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_answers_costs_its_place_for_the_dial_timeout() {
    let stage = stage(1);
    stage.workers.hang(&worker(1).address);
    let start = Instant::now();
    let silent = ask(&stage, &worker(1));
    stage.workers.dialled(1).await;
    assert_eq!(states(&stage), [("w001".to_owned(), WorkerState::Joining)]);
    assert!(view(&stage).is_empty(), "it gets no requests");
    stage.workers.listen(&worker(2));
    assert_eq!(stage.ask(&worker(2)).await, FULL(1), "its place is kept");
    let answer = silent.await.unwrap();
    let reason = "no answer within 2s".to_owned();
    assert_eq!(answer, JoinAnswer::Rejected(JoinRejection::NotDialable { reason }));
    assert_eq!(start.elapsed(), DIAL_TIMEOUT);
    assert!(states(&stage).is_empty());
    join(&stage, &worker(2)).await;
}

#[tokio::test(start_paused = true)]
async fn workers_that_never_answer_hold_others_up_for_their_turns_only() {
    let stage = stage(128);
    (0..96).for_each(|n| stage.workers.hang(&worker(n).address));
    let silent: Vec<_> = (0..96).map(|n| ask(&stage, &worker(n))).collect();
    while states(&stage).len() < 96 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    join(&stage, &worker(100)).await;
    assert_eq!(start.elapsed(), DIAL_TIMEOUT * 3, "96 dials in turns of 32");
    assert!(join_all(silent).await.into_iter().all(|answer| !is_joined(&answer.unwrap())));
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_dropped_gives_its_place_back() {
    let stage = stage(1);
    stage.workers.hang(&worker(1).address);
    let dropped = ask(&stage, &worker(1));
    stage.workers.dialled(1).await;
    dropped.abort();
    assert!(dropped.await.is_err());
    assert!(states(&stage).is_empty());
    join(&stage, &worker(2)).await;
}

#[tokio::test(start_paused = true)]
async fn joins_under_way_end_when_the_dispatcher_shuts_down() {
    let stage = stage(8);
    let lease = join(&stage, &worker(2)).await;
    stage.workers.hang(&worker(1).address);
    let joining = ask(&stage, &worker(1));
    stage.workers.dialled(2).await;
    let start = Instant::now();
    stage.cluster.shut_down();
    assert_eq!(joining.await.unwrap(), JoinAnswer::Rejected(JoinRejection::ShuttingDown));
    assert_eq!(start.elapsed(), Duration::ZERO);
    let renewed = stage.cluster.heartbeat(&worker(2).id, lease.epoch).await.unwrap();
    assert_eq!(renewed, HeartbeatAnswer::Renewed, "members stay");
}

#[tokio::test(start_paused = true)]
async fn an_id_at_two_addresses_at_once_is_one_member() {
    let stage = stage(8);
    let (one, two) = (worker(1), join_request("w001", worker(2).address.as_str(), 2));
    stage.workers.listen_after(&one, Duration::from_millis(20));
    stage.workers.listen_after(&two, Duration::from_millis(10));
    let (first, second) = (ask(&stage, &one), ask(&stage, &two));
    assert_eq!(first.await.unwrap(), JoinAnswer::Rejected(JoinRejection::IdTaken));
    assert!(is_joined(&second.await.unwrap()), "who answers first is the member");
    assert_eq!(stage.dispatcher.workers()[0].address, Some(two.address));
    assert_eq!(stage.dispatcher.workers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_joins_twice_at_once_takes_one_place_and_one_epoch() {
    let stage = stage(2);
    stage.workers.listen_after(&worker(1), Duration::from_millis(10));
    let twice = [ask(&stage, &worker(1)), ask(&stage, &worker(1))];
    stage.workers.dialled(2).await;
    assert_eq!(states(&stage), [("w001".to_owned(), WorkerState::Joining)]);
    join(&stage, &worker(2)).await;
    let answers: Vec<_> = join_all(twice).await.into_iter().map(|answer| answer.unwrap()).collect();
    assert!(is_joined(&answers[0]));
    assert_eq!(answers[0], answers[1], "the second renews what the first was given");
    assert_eq!(view(&stage).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_not_counted_twice_while_its_worker_joins_twice() {
    let stage = stage(2);
    stage.workers.listen_after(&worker(1), Duration::from_millis(500));
    let slow = ask(&stage, &worker(1));
    stage.workers.dialled(1).await;
    join(&stage, &worker(1)).await;
    join(&stage, &worker(2)).await;
    assert!(is_joined(&slow.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn joins_under_way_are_bounded_even_of_one_worker() {
    let stage = stage(3);
    stage.workers.hang(&worker(1).address);
    let asked: Vec<_> = (0..7).map(|_| ask(&stage, &worker(1))).collect();
    let answers: Vec<_> = join_all(asked).await.into_iter().map(|answer| answer.unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == FULL(3)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_run_is_a_new_member_and_the_old_one_cannot_speak_for_it() {
    let stage = stage(1);
    let old = join(&stage, &worker(1)).await;
    let old_member = Arc::clone(&stage.dispatcher.view().members()[0]);
    let new = join(&stage, &another_run(&worker(1))).await;
    assert!(new.epoch > old.epoch);
    assert_eq!(view(&stage), [(worker(1).id, new.epoch)]);
    assert!(old_member.is_draining(), "who still looks at an old view does not pick it");
    let id = worker(1).id;
    assert_eq!(stage.cluster.heartbeat(&id, old.epoch).await.unwrap(), HeartbeatAnswer::Unknown);
    stage.cluster.leave(&id, old.epoch).await.unwrap();
    assert_eq!(view(&stage), [(id, new.epoch)]);
    assert!(!stage.dispatcher.view().members()[0].is_draining());
}

#[tokio::test(start_paused = true)]
async fn a_new_run_that_cannot_be_reached_leaves_the_member_alone() {
    let stage = stage(1);
    let lease = join(&stage, &worker(1)).await;
    let refused = refusal(&stage, &another_run(&worker(1))).await;
    let reason = "another run of the worker answers there".to_owned();
    assert_eq!(refused, JoinRejection::NotDialable { reason });
    assert_eq!(view(&stage), [(worker(1).id, lease.epoch)]);
}

#[tokio::test(start_paused = true)]
async fn joining_again_dials_nobody_and_forgets_nothing() {
    let stage = stage(1);
    let lease = join(&stage, &worker(1)).await;
    let member = Arc::clone(&stage.dispatcher.view().members()[0]);
    assert_eq!(stage.ask(&worker(1)).await, JoinAnswer::Joined(lease));
    assert!(Arc::ptr_eq(&member, &stage.dispatcher.view().members()[0]), "its record is kept");
    assert_eq!(stage.workers.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_at_an_address_is_the_member_there() {
    let stage = stage(1);
    join(&stage, &worker(1)).await;
    let renamed = join_request("renamed", worker(1).address.as_str(), 2);
    let lease = join(&stage, &renamed).await;
    assert_eq!(view(&stage), [(renamed.id, lease.epoch)]);
}

#[tokio::test(start_paused = true)]
async fn an_id_of_this_process_is_taken() {
    let stage = stage(8);
    stage.dispatcher.add_member(WorkerId::LOCAL, Arc::new(MockWorkerNode::new()));
    let request = join_request("local", worker(1).address.as_str(), 1);
    stage.workers.listen(&request);
    assert_eq!(refusal(&stage, &request).await, JoinRejection::IdTaken);
    assert_eq!(stage.dispatcher.workers()[0].epoch, None);
}

#[tokio::test(start_paused = true)]
async fn epochs_start_where_they_are_told_and_go_upwards() {
    let stage = stage(8);
    let second = stage.dispatcher.membership(config(8), Arc::clone(&stage.workers) as _, Epoch(5_000));
    let first_epoch = join(&stage, &worker(1)).await.epoch;
    assert_eq!(first_epoch, Epoch(5_000), "the highest start counts");
    stage.workers.listen(&worker(2));
    let JoinAnswer::Joined(next) = second.join(&worker(2)).await.unwrap() else { panic!("it may join") };
    assert_eq!(next.epoch, Epoch(5_001));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_be_dialled_hears_why_without_addresses() {
    let kinds = [
        FaultKind::Unavailable,
        FaultKind::Timeout,
        FaultKind::Throttled,
        FaultKind::Denied,
        FaultKind::Corrupt,
        FaultKind::Internal,
    ];
    let mut reasons = std::collections::BTreeSet::new();
    for kind in kinds {
        let mut dialer = MockWorkerDialer::new();
        dialer.expect_dial().returning(move |address: &NodeAddress| {
            Err(Fault::new("worker", "be dialled", kind).with_source(address.to_string()))
        });
        let stage = stage(8);
        let cluster = stage.dispatcher.membership(config(8), Arc::new(dialer), Epoch(1));
        let answer = cluster.join(&worker(1)).await.unwrap();
        let JoinAnswer::Rejected(rejection) = answer else { panic!("nobody was dialled") };
        assert_eq!(rejection.as_str(), "not_dialable");
        assert!(!rejection.to_string().contains("10.0.0"), "{rejection}");
        reasons.insert(rejection.to_string());
    }
    assert_eq!(reasons.len(), kinds.len(), "each kind of failure has its own reason");
}
