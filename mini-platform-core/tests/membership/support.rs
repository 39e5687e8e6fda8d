//! A cluster in paused time.

use std::time::Duration;

use mini_platform_core::dispatcher::{ClusterConfig, WorkerState};
use mini_platform_core::domain::{Epoch, JoinToken, WorkerId};
use mini_platform_core::port::{JoinAnswer, JoinRejection, JoinRequest, Membership, MembershipLease};
use mini_platform_core::testkit::membership::{MembershipStage, TOKEN, join_request};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const LEASE: Duration = Duration::from_secs(5);
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn config(max_workers: usize) -> ClusterConfig {
    ClusterConfig::default()
        .with_max_workers(max_workers)
        .with_lease(LEASE)
        .with_dial_timeout(DIAL_TIMEOUT)
        .with_token(JoinToken::new(TOKEN))
}

pub(crate) fn interval() -> Duration {
    config(1).heartbeat_interval()
}

pub(crate) fn stage(max_workers: usize) -> MembershipStage {
    MembershipStage::new(config(max_workers))
}

/// The n-th worker, at its own address.
pub(crate) fn worker(n: usize) -> JoinRequest {
    join_request(&format!("w{n:03}"), &format!("http://10.0.0.{}:{}", n % 250, 9000 + n), 1)
}

pub(crate) fn another_run(worker: &JoinRequest) -> JoinRequest {
    join_request(worker.id.as_str(), worker.address.as_str(), worker.incarnation.0 + 1)
}

/// Asks to join in a task of its own.
pub(crate) fn ask(stage: &MembershipStage, request: &JoinRequest) -> JoinHandle<JoinAnswer> {
    let (cluster, request) = (stage.cluster.clone(), request.clone());
    tokio::spawn(async move { cluster.join(&request).await.unwrap() })
}

/// Has a worker listen and join.
pub(crate) async fn join(stage: &MembershipStage, request: &JoinRequest) -> MembershipLease {
    stage.workers.listen(request);
    match stage.ask(request).await {
        JoinAnswer::Joined(lease) => lease,
        JoinAnswer::Rejected(rejection) => panic!("{} may not join: {rejection}", request.id),
    }
}

pub(crate) async fn refusal(stage: &MembershipStage, request: &JoinRequest) -> JoinRejection {
    match stage.ask(request).await {
        JoinAnswer::Joined(lease) => panic!("{} joined: {lease:?}", request.id),
        JoinAnswer::Rejected(rejection) => rejection,
    }
}

/// Ends leases in a task of its own.
pub(crate) fn sweep(stage: &MembershipStage) -> (JoinHandle<()>, CancellationToken) {
    let (cluster, stop) = (stage.cluster.clone(), CancellationToken::new());
    let told = stop.clone();
    (tokio::spawn(async move { cluster.run(told).await }), stop)
}

/// The members that requests are balanced over.
pub(crate) fn view(stage: &MembershipStage) -> Vec<(WorkerId, Epoch)> {
    let view = stage.dispatcher.view();
    view.members().iter().map(|member| (member.id().clone(), member.epoch().unwrap())).collect()
}

pub(crate) fn states(stage: &MembershipStage) -> Vec<(String, WorkerState)> {
    let workers = stage.dispatcher.workers().into_iter();
    workers.map(|worker| (worker.id.to_string(), worker.state)).collect()
}
