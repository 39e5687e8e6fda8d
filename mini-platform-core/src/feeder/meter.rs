//! What the feeder tells its metrics.

use std::sync::Arc;
use std::time::Duration;

use super::{Refresh, RefreshError, Refusal};
use crate::domain::{ListInfo, Timestamp};
use crate::port::Clock;
use crate::telemetry::{
    FEEDER_LIST_AGE, FEEDER_LIST_CONFIRMED, FEEDER_LIST_ENTRIES, FEEDER_LIST_PUBLISHED,
    FEEDER_REFRESH_DURATION, FEEDER_REFRESHES, FEEDER_REFUSALS,
};

/// Sets the feeder's metrics after every look.
pub(super) struct Meter {
    pub(super) clock: Arc<dyn Clock>,
    /// The list in force, as of the last time that the registry answered.
    in_force: Option<ListInfo>,
}

impl Meter {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, in_force: None }
    }

    /// Takes what the registry says of its list in force.
    pub(super) fn saw(&mut self, in_force: Option<ListInfo>) {
        self.in_force = in_force;
    }

    /// Counts a look, and sets what there is to know of the list in force.
    pub(super) fn note(&mut self, result: &Result<Refresh, RefreshError>, took: Duration) {
        metrics::counter!(FEEDER_REFRESHES, "result" => word(result)).increment(1);
        metrics::histogram!(FEEDER_REFRESH_DURATION).record(took);
        if let Some(refusal) = Refusal::of(result) {
            metrics::counter!(FEEDER_REFUSALS, "reason" => refusal.as_str()).increment(1);
        }
        if let Ok(Refresh::Replaced { list, .. }) = result {
            self.in_force = Some(list.clone());
        }
        self.set_gauges();
    }

    fn set_gauges(&self) {
        metrics::gauge!(FEEDER_LIST_ENTRIES)
            .set(self.in_force.as_ref().map_or(0, |list| list.entries) as f64);
        let Some(list) = &self.in_force else { return };
        metrics::gauge!(FEEDER_LIST_PUBLISHED).set(seconds(list.version.published_at()));
        metrics::gauge!(FEEDER_LIST_CONFIRMED).set(seconds(list.confirmed_at));
        metrics::gauge!(FEEDER_LIST_AGE).set(self.clock.now().since(list.confirmed_at));
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}

fn word(result: &Result<Refresh, RefreshError>) -> &'static str {
    match result {
        Ok(Refresh::Replaced { .. }) => "replaced",
        Ok(Refresh::Unchanged) => "unchanged",
        Ok(Refresh::Stale { .. }) => "stale",
        Err(RefreshError::Refused(_)) => "refused",
        Err(RefreshError::Source(_)) => "source_failed",
        Err(RefreshError::Registry(_)) => "registry_failed",
        Err(RefreshError::TimedOut(_)) => "timed_out",
    }
}
