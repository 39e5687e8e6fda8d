//! From configuration to a dispatcher and its HTTP server, for whichever program runs them.

use std::sync::Arc;

use anyhow::Context;
use mini_platform_core::dispatcher::{
    self, Dispatcher, DispatcherConfig, LeastInFlight, LoadBalancer, P2cEwma, Redriver, Rendezvous,
    RoundRobin,
};
use tokio_util::sync::CancellationToken;

use crate::backend::{Connections, Log};
use crate::config::{Config, DispatchConfig, ParkingConfig, Policy};
use crate::http::HttpSettings;
use crate::lifecycle;
use crate::random::random_seed;

/// A dispatcher, and what works for it: the redriver of its parking lot, and its long-term log.
#[derive(Debug)]
pub struct Dispatching {
    dispatcher: Dispatcher,
    log: Log,
}

impl Dispatching {
    /// Makes a dispatcher without members. Call it inside of a tokio runtime. The connections must have
    /// [`Port::Parking`](crate::backend::Port::Parking).
    ///
    /// # Errors
    /// The parking lot or the long-term log cannot be used.
    pub async fn open(config: &Config, connections: &Connections) -> anyhow::Result<Self> {
        let log = Log::open(config).await?;
        let mut builder = Dispatcher::builder(settings(&config.dispatch), balancer(config.dispatch.policy));
        if let Some(lot) = connections.parking_lot(config).await? {
            builder = builder.with_parking(lot, parking(&config.parking, &config.dispatch));
        }
        if let Some(log) = log.log() {
            builder = builder.with_log(log);
        }
        Ok(Self { dispatcher: builder.build(), log })
    }

    /// Returns the dispatcher.
    #[must_use]
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Redrives and brings records to the log, until it is told to stop and then until `served` says that no request
    /// is taken any more. Then it finishes what was accepted.
    ///
    /// # Errors
    /// A part of it ended by itself.
    pub async fn run(self, stop: CancellationToken, served: CancellationToken) -> anyhow::Result<()> {
        let Self { dispatcher, log } = self;
        let finished = CancellationToken::new();
        let logging = lifecycle::spawn_part(&stop, log.run(finished.clone()));
        let redriving = lifecycle::spawn_part(&stop, redrive(dispatcher.redriver(), stop.clone()));
        served.cancelled().await;
        let redriven = redriving.await.context("the redriver ended by itself");
        dispatcher.shut_down().await;
        drop(dispatcher);
        finished.cancel();
        logging.await.context("the long-term log ended by itself").and(redriven)
    }
}

async fn redrive(redriver: Option<Redriver>, stop: CancellationToken) {
    match redriver {
        Some(redriver) => redriver.run(stop).await,
        None => stop.cancelled().await,
    }
}

fn settings(config: &DispatchConfig) -> DispatcherConfig {
    DispatcherConfig::default()
        .with_timeout(config.timeout)
        .with_max_batch(config.max_batch)
        .with_queue(config.queue)
        .with_max_in_flight(config.max_in_flight)
}

/// How many times as long as a batch of it may take a lease lasts at least: a round begins batches for half of it.
const BATCHES_A_LEASE: u32 = 3;

fn parking(config: &ParkingConfig, dispatch: &DispatchConfig) -> dispatcher::ParkingConfig {
    let settings = dispatcher::ParkingConfig::default();
    let base = settings.base.min(config.max_pause);
    // It is forwarded, logged and settled.
    let batch = dispatch.timeout.saturating_mul(2).saturating_add(settings.timeout);
    settings
        .with_lease(config.lease.max(batch.saturating_mul(BATCHES_A_LEASE)))
        .with_max_attempts(config.max_attempts)
        .with_pauses(base, config.max_pause)
}

fn balancer(policy: Policy) -> Arc<dyn LoadBalancer> {
    match policy {
        Policy::P2cEwma => Arc::new(P2cEwma::new(random_seed())),
        Policy::RoundRobin => Arc::new(RoundRobin::default()),
        Policy::LeastInFlight => Arc::new(LeastInFlight::default()),
        Policy::Rendezvous => Arc::new(Rendezvous::default()),
    }
}

/// Takes the settings of the HTTP server from the configuration.
#[must_use]
pub fn http_settings(config: &Config) -> HttpSettings {
    let http = &config.http;
    HttpSettings {
        listen: http.listen,
        max_body: http.max_body,
        max_line: http.max_line,
        max_array: http.max_array,
        header_timeout: http.header_timeout,
        body_timeout: http.body_timeout,
        max_connections: http.max_connections,
        shutdown_grace: http.shutdown_grace,
        max_list_age: config.feeder.max_age,
        ..HttpSettings::new(config.events.default_currency)
    }
}
