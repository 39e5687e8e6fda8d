//! All roles in one process: the dispatcher with one local worker, the feeder, the HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, LoadBalancer, RoundRobin, WorkerId};
use mini_platform_core::feeder::{Feeder, ListLimits};
use mini_platform_core::port::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::backend::{Backends, fraud_sources};
use crate::config::{Config, Policy};
use crate::http::{Api, HttpServer, HttpSettings, ListFreshness};

/// Everything that a running platform consists of, bound but not serving yet.
#[derive(Debug)]
pub struct AllInOne {
    backends: Backends,
    dispatcher: Dispatcher,
    feeder: Feeder,
    server: HttpServer,
    stop: CancellationToken,
}

impl AllInOne {
    /// Opens the stores and binds the address; nothing is served before [`AllInOne::run`].
    ///
    /// # Errors
    /// A backend cannot be opened, or the address is taken.
    pub async fn start(config: &Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let backends = open(config.clone()).await?;
        let dispatcher = dispatcher(config, &backends);
        let freshness = Arc::new(ListFreshness::default());
        let feeder = feeder(config, &backends, Arc::clone(&freshness));
        let api = Api::new(dispatcher.clone()).with_list_freshness(freshness).with_draining(stop.clone());
        let server = HttpServer::bind(http_settings(config), api)
            .await
            .with_context(|| format!("cannot listen on {} (http.listen)", config.http.listen))?;
        Ok(Self { backends, dispatcher, feeder, server, stop })
    }

    /// Returns the address that HTTP is served on.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Serves until it is told to stop, then finishes what was accepted and closes the stores.
    ///
    /// # Errors
    /// The feeder ended by itself.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { backends, dispatcher, feeder, server, stop } = self;
        let feeding = tokio::spawn(feeder.run(stop.clone()));
        server.run(stop).await;
        dispatcher.shut_down().await;
        let fed = feeding.await.context("the feeder ended by itself");
        drop(dispatcher);
        backends.close().await;
        fed
    }
}

/// Opens the stores off the runtime: it may take a second after a crash.
async fn open(config: Config) -> anyhow::Result<Backends> {
    tokio::task::spawn_blocking(move || Backends::open(&config)).await.context("the stores were not opened")?
}

fn dispatcher(config: &Config, backends: &Backends) -> Dispatcher {
    let balancer: Arc<dyn LoadBalancer> = match config.dispatch.policy {
        Policy::RoundRobin => Arc::new(RoundRobin::default()),
    };
    let settings = DispatcherConfig::default()
        .with_timeout(config.dispatch.timeout)
        .with_max_batch(config.dispatch.max_batch)
        .with_queue(config.dispatch.queue);
    let dispatcher = Dispatcher::new(settings, balancer);
    let Backends { events, adjacency, registry, .. } = backends;
    let worker = Worker::new(Arc::clone(events), Arc::clone(adjacency), Arc::clone(registry))
        .with_parties(config.screening.parties);
    dispatcher.add_member(WorkerId::new("local"), Arc::new(worker));
    dispatcher
}

fn http_settings(config: &Config) -> HttpSettings {
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
