//! How many requests may be under way.

use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::Gauge;

use crate::error::DispatchError;
use crate::telemetry::DISPATCHER_IN_FLIGHT;

/// Counts the requests under way and refuses those above the limit. Nobody waits here.
#[derive(Debug)]
pub(super) struct Admission {
    limit: usize,
    in_flight: AtomicUsize,
    gauge: Gauge,
}

impl Admission {
    pub(super) fn new(limit: usize) -> Self {
        let gauge = metrics::gauge!(DISPATCHER_IN_FLIGHT);
        Self { limit: limit.max(1), in_flight: AtomicUsize::new(0), gauge }
    }

    /// Takes in one request, until what is returned is dropped.
    pub(super) fn admit(&self) -> Result<Admitted<'_>, DispatchError> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return Err(DispatchError::Overloaded);
        }
        self.gauge.increment(1.0);
        Ok(Admitted(self))
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Admitted<'a>(&'a Admission);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::probe::Metrics;

    #[test]
    fn there_is_room_again_when_a_request_ends() {
        let probe = Metrics::default();
        let admission = metrics::with_local_recorder(&probe, || Admission::new(2));
        let (first, second) = (admission.admit().unwrap(), admission.admit().unwrap());
        for _ in 0..10 {
            assert!(matches!(admission.admit(), Err(DispatchError::Overloaded)), "refusing takes no room");
        }
        assert!((probe.get(DISPATCHER_IN_FLIGHT) - 2.0).abs() < f64::EPSILON);
        drop(first);
        let third = admission.admit().unwrap();
        assert!(admission.admit().is_err());
        drop((second, third));
        assert!(probe.get(DISPATCHER_IN_FLIGHT).abs() < f64::EPSILON);
    }
}
