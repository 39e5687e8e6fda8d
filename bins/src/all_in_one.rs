//! All roles in one process: the dispatcher with one local worker, the feeder, the HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, LoadBalancer, RoundRobin, WorkerId};
use mini_platform_core::feeder::Feeder;
use mini_platform_core::port::{Clock, FetchAnswer, FetchQuery, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::backend::{Backends, Ports, fraud_sources};
use crate::config::{Config, Policy};
use crate::feeding;
use crate::http::{Api, HttpServer, HttpSettings, ListFreshness};
use crate::telemetry::Metrics;

/// How often is looked whether the first fraud list is there, while somebody waits for it.
const READY_POLL: Duration = Duration::from_millis(5);

/// Everything that a running platform consists of, bound but not serving yet.
#[derive(Debug)]
pub struct AllInOne {
    backends: Backends,
    dispatcher: Dispatcher,
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
        let backends = Backends::open(config).await?;
        let dispatcher = dispatcher(config, backends.ports());
        let freshness = Arc::new(ListFreshness::default());
        let feeder = feeder(config, backends.ports(), Arc::clone(&freshness)).await?;
        let api = Api::new(dispatcher.clone())
            .with_list_freshness(freshness)
            .with_draining(stop.clone())
            .with_metrics(metrics.clone());
        let server = HttpServer::bind(http_settings(config), api)
            .await
            .with_context(|| format!("cannot listen on {} (http.listen)", config.http.listen))?;
        Ok(Self { backends, dispatcher, feeder, server, metrics, stop })
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
        let (dispatcher, stop) = (self.dispatcher.clone(), self.stop.clone());
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
    /// The feeder ended by itself.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { backends, dispatcher, feeder, server, metrics, stop } = self;
        let keeping_up = tokio::spawn(metrics.keep_up(stop.clone()));
        let feeding = tokio::spawn(feed(feeder, stop.clone()));
        server.run(stop).await;
        dispatcher.shut_down().await;
        let fed = feeding.await.context("the feeder ended by itself");
        let kept_up = keeping_up.await.context("the upkeep of metrics ended by itself");
        drop(dispatcher);
        backends.close().await;
        fed.and(kept_up)
    }
}

async fn feed(feeder: Option<Feeder>, stop: CancellationToken) {
    if let Some(feeder) = feeder {
        feeder.run(stop).await;
    }
}

fn dispatcher(config: &Config, ports: &Ports) -> Dispatcher {
    let balancer: Arc<dyn LoadBalancer> = match config.dispatch.policy {
        Policy::RoundRobin => Arc::new(RoundRobin::default()),
    };
    let settings = DispatcherConfig::default()
        .with_timeout(config.dispatch.timeout)
        .with_max_batch(config.dispatch.max_batch)
        .with_queue(config.dispatch.queue);
    let dispatcher = Dispatcher::new(settings, balancer);
    let Ports { events, adjacency, registry } = ports;
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
        // Without a feeder here nobody here knows whether an old list is the newest there is.
        max_list_age: (!config.feeder.source.is_empty()).then_some(config.feeder.max_age),
        ..HttpSettings::new(config.events.default_currency)
    }
}

/// Makes the feeder, unless there is no source: then a feeder elsewhere keeps the registry.
async fn feeder(
    config: &Config,
    ports: &Ports,
    freshness: Arc<ListFreshness>,
) -> anyhow::Result<Option<Feeder>> {
    let sources = fraud_sources(config).await?;
    if sources.is_empty() {
        return Ok(None);
    }
    let feeder = feeding::feeder(&config.feeder, Arc::clone(&ports.registry), sources)?;
    Ok(Some(feeder.with_on_confirmed(move || freshness.confirm(SystemClock.now()))))
}
