//! What is told of a relay: one log line a change of state, and metrics.

use tokio::time::Instant;

use super::relay::RelayError;
use crate::error::{Causes, Retry};
use crate::port::OutboxStatus;
use crate::telemetry::{OUTBOX_BYTES, OUTBOX_PUBLISH_FAILURES, OUTBOX_PUBLISHED};

/// Remembers how a relay is doing, so that the same news is told once.
#[derive(Debug, Default)]
pub(super) enum Journal {
    #[default]
    Relaying,
    Failing {
        since: Instant,
        /// It does not pass by itself.
        needs_help: bool,
    },
    /// What came together during a failure is still on its way.
    CatchingUp { records: u64 },
}

impl Journal {
    pub(super) fn failed(&mut self, error: &RelayError, outbox: OutboxStatus) {
        metrics::counter!(OUTBOX_PUBLISH_FAILURES).increment(1);
        note_status(outbox);
        let needs_help = error.retry() == Retry::Never;
        let (since, told) = match *self {
            Self::Failing { since, needs_help: told } => (since, Some(told)),
            Self::Relaying | Self::CatchingUp { .. } => (Instant::now(), None),
        };
        *self = Self::Failing { since, needs_help };
        let error = Causes(error);
        match (needs_help, told) {
            (true, None | Some(false)) => tracing::error!(
                %error,
                outbox.bytes = outbox.bytes,
                "the long-term log takes no records, which does not pass by itself; they wait in the outbox"
            ),
            (false, None) => tracing::warn!(
                %error,
                outbox.bytes = outbox.bytes,
                "the long-term log takes no records; they wait in the outbox"
            ),
            (_, Some(_)) => {}
        }
    }

    pub(super) fn published(&mut self, records: u64, outbox: OutboxStatus) {
        metrics::counter!(OUTBOX_PUBLISHED).increment(records);
        match self {
            Self::Relaying => {}
            Self::Failing { since, .. } => {
                let duration_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(
                    duration_ms,
                    outbox.bytes = outbox.bytes,
                    "the long-term log takes records again"
                );
                *self = Self::CatchingUp { records };
            }
            Self::CatchingUp { records: so_far } => *so_far += records,
        }
    }

    pub(super) fn emptied(&mut self) {
        if let Self::CatchingUp { records } = *self {
            tracing::info!(outbox.records = records, "the records that waited are in the long-term log");
            *self = Self::Relaying;
        }
    }

    pub(super) fn ended(outbox: OutboxStatus) {
        note_status(outbox);
        if outbox.bytes > 0 {
            tracing::warn!(outbox.bytes = outbox.bytes, "records wait in the outbox for the next start");
        }
    }
}

pub(super) fn note_status(outbox: OutboxStatus) {
    metrics::gauge!(OUTBOX_BYTES).set(outbox.bytes as f64);
}
