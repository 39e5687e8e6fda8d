//! The feeder in a process of its own: from the sources into a registry that others read.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use mini_platform_core::feeder::Feeder;
use tokio_util::sync::CancellationToken;

use crate::backend::{Connections, Port, fraud_sources};
use crate::config::Config;
use crate::http::{FeederApi, HttpServer};
use crate::telemetry::Metrics;
use crate::{feeding, lifecycle};

/// A feeder with its own pages, bound but not running yet.
#[derive(Debug)]
pub struct StandaloneFeeder {
    connections: Connections,
    feeder: Feeder,
    server: HttpServer,
    metrics: Metrics,
    stop: CancellationToken,
}

impl StandaloneFeeder {
    /// Connects to the registry and binds the address; nothing is fed before [`StandaloneFeeder::run`].
    ///
    /// # Errors
    /// The registry or S3 cannot be used, or the address is taken.
    pub async fn start(config: &Config, metrics: Metrics, stop: CancellationToken) -> anyhow::Result<Self> {
        let (connections, sources) =
            tokio::try_join!(Connections::open(config, &[Port::Registry]), fraud_sources(config))?;
        let registry = connections.registry(config)?;
        let settings = &config.feeder;
        let feeder = feeding::feeder(settings, Arc::clone(&registry), sources)?;
        let api = FeederApi::new(registry, settings.max_age, metrics.clone(), stop.clone());
        let server = HttpServer::bind_feeder(settings.listen, api)
            .await
            .with_context(|| format!("cannot listen on {} (feeder.listen)", settings.listen))?;
        Ok(Self { connections, feeder, server, metrics, stop })
    }

    /// Returns the address that the probes and metrics are served on.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Feeds until it is told to stop. A refresh that is under way is given up, which changes nothing or all.
    ///
    /// # Errors
    /// The feeder ended by itself.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { connections, feeder, server, metrics, stop } = self;
        let keeping_up = tokio::spawn(metrics.keep_up(stop.clone()));
        let feeding = lifecycle::spawn_part(&stop, feeder.run(stop.clone()));
        server.run(stop).await;
        let fed = feeding.await.context("the feeder ended by itself");
        let kept_up = keeping_up.await.context("the upkeep of metrics ended by itself");
        connections.close().await;
        fed.and(kept_up)
    }
}
