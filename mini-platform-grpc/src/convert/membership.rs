//! How workers come to belong to a cluster.

use std::time::Duration;

use mini_platform_core::domain::{Epoch, Incarnation, JoinToken, NodeAddress, ProtocolVersion, WorkerId};
use mini_platform_core::port::{HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, MembershipLease};

use super::worker::protocol_version;
use super::{ConvertError, InField, Problem, enum_value, required};
use crate::text;
use crate::v1;
use crate::v1::join_response::{Answer, Joined, Rejected};

/// The longest lease that is taken: whoever waits longer for a lost dispatcher has a mistake in the configuration.
pub(crate) const MAX_LEASE: Duration = Duration::from_hours(24);

impl From<&JoinRequest> for v1::JoinRequest {
    fn from(request: &JoinRequest) -> Self {
        Self {
            worker_id: request.id.as_str().to_owned(),
            address: request.address.as_str().to_owned(),
            incarnation: request.incarnation.0,
            protocol_version: request.protocol.0,
            token: request.token.reveal().to_owned(),
        }
    }
}

impl TryFrom<v1::JoinRequest> for JoinRequest {
    type Error = ConvertError;

    /// Takes a token of any length: one that is too long matches none, which is answered as a wrong token.
    fn try_from(request: v1::JoinRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            id: WorkerId::new(&request.worker_id).in_field("worker_id")?,
            address: NodeAddress::new(&request.address).in_field("address")?,
            incarnation: Incarnation(request.incarnation),
            protocol: protocol_version(request.protocol_version).in_field("protocol_version")?,
            token: JoinToken::new(request.token),
        })
    }
}

impl From<&JoinAnswer> for v1::JoinResponse {
    fn from(answer: &JoinAnswer) -> Self {
        let answer = match answer {
            JoinAnswer::Joined(lease) => Answer::Joined(lease.into()),
            JoinAnswer::Rejected(rejection) => Answer::Rejected(rejection.into()),
        };
        Self { answer: Some(answer) }
    }
}

impl TryFrom<v1::JoinResponse> for JoinAnswer {
    type Error = ConvertError;

    fn try_from(response: v1::JoinResponse) -> Result<Self, ConvertError> {
        match required(response.answer, "answer")? {
            Answer::Joined(joined) => {
                joined.try_into().map(Self::Joined).map_err(|error: ConvertError| error.within("joined"))
            }
            Answer::Rejected(rejected) => rejected
                .try_into()
                .map(Self::Rejected)
                .map_err(|error: ConvertError| error.within("rejected")),
        }
    }
}

impl From<&MembershipLease> for Joined {
    fn from(lease: &MembershipLease) -> Self {
        Self {
            lease_millis: millis(lease.ttl),
            heartbeat_interval_millis: millis(lease.heartbeat_interval),
            epoch: lease.epoch.0,
        }
    }
}

impl TryFrom<Joined> for MembershipLease {
    type Error = ConvertError;

    fn try_from(joined: Joined) -> Result<Self, ConvertError> {
        let ttl = duration(joined.lease_millis, MAX_LEASE).in_field("lease_millis")?;
        let heartbeat_interval =
            duration(joined.heartbeat_interval_millis, ttl).in_field("heartbeat_interval_millis")?;
        Ok(Self { epoch: Epoch(joined.epoch), ttl, heartbeat_interval })
    }
}

/// Counts what is less than a millisecond as one: zero would be refused.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn duration(millis: u64, max: Duration) -> Result<Duration, Problem> {
    let duration = Duration::from_millis(millis);
    if duration.is_zero() || duration > max { Err(Problem::Duration { max }) } else { Ok(duration) }
}

impl From<&JoinRejection> for Rejected {
    fn from(rejection: &JoinRejection) -> Self {
        let mut rejected = Self {
            reason: v1::JoinRejectionReason::from(rejection).into(),
            detail: text::cut(&rejection.to_string()),
            ..Self::default()
        };
        match rejection {
            JoinRejection::ClusterFull { max_workers } => {
                rejected.max_workers = u32::try_from(*max_workers).unwrap_or(u32::MAX);
            }
            JoinRejection::ProtocolVersion { supported } => {
                rejected.supported_protocol_version = supported.0;
            }
            JoinRejection::NotDialable { reason } => rejected.dial_failure = text::cut(reason),
            _ => {}
        }
        rejected
    }
}

impl From<&JoinRejection> for v1::JoinRejectionReason {
    fn from(rejection: &JoinRejection) -> Self {
        match rejection {
            JoinRejection::ClusterFull { .. } => Self::ClusterFull,
            JoinRejection::ProtocolVersion { .. } => Self::ProtocolVersion,
            JoinRejection::Token => Self::Token,
            JoinRejection::IdTaken => Self::IdTaken,
            JoinRejection::NotDialable { .. } => Self::NotDialable,
            JoinRejection::ShuttingDown => Self::ShuttingDown,
            _ => Self::Unspecified,
        }
    }
}

impl TryFrom<Rejected> for JoinRejection {
    type Error = ConvertError;

    fn try_from(rejected: Rejected) -> Result<Self, ConvertError> {
        use v1::JoinRejectionReason as Reason;
        Ok(match enum_value(rejected.reason).in_field("reason")? {
            Reason::Unspecified => return Err(Problem::Unspecified).in_field("reason"),
            Reason::ClusterFull => {
                let max_workers = usize::try_from(rejected.max_workers).unwrap_or(usize::MAX);
                Self::ClusterFull { max_workers }
            }
            Reason::ProtocolVersion => {
                Self::ProtocolVersion { supported: ProtocolVersion(rejected.supported_protocol_version) }
            }
            Reason::Token => Self::Token,
            Reason::IdTaken => Self::IdTaken,
            Reason::NotDialable => Self::NotDialable { reason: text::cut(&rejected.dial_failure) },
            Reason::ShuttingDown => Self::ShuttingDown,
        })
    }
}

impl From<(&WorkerId, Epoch)> for v1::HeartbeatRequest {
    fn from((id, epoch): (&WorkerId, Epoch)) -> Self {
        Self { worker_id: id.as_str().to_owned(), epoch: epoch.0 }
    }
}

impl TryFrom<v1::HeartbeatRequest> for (WorkerId, Epoch) {
    type Error = ConvertError;

    fn try_from(request: v1::HeartbeatRequest) -> Result<Self, ConvertError> {
        Ok((WorkerId::new(&request.worker_id).in_field("worker_id")?, Epoch(request.epoch)))
    }
}

impl From<HeartbeatAnswer> for v1::HeartbeatResponse {
    fn from(answer: HeartbeatAnswer) -> Self {
        let status = match answer {
            HeartbeatAnswer::Renewed => v1::HeartbeatStatus::Renewed,
            HeartbeatAnswer::Unknown => v1::HeartbeatStatus::Unknown,
        };
        Self { status: status.into() }
    }
}

impl TryFrom<v1::HeartbeatResponse> for HeartbeatAnswer {
    type Error = ConvertError;

    fn try_from(response: v1::HeartbeatResponse) -> Result<Self, ConvertError> {
        match enum_value(response.status).in_field("status")? {
            v1::HeartbeatStatus::Unspecified => Err(Problem::Unspecified).in_field("status"),
            v1::HeartbeatStatus::Renewed => Ok(Self::Renewed),
            v1::HeartbeatStatus::Unknown => Ok(Self::Unknown),
        }
    }
}

impl From<(&WorkerId, Epoch)> for v1::LeaveRequest {
    fn from((id, epoch): (&WorkerId, Epoch)) -> Self {
        Self { worker_id: id.as_str().to_owned(), epoch: epoch.0 }
    }
}

impl TryFrom<v1::LeaveRequest> for (WorkerId, Epoch) {
    type Error = ConvertError;

    fn try_from(request: v1::LeaveRequest) -> Result<Self, ConvertError> {
        Ok((WorkerId::new(&request.worker_id).in_field("worker_id")?, Epoch(request.epoch)))
    }
}
