//! From configuration to ports: the only place that names adapter crates, one file each.
//!
//! To add a backend: a file here with the handle that its adapter connects to, a field of [`Connections`], and an
//! arm where its port is made; then its names in the configuration, and a feature of this package.

mod embedded;
mod kafka;
mod log;
mod mongodb;
mod redis;
mod s3;

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, future};

use anyhow::Context;
use mini_platform_core::Worker;
use mini_platform_core::decorate::{InProcessList, RetryPolicy, Retrying};
use mini_platform_core::domain::LotLimits;
use mini_platform_core::memory::{
    MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry, MemoryParkingLot,
};
use mini_platform_core::port::{
    AdjacencyStore, EventStore, FraudRegistry, FraudSource, ParkingLot, SystemClock,
};
use mini_platform_file::FileSource;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bundled::BundledSource;
use crate::config::{AdjacencyBackend, Config, FeedSource, ParkingBackend, RegistryBackend, StoreBackend};
use crate::random::random_seed;

pub use log::{Log, LogPlace, log_dir, log_reader};

/// A backend that this build has no adapter for; the configuration is checked for that before.
#[cfg(not(all(
    feature = "embedded",
    feature = "kafka",
    feature = "mongodb",
    feature = "redis",
    feature = "s3"
)))]
#[derive(Debug, thiserror::Error)]
#[error("this build has no adapter for {0}")]
struct NotBuiltIn(&'static str);

/// A port that a program wants to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The event store.
    Events,
    /// The adjacency store.
    Adjacency,
    /// The fraud registry.
    Registry,
    /// The parking lot.
    Parking,
}

/// The backends behind some ports, connected.
pub struct Connections {
    embedded: Option<embedded::Handle>,
    mongodb: Option<mongodb::Handle>,
    redis: Option<redis::Handle>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("embedded", &self.embedded.is_some())
            .field("mongodb", &self.mongodb.is_some())
            .field("redis", &self.redis.is_some())
            .finish()
    }
}

impl Connections {
    /// Connects, at the same time, what the configuration chooses for some ports.
    ///
    /// # Errors
    /// The first backend that cannot be used, with what to do about it.
    pub async fn open(config: &Config, ports: &[Port]) -> anyhow::Result<Self> {
        let Config { store, adjacency, registry, parking, .. } = config;
        let wants = |port: Port, chosen: bool| ports.contains(&port) && chosen;
        let needs_embedded = wants(Port::Events, store.backend == StoreBackend::Embedded)
            || wants(Port::Adjacency, adjacency.backend == AdjacencyBackend::Embedded)
            || wants(Port::Registry, registry.backend == RegistryBackend::Embedded)
            || wants(Port::Parking, parking.backend == ParkingBackend::Embedded);
        let needs_mongodb = wants(Port::Events, store.backend == StoreBackend::Mongodb);
        let needs_redis = wants(Port::Adjacency, adjacency.backend == AdjacencyBackend::Redis)
            || wants(Port::Registry, registry.backend == RegistryBackend::Redis)
            || wants(Port::Parking, parking.backend == ParkingBackend::Redis);
        let (embedded, mongodb, redis) = tokio::try_join!(
            when(needs_embedded, embedded::open(&config.embedded)),
            when(needs_mongodb, mongodb::open(&config.mongodb)),
            when(needs_redis, redis::open(&config.redis, &config.parking)),
        )?;
        Ok(Self { embedded, mongodb, redis })
    }

    /// Returns the event store. Its port must have been opened.
    ///
    /// # Errors
    /// It was not.
    pub fn events(&self, config: &Config) -> anyhow::Result<Arc<dyn EventStore>> {
        Ok(match config.store.backend {
            StoreBackend::Memory => Arc::new(MemoryEventStore::default()),
            StoreBackend::Embedded => opened(self.embedded.as_ref())?.event_store(),
            StoreBackend::Mongodb => retrying(opened(self.mongodb.as_ref())?.event_store()),
        })
    }

    /// Returns the adjacency store. Its port must have been opened.
    ///
    /// # Errors
    /// It was not.
    pub fn adjacency(&self, config: &Config) -> anyhow::Result<Arc<dyn AdjacencyStore>> {
        Ok(match config.adjacency.backend {
            AdjacencyBackend::Memory => Arc::new(MemoryAdjacencyStore::default()),
            AdjacencyBackend::Embedded => opened(self.embedded.as_ref())?.adjacency(),
            AdjacencyBackend::Redis => retrying(opened(self.redis.as_ref())?.adjacency()),
        })
    }

    /// Returns the fraud registry, without a copy of its list in this process. Its port must have been opened.
    ///
    /// # Errors
    /// It was not, or the list in force cannot be read.
    pub fn registry(&self, config: &Config) -> anyhow::Result<Arc<dyn FraudRegistry>> {
        let mode = config.screening.match_mode;
        Ok(match config.registry.backend {
            RegistryBackend::Memory => Arc::new(MemoryFraudRegistry::new(mode, Arc::new(SystemClock))),
            RegistryBackend::Embedded => opened(self.embedded.as_ref())?.registry(mode)?,
            RegistryBackend::Redis => retrying(opened(self.redis.as_ref())?.registry(mode)),
        })
    }

    /// Returns the parking lot, if there is to be one. Its port must have been opened.
    ///
    /// # Errors
    /// It was not, or the backend may not be used for this.
    pub async fn parking_lot(&self, config: &Config) -> anyhow::Result<Option<Arc<dyn ParkingLot>>> {
        let settings = &config.parking;
        let limits = LotLimits { parcels: settings.max_parcels, bytes: settings.max_bytes };
        Ok(Some(match settings.backend {
            ParkingBackend::None => return Ok(None),
            ParkingBackend::Memory => Arc::new(MemoryParkingLot::new(limits, Arc::new(SystemClock))),
            ParkingBackend::Embedded => opened(self.embedded.as_ref())?.parking_lot(limits)?,
            ParkingBackend::Redis => {
                let redis = opened(self.redis.as_ref())?;
                retrying(redis.parking_lot(limits).await?)
            }
        }))
    }

    /// Waits until a store takes no write any more, for which only a new start helps. Never ends when there is none such.
    pub fn broken(&self) -> impl Future<Output = ()> + Send + use<> {
        let broken = self.embedded.as_ref().map(embedded::Handle::broken);
        async {
            match broken {
                Some(broken) => broken.await,
                None => future::pending().await,
            }
        }
    }

    /// Writes out what is in memory, gives the embedded store's folder free, and ends the sessions at MongoDB. The ports
    /// must be dropped before.
    pub async fn close(self) {
        // Its driver would end them by itself, on a runtime that may be half gone by then.
        if let Some(mongodb) = self.mongodb {
            mongodb.close().await;
        }
        if let Some(embedded) = self.embedded {
            embedded.close().await;
        }
    }
}

async fn when<T>(needed: bool, open: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<Option<T>> {
    if needed { open.await.map(Some) } else { Ok(None) }
}

fn opened<T>(connection: Option<&T>) -> anyhow::Result<&T> {
    connection.context("the backend of this port is not open; this is a bug")
}

/// Makes the calls of a backend elsewhere again that failed in passing.
fn retrying<P: ?Sized>(port: Arc<P>) -> Arc<Retrying<P>> {
    Arc::new(Retrying::new(port, RetryPolicy::default(), random_seed()))
}

/// The stores that a worker needs, open.
#[derive(Debug)]
pub struct Backends {
    ports: Ports,
    list_copy: Option<ListCopy>,
    connections: Connections,
}

/// What a worker works on.
#[derive(Clone)]
pub struct Ports {
    /// Where events are kept.
    pub events: Arc<dyn EventStore>,
    /// Where links are kept.
    pub adjacency: Arc<dyn AdjacencyStore>,
    /// Where the fraud list in force is kept.
    pub registry: Arc<dyn FraudRegistry>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

impl Backends {
    /// Opens what the configuration asks for: the stores of a worker, and more ports on the same connections.
    ///
    /// # Errors
    /// A backend cannot be used.
    pub async fn open(config: &Config, more: &[Port]) -> anyhow::Result<Self> {
        let ports = [&[Port::Events, Port::Adjacency, Port::Registry], more].concat();
        let connections = Connections::open(config, &ports).await?;
        let registry = connections.registry(config)?;
        let (registry, list_copy) = match (config.registry.backend, config.registry.max_staleness) {
            (RegistryBackend::Redis, bound) if !bound.is_zero() => ListCopy::start(registry, config, bound),
            _ => (registry, None),
        };
        let (events, adjacency) = (connections.events(config)?, connections.adjacency(config)?);
        Ok(Self { ports: Ports { events, adjacency, registry }, list_copy, connections })
    }

    /// Returns the connections, for ports beyond those of a worker.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Returns what a worker works on.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Makes a worker on these stores, which screens whom the configuration says.
    #[must_use]
    pub fn worker(&self, config: &Config) -> Worker {
        let Ports { events, adjacency, registry } = &self.ports;
        Worker::new(Arc::clone(events), Arc::clone(adjacency), Arc::clone(registry))
            .with_parties(config.screening.parties)
    }

    /// Writes out what is in memory and gives everything free.
    pub async fn close(self) {
        let Self { ports, list_copy, connections } = self;
        if let Some(list_copy) = list_copy {
            list_copy.stop().await;
        }
        drop(ports);
        connections.close().await;
    }
}

/// The copy of the fraud list in this process, and the task that keeps it up to date.
#[derive(Debug)]
struct ListCopy {
    keeping: JoinHandle<()>,
    stop: CancellationToken,
}

impl ListCopy {
    fn start(
        registry: Arc<dyn FraudRegistry>,
        config: &Config,
        max_staleness: Duration,
    ) -> (Arc<dyn FraudRegistry>, Option<Self>) {
        let list = Arc::new(InProcessList::new(registry, config.screening.match_mode, max_staleness));
        let stop = CancellationToken::new();
        let (keeper, stopped) = (Arc::clone(&list), stop.clone());
        let keeping = tokio::spawn(async move { keeper.run(stopped).await });
        (list, Some(Self { keeping, stop }))
    }

    async fn stop(self) {
        self.stop.cancel();
        if self.keeping.await.is_err() {
            tracing::error!("the task that kept the copy of the fraud list ended by itself");
        }
    }
}

/// Returns the sources whose entries make up the fraud list; none for a configuration without any.
///
/// # Errors
/// The settings of S3 cannot be used.
pub async fn fraud_sources(config: &Config) -> anyhow::Result<Vec<Arc<dyn FraudSource>>> {
    let sources = &config.feeder.source;
    let needs_s3 = sources.iter().any(|source| matches!(source, FeedSource::S3 { .. }));
    let s3 = when(needs_s3, s3::open(&config.s3)).await?;
    let source = |source: &FeedSource| -> anyhow::Result<Arc<dyn FraudSource>> {
        Ok(match source {
            FeedSource::Bundled => Arc::new(BundledSource),
            FeedSource::File(path) => Arc::new(FileSource::new(path)),
            FeedSource::S3 { bucket, key } => opened(s3.as_ref())?.source(bucket, key)?,
        })
    };
    sources.iter().map(source).collect()
}
