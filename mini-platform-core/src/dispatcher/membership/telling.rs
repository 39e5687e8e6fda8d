//! What operators are told of memberships: logs and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::WorkerInfo;
use super::roll::{Admitted, EndedLease};
use crate::dispatcher::WorkerState;
use crate::port::{JoinRejection, JoinRequest};
use crate::telemetry::{DISPATCHER_JOINS, DISPATCHER_WORKERS};

/// How often a rejection of one reason is worth a warning: workers that are refused try again every second.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Tells of joins, of rejections not too often.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    /// When each reason was last warned of.
    warned_at: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Telling {
    pub(crate) fn tell(&self, request: &JoinRequest, answer: &Result<Admitted, JoinRejection>) {
        let id = request.id.as_str();
        match answer {
            Ok(Admitted::Joined(lease)) => {
                tracing::info!(worker.id = id, worker.epoch = lease.epoch.0, "a worker joined");
            }
            Ok(Admitted::Renewed(_)) => {}
            Err(rejection) if self.is_worth_a_warning(rejection) => {
                tracing::warn!(
                    worker.id = id,
                    join.rejected = rejection.as_str(),
                    "a worker may not join: {rejection}"
                );
            }
            Err(rejection) => {
                tracing::debug!(worker.id = id, join.rejected = rejection.as_str(), "a worker may not join");
            }
        }
        metrics::counter!(DISPATCHER_JOINS, "result" => word(answer)).increment(1);
    }

    pub(super) fn is_worth_a_warning(&self, rejection: &JoinRejection) -> bool {
        let now = Instant::now();
        let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
        let last = warned_at.get(rejection.as_str());
        let is_due = last.is_none_or(|last| now.saturating_duration_since(*last) >= WARN_EVERY);
        if is_due {
            warned_at.insert(rejection.as_str(), now);
        }
        is_due
    }
}

fn word(answer: &Result<Admitted, JoinRejection>) -> &'static str {
    match answer {
        Ok(Admitted::Joined(_)) => "joined",
        Ok(Admitted::Renewed(_)) => "renewed",
        Err(rejection) => rejection.as_str(),
    }
}

impl EndedLease {
    pub(crate) fn tell(&self) {
        let (id, epoch) = (self.id.as_str(), self.epoch.0);
        if self.was_draining {
            tracing::warn!(worker.id = id, worker.epoch = epoch, "a worker left with requests unfinished");
        } else {
            tracing::warn!(
                worker.id = id,
                worker.epoch = epoch,
                "a worker's lease ended: it was not heard of for too long"
            );
        }
    }
}

/// Sets the gauges of workers.
pub(crate) fn count_workers(workers: &[WorkerInfo]) {
    for state in [WorkerState::Joining, WorkerState::Ready, WorkerState::Ejected, WorkerState::Draining] {
        let count = workers.iter().filter(|worker| worker.state == state).count();
        metrics::gauge!(DISPATCHER_WORKERS, "state" => state.as_str()).set(count as f64);
    }
}
