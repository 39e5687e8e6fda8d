//! All roles in one process: the dispatcher with one local worker, the feeder, the HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, LoadBalancer, RoundRobin, WorkerId};
use mini_platform_core::feeder::{Feeder, ListLimits, ListSource, Ratio};
use mini_platform_core::port::{Clock, FetchAnswer, FetchQuery, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::backend::{Backends, fraud_sources};
use crate::config::{Config, Policy};
use crate::http::{Api, HttpServer, HttpSettings, ListFreshness};

/// How often is looked whether the first fraud list is there, while somebody waits for it.
const READY_POLL: Duration = Duration::from_millis(5);

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
        let feeder = feeder(config, &backends, Arc::clone(&freshness))?;
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
    tokio::task::spawn_blocking(move || Backends::open(&config))
        .await
        .context("the stores were not opened")?
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

fn feeder(config: &Config, backends: &Backends, freshness: Arc<ListFreshness>) -> anyhow::Result<Feeder> {
    let settings = &config.feeder;
    let limits = ListLimits::default()
        .with_max_bytes(settings.max_size)
        .with_max_entries(settings.max_entries)
        .with_max_malformed(settings.max_malformed);
    let max_shrink = if settings.allow_shrink { Ratio::ALL } else { settings.max_shrink };
    let mut sources = fraud_sources(config).into_iter().map(|source| {
        ListSource::new(source).with_format(settings.format).with_column(settings.column.as_str())
    });
    let first = sources.next().context("feeder.source names no source")?;
    let feeder = sources.fold(Feeder::new(Arc::clone(&backends.registry), first), Feeder::with_source);
    Ok(feeder
        .with_limits(limits)
        .with_max_shrink(max_shrink)
        .with_interval(settings.interval)
        .with_on_confirmed(move || freshness.confirm(SystemClock.now())))
}
