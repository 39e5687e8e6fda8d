//! What a dispatcher offers to workers that want to belong to its cluster.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{Epoch, Incarnation, JoinToken, NodeAddress, ProtocolVersion, WorkerId};
use crate::error::Fault;

/// What a worker says of itself when it joins.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// The name that it wants to have in the cluster.
    pub id: WorkerId,
    /// Where it listens, as the dispatcher has to dial it.
    pub address: NodeAddress,
    /// Which run of the worker it is.
    pub incarnation: Incarnation,
    /// Which protocol it speaks.
    pub protocol: ProtocolVersion,
    /// The secret of the cluster.
    pub token: JoinToken,
}

/// What a dispatcher answers to a worker that wants to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinAnswer {
    /// It is a member, for as long as it renews its lease.
    Joined(MembershipLease),
    /// It is none.
    Rejected(JoinRejection),
}

/// The right to be a member for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembershipLease {
    /// Tells this membership from earlier ones of the same worker.
    pub epoch: Epoch,
    /// How long it lasts from its last renewal on.
    pub ttl: Duration,
    /// How often to renew it: several times within `ttl`.
    pub heartbeat_interval: Duration,
}

/// Why a worker is no member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRejection {
    /// There are as many members as there may be.
    #[error("the cluster is full: it has {max_workers} workers (cluster.max_workers)")]
    ClusterFull {
        /// The most members.
        max_workers: usize,
    },
    /// The worker speaks another protocol.
    #[error("protocol {} is spoken here; update the older of the two programs", supported.0)]
    ProtocolVersion {
        /// What the dispatcher speaks.
        supported: ProtocolVersion,
    },
    /// The secret is wrong.
    #[error("the join token is wrong (cluster.token)")]
    Token,
    /// A worker with this id lives at another address. Its lease ends by itself when it is gone.
    #[error(
        "a worker with this id is a member at another address; give each worker its own id (cluster.worker_id)"
    )]
    IdTaken,
    /// Nobody answers at the address, or somebody else does.
    #[error("the worker cannot be reached at its address (cluster.advertise): {reason}")]
    NotDialable {
        /// What went wrong, without addresses.
        reason: String,
    },
    /// The dispatcher is about to stop.
    #[error("the dispatcher is shutting down")]
    ShuttingDown,
}

impl JoinRejection {
    /// Returns a stable name of the reason, for logs, metrics and the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ClusterFull { .. } => "cluster_full",
            Self::ProtocolVersion { .. } => "protocol_version",
            Self::Token => "token",
            Self::IdTaken => "id_taken",
            Self::NotDialable { .. } => "not_dialable",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// What a dispatcher answers to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatAnswer {
    /// The lease is renewed.
    Renewed,
    /// There is no such membership (any more): join again.
    Unknown,
}

/// Lets workers join a cluster: the dispatcher itself, or a client of one elsewhere.
///
/// # Contract
/// - **MS-1** `join` answers `Joined` only after the worker was dialled back and said the same id and incarnation.
/// - **MS-2** Joining again as the same incarnation at the same address, while the lease lasts, renews it: same
///   epoch. Another incarnation at the same id and address replaces the member at once, with a higher epoch.
/// - **MS-3** A lease that is not renewed within its `ttl` ends: the member is gone, and its heartbeat is `Unknown`.
/// - **MS-4** `heartbeat` and `leave` act on exactly the epoch that they name; for any other they do nothing.
/// - **MS-5** After `leave` the member takes no new requests; leaving twice is no error.
///
/// Cancelling `join` may still make a member, whose lease then runs out.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// Asks to become a member.
    ///
    /// # Errors
    /// The dispatcher could not be asked; a rejection is an answer.
    async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, Fault>;

    /// Renews a lease.
    ///
    /// # Errors
    /// The dispatcher could not be asked.
    async fn heartbeat(&self, id: &WorkerId, epoch: Epoch) -> Result<HeartbeatAnswer, Fault>;

    /// Ends a membership: no new requests come; what is held is finished.
    ///
    /// # Errors
    /// The dispatcher could not be asked.
    async fn leave(&self, id: &WorkerId, epoch: Epoch) -> Result<(), Fault>;
}
