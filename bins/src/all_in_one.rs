//! All roles in one process: the dispatcher with one local worker, the feeder, the HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mini_platform_core::domain::WorkerId;
use mini_platform_core::feeder::Feeder;
use mini_platform_core::port::{FetchAnswer, FetchQuery};
use tokio_util::sync::CancellationToken;

use crate::backend::{Backends, Port, Ports, fraud_sources};
use crate::config::Config;
use crate::dispatching::Dispatching;
use crate::http::{Api, HttpServer};
use crate::telemetry::Metrics;
use crate::{dispatching, feeding, lifecycle};

/// How often is looked whether the first fraud list is there, while somebody waits for it.
const READY_POLL: Duration = Duration::from_millis(5);

/// Everything that a running platform consists of, bound but not serving yet.
#[derive(Debug)]
pub struct AllInOne {
    backends: Backends,
    dispatching: Dispatching,
    /// None when a feeder elsewhere keeps the registry.
    feeder: Option<Feeder>,
    server: HttpServer,
    metrics: Metrics,
    stop: CancellationToken,
}

impl AllInOne {
    /// Opens the stores and binds the address; nothing is served before [`AllInOne::run`].
    ///
    /// # Errors
    /// A backend cannot be opened, or the address is taken.
    pub async fn start(config: &Config, metrics: Metrics, stop: CancellationToken) -> anyhow::Result<Self> {
        let backends = Backends::open(config, &[Port::Parking]).await?;
        let dispatching = Dispatching::open(config, backends.connections()).await?;
        let dispatcher = dispatching.dispatcher();
        dispatcher.add_member(WorkerId::LOCAL, Arc::new(backends.worker(config)));
        let feeder = feeder(config, backends.ports()).await?;
        let api = Api::new(dispatcher.clone()).with_draining(stop.clone()).with_metrics(metrics.clone());
        let server = HttpServer::bind(dispatching::http_settings(config), api)
            .await
            .with_context(|| format!("cannot listen on {} (http.listen)", config.http.listen))?;
        Ok(Self { backends, dispatching, feeder, server, metrics, stop })
    }

    /// Returns the address that HTTP is served on.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Waits until the platform takes events: there is a worker and a fraud list.
    ///
    /// [`AllInOne::run`] has to run meanwhile. Ends early when the platform is told to stop.
    pub fn ready(&self) -> impl Future<Output = ()> + use<> {
        let (dispatcher, stop) = (self.dispatching.dispatcher().clone(), self.stop.clone());
        async move {
            let listed = async || dispatcher.fetch(&FetchQuery::ListInForce).await;
            while !stop.is_cancelled() && !matches!(listed().await, Ok(FetchAnswer::ListInForce(Some(_)))) {
                tokio::time::sleep(READY_POLL).await;
            }
        }
    }

    /// Serves until it is told to stop, then finishes what was accepted and closes the stores.
    ///
    /// # Errors
    /// A part of it ended by itself, or the embedded store failed to write.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { backends, dispatching, feeder, server, metrics, stop } = self;
        let keeping_up = tokio::spawn(metrics.keep_up(stop.clone()));
        let broken = backends.connections().broken();
        let storing = tokio::spawn(lifecycle::end_when_broken(broken, stop.clone()));
        let feeding = lifecycle::spawn_part(&stop, feed(feeder, stop.clone()));
        let served = CancellationToken::new();
        let dispatching = tokio::spawn(dispatching.run(stop.clone(), served.clone()));
        server.run(stop).await;
        served.cancel();
        let dispatched = dispatching.await.context("the dispatcher broke down").flatten();
        let fed = feeding.await.context("the feeder ended by itself");
        let kept_up = keeping_up.await.context("the upkeep of metrics ended by itself");
        let stored = storing.await.context("the watch over the store broke down").flatten();
        backends.close().await;
        stored.and(dispatched).and(fed).and(kept_up)
    }
}

async fn feed(feeder: Option<Feeder>, stop: CancellationToken) {
    match feeder {
        Some(feeder) => feeder.run(stop).await,
        None => stop.cancelled().await,
    }
}

/// Makes the feeder, unless there is no source: then a feeder elsewhere keeps the registry.
async fn feeder(config: &Config, ports: &Ports) -> anyhow::Result<Option<Feeder>> {
    let sources = fraud_sources(config).await?;
    if sources.is_empty() {
        return Ok(None);
    }
    feeding::feeder(&config.feeder, Arc::clone(&ports.registry), sources).map(Some)
}
