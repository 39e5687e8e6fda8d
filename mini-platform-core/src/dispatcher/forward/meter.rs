//! What the dispatcher tells about its requests.

use std::time::Duration;

use metrics::{Counter, Histogram};

use crate::error::DispatchError;
use crate::telemetry::{DISPATCHER_REQUEST_DURATION, DISPATCHER_REQUESTS};

/// Counts the requests of one kind. Looked up once, so that a request costs two atomic operations: a recorder that
/// is installed after the dispatcher was made sees nothing.
#[derive(Debug)]
pub(super) struct Meter {
    ok: Counter,
    no_workers: Counter,
    overloaded: Counter,
    timeout: Counter,
    failed: Counter,
    duration: Histogram,
}

impl Meter {
    pub(super) fn new(kind: &'static str) -> Self {
        let result =
            |result: &'static str| metrics::counter!(DISPATCHER_REQUESTS, "kind" => kind, "result" => result);
        Self {
            ok: result("ok"),
            no_workers: result("no_workers"),
            overloaded: result("overloaded"),
            timeout: result("timeout"),
            failed: result("failed"),
            duration: metrics::histogram!(DISPATCHER_REQUEST_DURATION, "kind" => kind),
        }
    }

    pub(super) fn record<T>(&self, answer: &Result<T, DispatchError>, took: Duration) {
        let counter = match answer {
            Ok(_) => &self.ok,
            Err(DispatchError::NoWorkers) => &self.no_workers,
            Err(DispatchError::Overloaded) => &self.overloaded,
            Err(DispatchError::Timeout(_)) => &self.timeout,
            Err(_) => &self.failed,
        };
        counter.increment(1);
        self.duration.record(took);
    }
}
