//! How workers come to belong to the cluster, and cease to.
//!
//! A worker joins, is dialled back, and is a member by a lease that its heartbeats renew. What is known of members is
//! on the `roll`, which changes together with the view that requests are balanced over.

mod config;
mod info;
mod roll;
mod telling;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use config::ClusterConfig;
pub use info::WorkerInfo;
pub(super) use roll::{EndedLease, Roll};

use super::cluster::Cluster;
use crate::deadline;
use crate::domain::{Epoch, ProtocolVersion, WorkerId};
use crate::error::{Fault, FaultKind};
use crate::port::{
    HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, Membership, WorkerDialer, WorkerNode,
};
use roll::{Admitted, Begun, Ticket};
use telling::Telling;

/// How many workers are dialled at once; others wait for their turn.
///
/// Enough to have the default of 128 workers back in four round trips, and few beside what a process may have of
/// sockets.
const MAX_DIALS: usize = 32;

/// Lets workers join a [`Dispatcher`](super::Dispatcher)'s cluster. A clone shares the same state.
///
/// While [`ClusterMembership::run`] is at work, leases end by themselves; without it they end when the cluster is
/// next asked.
#[derive(Clone)]
pub struct ClusterMembership {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Arc<Cluster>,
    config: ClusterConfig,
    dialer: Arc<dyn WorkerDialer>,
    dials: Semaphore,
    closing: CancellationToken,
    telling: Telling,
}

impl fmt::Debug for ClusterMembership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterMembership").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl ClusterMembership {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        config: ClusterConfig,
        dialer: Arc<dyn WorkerDialer>,
        first_epoch: Epoch,
    ) -> Self {
        cluster.change(|roll| roll.start_at(first_epoch));
        let (dials, closing) = (Semaphore::new(MAX_DIALS), CancellationToken::new());
        let shared = Shared { cluster, config, dialer, dials, closing, telling: Telling::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Ends leases that ran out, until told to stop.
    ///
    /// When this process stood still for longer than a heartbeat, as a paused machine does, all members get a whole
    /// lease more: their heartbeats are about to come. Cancelling it is the same as stopping it.
    pub async fn run(&self, stop: CancellationToken) {
        let Shared { cluster, config, .. } = &*self.shared;
        let sweeping = Sweeping(cluster);
        let tolerance = config.heartbeat_interval();
        loop {
            telling::count_workers(&cluster.workers());
            let due = cluster.change(|roll| roll.plan_sweep(Instant::now(), tolerance / 2, tolerance));
            if stop.run_until_cancelled(tokio::time::sleep_until(due)).await.is_none() {
                break;
            }
            cluster.change(|roll| roll.settle(Instant::now()));
        }
        drop(sweeping);
    }

    /// Refuses every join from now on with `ShuttingDown`, also those that are under way. Members stay.
    pub fn shut_down(&self) {
        self.shared.closing.cancel();
    }
}

/// Ends the announcement of sweeps, whatever way they end.
struct Sweeping<'a>(&'a Arc<Cluster>);

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        self.0.change(Roll::stop_sweeping);
        telling::count_workers(&[]);
    }
}

#[async_trait]
impl Membership for ClusterMembership {
    async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, Fault> {
        let closing = &self.shared.closing;
        let answer = match closing.run_until_cancelled(self.shared.admit(request)).await {
            Some(answer) => answer,
            None => Err(JoinRejection::ShuttingDown),
        };
        self.shared.telling.tell(request, &answer);
        Ok(match answer {
            Ok(Admitted::Joined(lease) | Admitted::Renewed(lease)) => JoinAnswer::Joined(lease),
            Err(rejection) => JoinAnswer::Rejected(rejection),
        })
    }

    async fn heartbeat(&self, id: &WorkerId, epoch: Epoch) -> Result<HeartbeatAnswer, Fault> {
        Ok(self.shared.cluster.change(|roll| roll.renew(id, epoch, Instant::now())))
    }

    async fn leave(&self, id: &WorkerId, epoch: Epoch) -> Result<(), Fault> {
        if self.shared.cluster.change(|roll| roll.leave(id, epoch, Instant::now())) {
            tracing::info!(worker.id = id.as_str(), worker.epoch = epoch.0, "a worker left");
        }
        Ok(())
    }
}

impl Shared {
    async fn admit(&self, request: &JoinRequest) -> Result<Admitted, JoinRejection> {
        if !self.config.lets_in(&request.token) {
            return Err(JoinRejection::Token);
        }
        if request.protocol != ProtocolVersion::CURRENT {
            return Err(JoinRejection::ProtocolVersion { supported: ProtocolVersion::CURRENT });
        }
        let begun = self.cluster.change(|roll| roll.begin(request, &self.config, Instant::now()))?;
        let ticket = match begun {
            Begun::Renewed(lease) => return Ok(Admitted::Renewed(lease)),
            Begun::Dial(ticket) => ticket,
        };
        let _place = Place { cluster: &self.cluster, ticket };
        let node = self.dial(request).await?;
        self.cluster.change(|roll| roll.admit(ticket, request, node, &self.config, Instant::now()))
    }

    /// Dials a worker back, and checks that it is the one that asks.
    async fn dial(&self, request: &JoinRequest) -> Result<Arc<dyn WorkerNode>, JoinRejection> {
        let Ok(_turn) = self.dials.acquire().await else { return Err(JoinRejection::ShuttingDown) };
        let limit = self.config.dial_timeout;
        let dialled = match deadline::within(limit, self.dialer.dial(&request.address)).await {
            Ok(Ok(dialled)) => dialled,
            Ok(Err(fault)) => return Err(not_dialable(why(fault.kind()))),
            Err(_) => return Err(not_dialable(format!("no answer within {limit:?}"))),
        };
        if dialled.id != request.id {
            return Err(not_dialable("another worker answers there"));
        }
        if dialled.incarnation != request.incarnation {
            return Err(not_dialable("another run of the worker answers there"));
        }
        Ok(dialled.node)
    }
}

fn not_dialable(reason: impl Into<String>) -> JoinRejection {
    JoinRejection::NotDialable { reason: reason.into() }
}

fn why(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Unavailable => "nobody answers there",
        FaultKind::Timeout => "no answer in time",
        FaultKind::Throttled => "who answers there is overloaded",
        FaultKind::Denied => "who answers there refuses the dispatcher",
        FaultKind::Corrupt => "who answers there is no worker",
        FaultKind::Internal => "the dispatcher failed to dial",
    }
}

/// The place of a worker that is joining; dropping it gives the place back.
struct Place<'a> {
    cluster: &'a Arc<Cluster>,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.cluster.change(|roll| roll.forget(self.ticket));
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, sleep};

    use super::*;
    use crate::dispatcher::{Member, WorkerState};
    use crate::telemetry::probe::Metrics;
    use crate::telemetry::{DISPATCHER_JOINS, DISPATCHER_WORKERS};
    use crate::testkit::membership::{LEASE, MembershipStage, join_request};

    const ADDRESS: &str = "http://10.0.0.1:9082";

    #[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
    fn first_member(stage: &MembershipStage) -> Arc<Member> {
        Arc::clone(&stage.dispatcher.view().members()[0])
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_is_heard_of_is_in_contact_again() {
        let stage = MembershipStage::default();
        let lease = stage.joined("w1", ADDRESS, 1).await;
        let member = first_member(&stage);
        let is_ejected = || member.state(Instant::now()) == WorkerState::Ejected;
        member.lose_contact();
        assert!(is_ejected());
        stage.heartbeat("w1", lease.epoch).await;
        assert!(!is_ejected(), "a heartbeat came");
        member.lose_contact();
        stage.heartbeat("w1", Epoch(lease.epoch.0 + 1)).await;
        assert!(is_ejected(), "a heartbeat of another membership says nothing");
        stage.joined("w1", ADDRESS, 1).await;
        assert!(!is_ejected(), "it joined again");
    }

    #[tokio::test(start_paused = true)]
    async fn joins_are_counted_by_what_came_of_them() {
        let metrics = Metrics::default();
        let _recording = metrics::set_default_local_recorder(&metrics);
        let stage = MembershipStage::default();
        stage.joined("w1", ADDRESS, 1).await;
        stage.joined("w1", ADDRESS, 1).await;
        stage.ask(&join_request("w2", "http://10.0.0.2:9082", 1)).await;
        for result in ["joined", "renewed", "not_dialable"] {
            assert_eq!(metrics.labelled(DISPATCHER_JOINS, "result", result), 1.0, "{result}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn workers_are_counted_while_somebody_sweeps() {
        let metrics = Metrics::default();
        let _recording = metrics::set_default_local_recorder(&metrics);
        let workers = |state| metrics.labelled(DISPATCHER_WORKERS, "state", state);
        let (stage, stop) = (MembershipStage::default(), CancellationToken::new());
        stage.joined("w1", ADDRESS, 1).await;
        let (cluster, told) = (stage.cluster.clone(), stop.clone());
        let sweeping = tokio::spawn(async move { cluster.run(told).await });
        sleep(Duration::from_millis(1)).await;
        assert_eq!((workers("ready"), workers("joining")), (1.0, 0.0));
        sleep(LEASE).await;
        assert_eq!(workers("ready"), 0.0, "its lease ended");
        stage.joined("w1", ADDRESS, 1).await;
        sleep(LEASE / 2).await;
        assert_eq!(workers("ready"), 1.0);
        stop.cancel();
        sweeping.await.unwrap();
        assert_eq!(workers("ready"), 0.0, "nobody counts any more");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_one_reason_are_warned_of_once_a_minute() {
        let (telling, full) = (Telling::default(), JoinRejection::ClusterFull { max_workers: 1 });
        assert!(telling.is_worth_a_warning(&full));
        assert!(!telling.is_worth_a_warning(&full));
        assert!(telling.is_worth_a_warning(&JoinRejection::Token), "another reason");
        advance(Duration::from_secs(60)).await;
        assert!(telling.is_worth_a_warning(&full));
    }

    #[test]
    fn times_are_held_to_what_can_work() {
        for lease in [Duration::ZERO, Duration::MAX] {
            let config = ClusterConfig::default().with_lease(lease);
            assert!(config.heartbeat_interval() >= Duration::from_millis(10));
            assert!(config.ttl() <= Duration::from_secs(3600));
        }
    }
}
