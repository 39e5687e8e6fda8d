//! A member that fails is covered by another.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::dispatcher::{DispatcherConfig, Rendezvous};
use mini_platform_core::domain::Outcome;
use mini_platform_core::error::{DispatchError, FaultKind, Retry};
use mini_platform_core::port::{EventStore, FetchQuery};
use mini_platform_core::testkit::{Fate, batch, client, id, transfer};
use tokio::time::Instant;

use super::support::{Act, Scripted, balanced, dispatcher, faulty, millis, send, worker};

/// How many retries are saved up, where that matters.
const SAVED: usize = 100;

#[tokio::test(start_paused = true)]
async fn a_failing_member_is_covered_by_another() {
    let (worker, events) = worker().await;
    let failing = faulty(&worker, vec![Fate::Fail(FaultKind::Unavailable); 100]);
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![failing, worker]);
    for n in 0..10 {
        let answer = dispatcher.ingest(&batch([transfer(&format!("t{n}"), "ann", "bob", n)])).await.unwrap();
        assert_eq!(
            answer.finished().unwrap().first().map(|finished| finished.outcome),
            Some(Outcome::Stored)
        );
        assert!(events.get(&id(&format!("t{n}"))).await.unwrap().is_some());
    }
    let view = dispatcher.view();
    let failed: u64 = view.members().iter().map(|member| member.failed()).sum();
    assert_eq!(failed, 5, "every second batch met the failing member first");
    assert!(view.members().iter().all(|member| member.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_broken_in_any_way_is_covered_by_another() {
    for kind in [FaultKind::Corrupt, FaultKind::Denied, FaultKind::Internal] {
        let (worker, events) = worker().await;
        let broken = faulty(&worker, [Fate::Fail(kind)]);
        let dispatcher = dispatcher(DispatcherConfig::default(), vec![broken, worker]);
        dispatcher.ingest(&batch([transfer("t", "ann", "bob", 1)])).await.unwrap();
        assert!(events.get(&id("t")).await.unwrap().is_some(), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_errors_the_caller_gets_one_that_may_pass() {
    let (worker, _) = worker().await;
    let kinds = [FaultKind::Denied, FaultKind::Unavailable, FaultKind::Corrupt];
    let members = kinds.map(|kind| faulty(&worker, [Fate::Fail(kind)]));
    let dispatcher = dispatcher(DispatcherConfig::default(), members.into());
    let failed = dispatcher.ingest(&batch([transfer("t", "ann", "bob", 1)])).await.unwrap_err();
    assert_eq!(failed.retry(), Retry::Backoff, "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_finds_the_one_that_is_left_of_many() {
    let (worker, _) = worker().await;
    let gone = (0..7).map(|_| faulty(&worker, [Fate::Fail(FaultKind::Unavailable)]));
    let members = gone.chain([worker.clone() as _]).collect();
    let dispatcher = dispatcher(DispatcherConfig::default(), members);
    dispatcher.ingest(&batch([transfer("t", "ann", "bob", 1)])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_member_that_joins_while_a_request_is_under_way_may_be_the_one_that_serves_it() {
    let (worker, _) = worker().await;
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![Scripted::new(&worker, Act::Hang)]);
    let joining = async {
        tokio::time::sleep(millis(100)).await;
        dispatcher.add_member("late".parse().unwrap(), worker.clone());
    };
    let (answer, ()) = tokio::join!(send(&dispatcher, 1), joining);
    answer.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_member_that_hangs_costs_the_timeout_and_no_more() {
    let (worker, _) = worker().await;
    let config = DispatcherConfig::default().with_timeout(Duration::from_millis(300));
    let dispatcher = dispatcher(config, vec![faulty(&worker, [Fate::Hang])]);
    let start = tokio::time::Instant::now();
    let failed = dispatcher.ingest(&batch([transfer("t", "ann", "bob", 1)])).await;
    assert!(matches!(failed, Err(DispatchError::Timeout(limit)) if limit == Duration::from_millis(300)));
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    let view = dispatcher.view();
    assert!(
        view.members().iter().all(|member| member.in_flight() == 0),
        "what is given up on is not in flight"
    );
}

#[tokio::test(start_paused = true)]
async fn without_members_nothing_is_accepted() {
    let dispatcher = dispatcher(DispatcherConfig::default(), Vec::new());
    let failed = dispatcher.ingest_one(transfer("t", "ann", "bob", 1)).await;
    assert!(
        matches!(&failed, Err(DispatchError::Batch(cause)) if matches!(**cause, DispatchError::NoWorkers))
    );
    let failed = dispatcher.fetch(&FetchQuery::ListInForce).await;
    assert!(matches!(failed, Err(DispatchError::NoWorkers)));
}

#[tokio::test(start_paused = true)]
async fn extra_calls_are_a_fifth_of_the_requests_at_most() {
    let (worker, _) = worker().await;
    let act = Act::Fail(millis(1), FaultKind::Unavailable);
    let members: Vec<_> = (0..3).map(|_| Scripted::new(&worker, act)).collect();
    let config = DispatcherConfig::default().with_max_in_flight(SAVED);
    let dispatcher = dispatcher(config, members.iter().map(|m| m.clone() as _).collect());
    for n in 0..2_000 {
        assert!(matches!(send(&dispatcher, n).await, Err(DispatchError::Ingest(_))));
    }
    let calls: usize = members.iter().map(|member| member.calls()).sum();
    let most = 2_000 + 400 + SAVED;
    assert!((most - 5..=most).contains(&calls), "one each, a fifth more, and what was saved up: {calls}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_answers_too_few_outcomes_is_ejected() {
    let (worker, _) = worker().await;
    let short = Scripted::new(&worker, Act::Shorten);
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![short.clone(), worker.clone(), worker]);
    let mut failed = 0;
    for n in 0..100 {
        failed += usize::from(send(&dispatcher, n).await.is_err());
    }
    assert_eq!((failed, short.calls()), (0, 5), "five in a row, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_denies_everybody_gets_nobody_ejected() {
    let (worker, _) = worker().await;
    let members: Vec<_> =
        (0..4).map(|_| Scripted::new(&worker, Act::Fail(millis(1), FaultKind::Denied))).collect();
    let dispatcher =
        dispatcher(DispatcherConfig::default(), members.iter().map(|m| m.clone() as _).collect());
    for n in 0..400 {
        assert!(matches!(send(&dispatcher, n).await, Err(DispatchError::Ingest(_))));
    }
    let before: Vec<usize> = members.iter().map(|member| member.calls()).collect();
    assert!(before.iter().all(|calls| *calls >= 100), "each has its turn: {before:?}");
    members.iter().for_each(|member| member.act(Act::Answer(Duration::ZERO)));
    for n in 0..40 {
        send(&dispatcher, n).await.unwrap();
    }
    let now_has = members.iter().map(|member| member.calls()).zip(before);
    assert!(now_has.into_iter().all(|(now, before)| now == before + 10), "as when all is well again");
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_do_not_get_a_member_ejected() {
    let (worker, _) = worker().await;
    let slow = Scripted::new(&worker, Act::Answer(millis(100)));
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![slow.clone(), worker]);
    for n in 0..40 {
        let _ = mini_platform_core::deadline::within(millis(10), send(&dispatcher, n)).await;
        let _ = tokio::time::timeout(millis(10), send(&dispatcher, n)).await;
    }
    let view = dispatcher.view();
    assert!(view.members().iter().all(|member| !member.is_ejected(Instant::now())));
    assert!(view.members().iter().all(|member| (member.failed(), member.in_flight()) == (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_no_longer_than_the_time_its_caller_has() {
    let (worker, _) = worker().await;
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![Scripted::new(&worker, Act::Hang)]);
    let start = Instant::now();
    let answer = mini_platform_core::deadline::within(millis(50), send(&dispatcher, 1)).await;
    assert!(
        answer.is_err() || matches!(answer, Ok(Err(DispatchError::Timeout(limit))) if limit == millis(50))
    );
    assert_eq!(start.elapsed(), millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_worker_knows_how_much_time_is_left() {
    struct Asked(std::sync::Mutex<Vec<Option<Duration>>>);
    #[async_trait::async_trait]
    impl mini_platform_core::port::WorkerNode for Asked {
        async fn ingest(
            &self,
            _: &mini_platform_core::domain::EventBatch,
        ) -> Result<Vec<mini_platform_core::domain::IngestOutcome>, mini_platform_core::error::IngestError>
        {
            self.0.lock().unwrap().push(mini_platform_core::deadline::remaining());
            std::future::pending().await
        }
        async fn fetch(
            &self,
            _: &FetchQuery,
        ) -> Result<mini_platform_core::port::FetchAnswer, mini_platform_core::error::FetchError> {
            std::future::pending().await
        }
    }
    let asked = Arc::new(Asked(std::sync::Mutex::default()));
    let dispatcher = dispatcher(DispatcherConfig::default(), vec![asked.clone(), asked.clone()]);
    assert!(send(&dispatcher, 1).await.is_err());
    assert_eq!(*asked.0.lock().unwrap(), [Some(millis(1_000)), Some(millis(500))]);
}

#[tokio::test(start_paused = true)]
async fn all_requests_about_a_client_go_to_its_worker() {
    let (worker, _) = worker().await;
    let members: Vec<_> = (0..5).map(|_| Scripted::new(&worker, Act::Answer(Duration::ZERO))).collect();
    let nodes = members.iter().map(|member| member.clone() as _).collect();
    let dispatcher = balanced(DispatcherConfig::default(), Rendezvous::default(), nodes);
    for n in 0..20 {
        let name = format!("client {n}");
        for m in 0..5 {
            dispatcher.fetch(&FetchQuery::Overview(client(&name))).await.unwrap();
            let event = transfer(&format!("t{n}-{m}"), &name, "bob", 1);
            dispatcher.ingest(&batch([event])).await.unwrap();
        }
    }
    let calls: Vec<usize> = members.iter().map(|member| member.calls()).collect();
    assert!(calls.iter().all(|calls| calls % 10 == 0), "each client keeps to one: {calls:?}");
    assert!(calls.iter().filter(|calls| **calls > 0).count() > 2, "and they are spread: {calls:?}");
}
