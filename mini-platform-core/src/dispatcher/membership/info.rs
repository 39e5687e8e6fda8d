//! What an operator sees of a worker.

use std::time::Duration;

use tokio::time::Instant;

use crate::dispatcher::{Member, WorkerState};
use crate::domain::{Epoch, NodeAddress, WorkerId};

/// A worker at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerInfo {
    /// Its name.
    pub id: WorkerId,
    /// Where it is dialled; `None` for a worker in this process.
    pub address: Option<NodeAddress>,
    /// The number of its membership; `None` for a worker in this process, and while it is joining.
    pub epoch: Option<Epoch>,
    /// How it takes part.
    pub state: WorkerState,
    /// How many requests it holds.
    pub in_flight: usize,
    /// The latency that is to be expected of it; `None` before its first answer.
    pub latency: Option<Duration>,
    /// How many requests it answered.
    pub finished: u64,
    /// How many requests it failed, or was given up on.
    pub failed: u64,
}

impl WorkerInfo {
    pub(crate) fn of(member: &Member, now: Instant) -> Self {
        let (finished, failed) = (member.finished(), member.failed());
        let seconds = (finished + failed > 0).then(|| member.load(now).seconds);
        Self {
            id: member.id().clone(),
            address: member.address().cloned(),
            epoch: member.epoch(),
            state: member.state(now),
            in_flight: member.in_flight(),
            latency: seconds.and_then(|seconds| Duration::try_from_secs_f32(seconds).ok()),
            finished,
            failed,
        }
    }

    pub(crate) fn joining(id: WorkerId, address: NodeAddress) -> Self {
        Self {
            id,
            address: Some(address),
            epoch: None,
            state: WorkerState::Joining,
            in_flight: 0,
            latency: None,
            finished: 0,
            failed: 0,
        }
    }
}
