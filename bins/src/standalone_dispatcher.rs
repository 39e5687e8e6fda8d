//! The dispatcher in a process of its own: clients over HTTP and gRPC, workers that join over gRPC.
//!
//! It reaches events, links and fraud lists only through workers; its own are the parking lot and the long-term log.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use mini_platform_core::Dispatcher;
use mini_platform_core::dispatcher::{ClusterConfig, ClusterMembership};
use mini_platform_core::domain::Epoch;
use mini_platform_core::port::{Clock, SystemClock};
use mini_platform_grpc::{ChannelSettings, GrpcDialer, GrpcServer, IngestRules, Services};
use tokio_util::sync::CancellationToken;

use crate::backend::{Connections, Port};
use crate::config::Config;
use crate::dispatching::Dispatching;
use crate::http::{Api, HttpServer};
use crate::telemetry::Metrics;
use crate::{clustering, dispatching, lifecycle};

/// A dispatcher that listens for clients and workers but does not serve them yet.
#[derive(Debug)]
pub struct StandaloneDispatcher {
    dispatching: Dispatching,
    connections: Connections,
    membership: ClusterMembership,
    http: HttpServer,
    grpc: GrpcServer,
    metrics: Metrics,
    stop: CancellationToken,
}

impl StandaloneDispatcher {
    /// Binds the addresses; nothing is served before [`StandaloneDispatcher::run`].
    ///
    /// # Errors
    /// An address is taken, or the parking lot or the long-term log cannot be used.
    pub async fn start(config: &Config, metrics: Metrics, stop: CancellationToken) -> anyhow::Result<Self> {
        let connections = Connections::open(config, &[Port::Parking]).await?;
        let dispatching = Dispatching::open(config, &connections).await?;
        let dispatcher = dispatching.dispatcher();
        let membership = membership(config, dispatcher);
        let rules =
            IngestRules { default_currency: config.events.default_currency, clock: Arc::new(SystemClock) };
        let services =
            Services::new().with_cluster(Arc::new(membership.clone())).with_ingest(dispatcher.clone(), rules);
        let grpc = clustering::bind(&config.grpc, services).await?;
        if config.cluster.token.is_none() && !grpc.local_addr().ip().is_loopback() {
            tracing::warn!("whoever reaches {} can join as a worker; set cluster.token", grpc.local_addr());
        }
        let api = Api::new(dispatcher.clone()).with_draining(stop.clone()).with_metrics(metrics.clone());
        let http = HttpServer::bind(dispatching::http_settings(config), api)
            .await
            .with_context(|| format!("cannot listen on {} (http.listen)", config.http.listen))?;
        Ok(Self { dispatching, connections, membership, http, grpc, metrics, stop })
    }

    /// Returns the address that HTTP is served on.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// Returns the address that gRPC is served on.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc.local_addr()
    }

    /// Serves until it is told to stop, then refuses workers that join, and finishes what was accepted.
    ///
    /// # Errors
    /// A part of it ended by itself, or the embedded store failed to write.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { dispatching, connections, membership, http, grpc, metrics, stop } = self;
        let keeping_up = tokio::spawn(metrics.keep_up(stop.clone()));
        let storing = tokio::spawn(lifecycle::end_when_broken(connections.broken(), stop.clone()));
        let watching = lifecycle::spawn_part(&stop, {
            let (membership, stop) = (membership.clone(), stop.clone());
            async move { membership.run(stop).await }
        });
        let (serving, served) = (CancellationToken::new(), CancellationToken::new());
        let dispatching = tokio::spawn(dispatching.run(stop.clone(), served.clone()));
        let http = lifecycle::spawn_part(&stop, http.run(serving.clone()));
        let grpc = lifecycle::spawn_part(&stop, grpc.run(serving.clone()));
        stop.cancelled().await;
        membership.shut_down();
        serving.cancel();
        let http = http.await.context("the HTTP server ended by itself");
        let grpc = grpc.await.context("the gRPC server ended by itself");
        served.cancel();
        let dispatched = dispatching.await.context("the dispatcher broke down").flatten();
        let watched = watching.await.context("the watch over members ended by itself");
        let kept_up = keeping_up.await.context("the upkeep of metrics ended by itself");
        let stored = storing.await.context("the watch over the store broke down").flatten();
        connections.close().await;
        stored.and(http).and(grpc).and(dispatched).and(watched).and(kept_up)
    }
}

/// Lets workers join. Epochs start at the time, so that those of a dispatcher that starts again are higher.
fn membership(config: &Config, dispatcher: &Dispatcher) -> ClusterMembership {
    let cluster = &config.cluster;
    let settings = ClusterConfig::default()
        .with_max_workers(cluster.max_workers)
        .with_lease(cluster.lease)
        .with_token(clustering::token(cluster));
    let dialer = Arc::new(GrpcDialer::new(ChannelSettings::default()));
    let now = SystemClock.now().as_micros();
    dispatcher.membership(settings, dialer, Epoch(u64::try_from(now).unwrap_or_default()))
}
