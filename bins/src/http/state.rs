//! What every request needs.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use mini_platform_core::Dispatcher;
use mini_platform_core::error::Causes;
use mini_platform_core::port::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::BodyMemory;
use super::log_limit::LogLimit;
use super::problem::Problem;
use super::serving::Serving;
use super::settings::HttpSettings;
use crate::telemetry::Metrics;

/// What the HTTP server serves.
#[derive(Clone)]
pub struct Api {
    dispatcher: Dispatcher,
    clock: Arc<dyn Clock>,
    draining: CancellationToken,
    metrics: Metrics,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("dispatcher", &self.dispatcher).finish_non_exhaustive()
    }
}

impl Api {
    /// Serves what a dispatcher can do, with the operating system's clock.
    #[must_use]
    pub fn new(dispatcher: Dispatcher) -> Self {
        Self {
            dispatcher,
            clock: Arc::new(SystemClock),
            draining: CancellationToken::new(),
            metrics: Metrics::default(),
        }
    }

    /// Takes the time of receipt and the age of the fraud list from another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Answers `/readyz` as not ready once the token is cancelled, while everything is still served: the first step
    /// of a stop that loses no request.
    #[must_use]
    pub fn with_draining(mut self, draining: CancellationToken) -> Self {
        self.draining = draining;
        self
    }

    /// Answers `/metrics` with what these metrics collect; with nothing by default.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }
}

/// What the handlers share.
pub(super) struct State {
    pub(super) dispatcher: Dispatcher,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: HttpSettings,
    pub(super) body_memory: BodyMemory,
    pub(super) metrics: Metrics,
    /// Cancelled when the service is about to stop.
    pub(super) draining: CancellationToken,
    /// Cancelled when no further request is taken.
    pub(super) stopping: CancellationToken,
    /// The connections, and the batches of streams.
    pub(super) tasks: TaskTracker,
    failures: LogLimit,
}

impl State {
    pub(super) fn new(settings: HttpSettings, api: Api, serving: &Serving) -> Self {
        let Api { dispatcher, clock, draining, metrics } = api;
        Self {
            dispatcher,
            clock,
            body_memory: BodyMemory::new(settings.max_buffered.max(settings.max_array)),
            settings,
            metrics,
            draining,
            stopping: serving.stopping.clone(),
            tasks: serving.tasks.clone(),
            failures: LogLimit::new(),
        }
    }

    /// Makes the problem of a request that the dispatcher or its parking lot could not finish, and logs it.
    pub(super) fn failed<'e, E: Error>(&self, error: &'e E) -> Problem
    where
        Problem: From<&'e E>,
    {
        let problem = Problem::from(error);
        if let Some(held_back) = self.failures.pass() {
            let causes = Causes(error);
            tracing::warn!(problem.code = problem.code().as_str(), error = %causes, held_back, "a request failed");
        }
        problem
    }
}
