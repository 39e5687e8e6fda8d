//! A worker elsewhere that cannot be reached gets no requests until it is heard of.

use std::sync::Arc;

use async_trait::async_trait;
use mini_platform_core::dispatcher::{
    ClusterConfig, ClusterMembership, Dispatcher, DispatcherConfig, RoundRobin,
};
use mini_platform_core::domain::{Epoch, Incarnation, JoinToken, NodeAddress, ProtocolVersion, WorkerId};
use mini_platform_core::error::{Fault, FaultKind};
use mini_platform_core::port::{Dialled, JoinAnswer, JoinRequest, Membership, WorkerDialer};
use tokio::time::Instant;

use super::support::{Act, Scripted, millis, send, worker};

const GONE: Act = Act::Fail(millis(1), FaultKind::Unavailable);
const WELL: Act = Act::Answer(millis(5));

/// Finds the n-th worker at port 9000 + n.
struct Dialer(Vec<Arc<Scripted>>);

#[async_trait]
impl WorkerDialer for Dialer {
    async fn dial(&self, address: &NodeAddress) -> Result<Dialled, Fault> {
        let number = address.as_str().chars().last().and_then(|digit| digit.to_digit(10)).unwrap();
        let node = self.0.get(number as usize).cloned().unwrap();
        Ok(Dialled { id: id(number), incarnation: Incarnation(1), node })
    }
}

fn id(number: u32) -> WorkerId {
    WorkerId::new(format!("w{number}")).unwrap()
}

struct Cluster {
    workers: Vec<Arc<Scripted>>,
    dispatcher: Dispatcher,
    membership: ClusterMembership,
    epochs: Vec<Epoch>,
}

/// Three workers that have joined.
async fn cluster() -> Cluster {
    let (inner, _) = worker().await;
    let workers: Vec<_> = (0..3).map(|_| Scripted::new(&inner, WELL)).collect();
    let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(RoundRobin::default()));
    let dialer = Arc::new(Dialer(workers.clone()));
    let membership = dispatcher.membership(ClusterConfig::default(), dialer, Epoch(1));
    let mut epochs = Vec::new();
    for number in 0..3 {
        let request = JoinRequest {
            id: id(number),
            address: NodeAddress::new(format!("http://127.0.0.1:900{number}")).unwrap(),
            incarnation: Incarnation(1),
            protocol: ProtocolVersion::CURRENT,
            token: JoinToken::default(),
        };
        match membership.join(&request).await.unwrap() {
            JoinAnswer::Joined(lease) => epochs.push(lease.epoch),
            JoinAnswer::Rejected(reason) => unreachable!("{reason}"),
        }
    }
    Cluster { workers, dispatcher, membership, epochs }
}

impl Cluster {
    /// Sends requests at an even pace, several under way at once, and returns how many failed.
    async fn load(&self, requests: usize) -> usize {
        let mut sent = Vec::new();
        for n in 0..requests {
            let dispatcher = self.dispatcher.clone();
            sent.push(tokio::spawn(async move { send(&dispatcher, n).await }));
            tokio::time::sleep(millis(1)).await;
        }
        let answers = futures_util::future::join_all(sent).await;
        answers.into_iter().filter(|answer| answer.as_ref().is_ok_and(Result::is_err)).count()
    }

    fn calls(&self, number: usize) -> usize {
        self.workers.get(number).map(|worker| worker.calls()).unwrap()
    }

    fn act(&self, number: usize, act: Act) {
        self.workers.get(number).unwrap().act(act);
    }

    async fn heartbeat(&self, number: u32) {
        let epoch = self.epochs.get(number as usize).copied().unwrap();
        self.membership.heartbeat(&id(number), epoch).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_under_load_gets_nothing_more_and_nobody_notices() {
    let cluster = cluster().await;
    assert_eq!(cluster.load(300).await, 0);
    cluster.act(1, GONE);
    let before = cluster.calls(1);
    assert_eq!(cluster.load(600).await, 0, "no request fails that another worker could serve");
    let after = cluster.calls(1) - before;
    assert_eq!(after, 1, "one connection failure is enough");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_heard_of_gets_requests_again() {
    let cluster = cluster().await;
    cluster.act(1, GONE);
    cluster.load(30).await;
    cluster.act(1, WELL);
    let before = cluster.calls(1);
    cluster.load(30).await;
    assert_eq!(cluster.calls(1), before);
    cluster.heartbeat(0).await;
    cluster.load(30).await;
    assert_eq!(cluster.calls(1), before, "another worker's heartbeat says nothing of it");
    cluster.heartbeat(1).await;
    cluster.load(30).await;
    assert_eq!(cluster.calls(1), before + 10);
}

#[tokio::test(start_paused = true)]
async fn when_no_worker_can_be_reached_all_are_tried() {
    let cluster = cluster().await;
    (0..3).for_each(|number| cluster.act(number, GONE));
    assert_eq!(cluster.load(10).await, 10);
    let view = cluster.dispatcher.view();
    assert!(view.members().iter().all(|member| member.is_ejected(Instant::now())));
    (0..3).for_each(|number| cluster.act(number, WELL));
    assert_eq!(cluster.load(30).await, 0, "they may be there again before they are heard of");
    let view = cluster.dispatcher.view();
    assert!(view.members().iter().all(|member| !member.is_ejected(Instant::now())), "who answers is there");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_heard_of_but_can_never_be_reached_stands_out() {
    let cluster = cluster().await;
    cluster.act(1, GONE);
    for _ in 0..5 {
        cluster.heartbeat(1).await;
        assert_eq!(cluster.load(3).await, 0);
    }
    let before = cluster.calls(1);
    cluster.heartbeat(1).await;
    cluster.load(30).await;
    assert_eq!((before, cluster.calls(1)), (5, 5), "its heartbeats do not bring it back for now");
}

#[tokio::test(start_paused = true)]
async fn all_that_a_worker_holds_when_it_dies_is_served_by_another() {
    let cluster = cluster().await;
    cluster.act(0, Act::Fail(millis(50), FaultKind::Unavailable));
    cluster.act(1, Act::Answer(millis(200)));
    let requests = (0..900).map(|n| send(&cluster.dispatcher, n));
    let answers = futures_util::future::join_all(requests).await;
    assert!(cluster.calls(0) >= 300, "a third of all: {}", cluster.calls(0));
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_is_no_lost_contact() {
    let cluster = cluster().await;
    cluster.act(1, Act::Fail(millis(1), FaultKind::Throttled));
    let before = cluster.calls(1);
    assert_eq!(cluster.load(12).await, 0);
    assert_eq!(cluster.calls(1) - before, 4, "it has its turn");
}
