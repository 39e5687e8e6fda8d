//! How a worker stays a member of a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::deadline;
use crate::domain::Epoch;
use crate::error::{Causes, Fault, Retry};
use crate::port::{HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, Membership, MembershipLease};
use crate::retry::{Backoff, RetryPolicy};

/// The longest first pause after a failure.
const BASE: Duration = Duration::from_millis(50);

/// The longest pause after a failure: a dispatcher that is back must not wait long for its workers.
const CAP: Duration = Duration::from_secs(1);

/// How long a join may take: a dispatcher that many workers join at once dials them in turns.
const JOIN_WITHIN: Duration = Duration::from_secs(10);

/// How long leaving may take, with the end of what is under way.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The shortest time between heartbeats, whatever the dispatcher asks for.
const MIN_INTERVAL: Duration = Duration::from_millis(5);

/// The longest time between heartbeats, whatever the dispatcher asks for.
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps a worker a member of one dispatcher's cluster: joins, sends heartbeats, joins again, leaves.
///
/// Run one for each dispatcher, once the worker serves: a dispatcher dials it back when it joins.
///
/// ```
/// use std::sync::Arc;
/// # use mini_platform_core::domain::*;
/// # use mini_platform_core::port::{JoinRequest, Membership};
/// use mini_platform_core::worker::Attendance;
/// # use tokio_util::sync::CancellationToken;
///
/// # async fn attend(
/// #     dispatcher: Arc<dyn Membership>,
/// #     stop: CancellationToken,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let request = JoinRequest {
///     id: WorkerId::new("w1")?,
///     address: NodeAddress::new("http://10.0.0.7:9082")?,
///     incarnation: Incarnation(8_231), // random, new at every start
///     protocol: ProtocolVersion::CURRENT,
///     token: JoinToken::default(),
/// };
/// let attendance = Attendance::new(dispatcher, request, 42).with_name("http://10.0.0.1:9081");
/// attendance.run(stop).await;
/// # Ok(())
/// # }
/// ```
pub struct Attendance {
    membership: Arc<dyn Membership>,
    request: JoinRequest,
    dispatcher: String,
    /// The longest pause after a failure, as of the last lease.
    cap: Duration,
    jitter: Rng,
    is_member: watch::Sender<bool>,
}

impl fmt::Debug for Attendance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendance")
            .field("request", &self.request)
            .field("dispatcher", &self.dispatcher)
            .finish_non_exhaustive()
    }
}

impl Attendance {
    /// Prepares to join as the request says. The seed makes the pauses after failures; give every process its own.
    #[must_use]
    pub fn new(membership: Arc<dyn Membership>, request: JoinRequest, seed: u64) -> Self {
        Self {
            membership,
            request,
            dispatcher: String::new(),
            cap: CAP,
            jitter: Rng::with_seed(seed),
            is_member: watch::Sender::new(false),
        }
    }

    /// Names the dispatcher in logs.
    #[must_use]
    pub fn with_name(mut self, dispatcher: impl Into<String>) -> Self {
        self.dispatcher = dispatcher.into();
        self
    }

    /// Returns whether the worker is a member, at each moment.
    #[must_use]
    pub fn is_member(&self) -> watch::Receiver<bool> {
        self.is_member.subscribe()
    }

    /// Stays a member until told to stop, then leaves.
    ///
    /// Goes on for ever whatever the dispatcher answers: a refusal may end, as a dispatcher's restart does. Failures
    /// are tried again after a random pause that grows to 1 s, or to a heartbeat if that is shorter. Ends within 1 s
    /// after it is told to stop. Cancelling it ends it without leaving: the lease runs out.
    pub async fn run(mut self, stop: CancellationToken) {
        let out_of_time = async {
            stop.cancelled().await;
            sleep(LEAVE_WITHIN).await;
        };
        tokio::select! {
            biased;
            () = self.attend(&stop) => {}
            () = out_of_time => {
                tracing::warn!(dispatcher = self.dispatcher, "could not leave the cluster in time; its lease runs out");
            }
        }
        self.is_member.send_replace(false);
    }

    async fn attend(&mut self, stop: &CancellationToken) {
        while let Some(lease) = self.join(stop).await {
            self.is_member.send_replace(true);
            let outcome = stop.run_until_cancelled(self.keep(&lease)).await;
            self.is_member.send_replace(false);
            if outcome.is_none() {
                return self.leave(lease.epoch).await;
            }
        }
    }

    /// Joins, however long it takes. `None`: told to stop before it was a member.
    async fn join(&mut self, stop: &CancellationToken) -> Option<MembershipLease> {
        let mut backoff = self.backoff();
        let mut told = None;
        while !stop.is_cancelled() {
            let failure = match deadline::within(JOIN_WITHIN, self.membership.join(&self.request)).await {
                Ok(Ok(JoinAnswer::Joined(lease))) => {
                    self.cap = CAP.min(interval(&lease));
                    tracing::info!(
                        dispatcher = self.dispatcher,
                        worker.epoch = lease.epoch.0,
                        "joined the cluster"
                    );
                    return Some(lease);
                }
                Ok(Ok(JoinAnswer::Rejected(rejection))) => JoinFailure::Rejected(rejection),
                Ok(Err(fault)) => JoinFailure::Failed(fault),
                Err(_) => JoinFailure::TimedOut,
            };
            self.tell(&failure, &mut told);
            let pause = self.pause(&mut backoff);
            stop.run_until_cancelled(sleep(pause)).await?;
        }
        None
    }

    /// Sends heartbeats for as long as the worker is a member.
    async fn keep(&mut self, lease: &MembershipLease) {
        let interval = interval(lease);
        let mut renewed_at = Instant::now();
        let mut failing = None;
        loop {
            let pause = match &mut failing {
                None => interval,
                Some(backoff) => self.pause(backoff),
            };
            sleep(pause).await;
            let sent_at = Instant::now();
            let heartbeat = self.membership.heartbeat(&self.request.id, lease.epoch);
            match deadline::within(interval, heartbeat).await {
                Ok(Ok(HeartbeatAnswer::Renewed)) => {
                    renewed_at = sent_at;
                    failing = None;
                }
                Ok(Ok(HeartbeatAnswer::Unknown)) => {
                    tracing::info!(
                        dispatcher = self.dispatcher,
                        "the dispatcher does not know us; joining again"
                    );
                    return;
                }
                Ok(Err(_)) | Err(_) if renewed_at.elapsed() >= lease.ttl => {
                    tracing::warn!(dispatcher = self.dispatcher, "the lease ended unrenewed; joining again");
                    return;
                }
                Ok(Err(_)) | Err(_) if failing.is_none() => failing = Some(self.backoff()),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    async fn leave(&self, epoch: Epoch) {
        match self.membership.leave(&self.request.id, epoch).await {
            Ok(()) => tracing::info!(dispatcher = self.dispatcher, "left the cluster"),
            Err(fault) => tracing::warn!(
                dispatcher = self.dispatcher,
                fault.kind = fault.kind().as_str(),
                "could not leave the cluster; its lease runs out"
            ),
        }
    }

    /// Warns of a failure, unless the last one was of the same kind.
    fn tell(&self, failure: &JoinFailure, told: &mut Option<&'static str>) {
        if told.replace(failure.as_str()) == Some(failure.as_str()) {
            return;
        }
        let (dispatcher, reason) = (self.dispatcher.as_str(), failure.as_str());
        match failure {
            JoinFailure::Rejected(rejection) => {
                tracing::warn!(dispatcher, reason, "the dispatcher refuses us, trying on: {rejection}");
            }
            JoinFailure::Failed(fault) => {
                let causes = Causes(fault);
                tracing::warn!(dispatcher, reason, "the dispatcher cannot be joined, trying on: {causes}");
            }
            JoinFailure::TimedOut => {
                tracing::warn!(dispatcher, reason, "the dispatcher cannot be joined, trying on");
            }
        }
    }

    fn backoff(&self) -> Backoff {
        let policy = RetryPolicy::default()
            .with_max_attempts(u32::MAX)
            .with_budget(Duration::MAX)
            .with_base(BASE)
            .with_cap(self.cap);
        Backoff::start(policy)
    }

    fn pause(&mut self, backoff: &mut Backoff) -> Duration {
        backoff.pause(Retry::Backoff, &mut self.jitter).unwrap_or(self.cap)
    }
}

/// Why a worker is no member yet.
enum JoinFailure {
    Rejected(JoinRejection),
    Failed(Fault),
    TimedOut,
}

impl JoinFailure {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.as_str(),
            Self::Failed(fault) => fault.kind().as_str(),
            Self::TimedOut => "timeout",
        }
    }
}

fn interval(lease: &MembershipLease) -> Duration {
    lease.heartbeat_interval.clamp(MIN_INTERVAL, MAX_INTERVAL)
}
