//! From configuration to ports: the only file that names adapter crates.

use std::sync::Arc;

use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{AdjacencyStore, EventStore, FraudRegistry, FraudSource, SystemClock};
use mini_platform_file::FileSource;

use crate::bundled::BundledSource;
use crate::config::{Backend, Config, FeedSource};

/// The stores that a worker needs, open.
pub struct Backends {
    /// Where events are kept.
    pub events: Arc<dyn EventStore>,
    /// Where links are kept.
    pub adjacency: Arc<dyn AdjacencyStore>,
    /// Where the fraud list in force is kept.
    pub registry: Arc<dyn FraudRegistry>,
    embedded: embedded::Handle,
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backends").finish_non_exhaustive()
    }
}

impl Backends {
    /// Opens what the configuration asks for. Waits for the disk.
    ///
    /// # Errors
    /// A backend cannot be opened, or is not part of this build.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let chosen = [config.store.backend, config.adjacency.backend, config.registry.backend];
        let embedded = embedded::open(config, chosen.contains(&Backend::Embedded))?;
        Ok(Self {
            events: match config.store.backend {
                Backend::Memory => Arc::new(MemoryEventStore::default()),
                Backend::Embedded => embedded::event_store(&embedded)?,
            },
            adjacency: match config.adjacency.backend {
                Backend::Memory => Arc::new(MemoryAdjacencyStore::default()),
                Backend::Embedded => embedded::adjacency(&embedded)?,
            },
            registry: match config.registry.backend {
                Backend::Memory => {
                    Arc::new(MemoryFraudRegistry::new(config.screening.match_mode, Arc::new(SystemClock)))
                }
                Backend::Embedded => embedded::registry(&embedded, config.screening.match_mode)?,
            },
            embedded,
        })
    }

    /// Writes out what is in memory and gives the folder free.
    pub async fn close(self) {
        let Self { events, adjacency, registry, embedded } = self;
        drop((events, adjacency, registry));
        embedded::close(embedded).await;
    }
}

/// Returns the sources whose entries make up the fraud list.
#[must_use]
pub fn fraud_sources(config: &Config) -> Vec<Arc<dyn FraudSource>> {
    let source = |source: &FeedSource| -> Arc<dyn FraudSource> {
        match source {
            FeedSource::Bundled => Arc::new(BundledSource),
            FeedSource::File(path) => Arc::new(FileSource::new(path)),
        }
    };
    config.feeder.source.iter().map(source).collect()
}

#[cfg(feature = "embedded")]
mod embedded {
    use anyhow::Context;
    use mini_platform_core::domain::MatchMode;
    use mini_platform_embedded::{Embedded, EmbeddedConfig};

    use super::{AdjacencyStore, Arc, Config, EventStore, FraudRegistry};

    pub(super) type Handle = Option<Embedded>;

    pub(super) fn open(config: &Config, wanted: bool) -> anyhow::Result<Handle> {
        if !wanted {
            return Ok(None);
        }
        let settings = EmbeddedConfig::new(&config.embedded.dir).with_cache_bytes(config.embedded.cache);
        Ok(Some(Embedded::open(&settings)?))
    }

    fn opened(handle: &Handle) -> anyhow::Result<&Embedded> {
        handle.as_ref().context("the embedded store is not open")
    }

    pub(super) fn event_store(handle: &Handle) -> anyhow::Result<Arc<dyn EventStore>> {
        Ok(Arc::new(opened(handle)?.event_store()))
    }

    pub(super) fn adjacency(handle: &Handle) -> anyhow::Result<Arc<dyn AdjacencyStore>> {
        Ok(Arc::new(opened(handle)?.adjacency()))
    }

    pub(super) fn registry(handle: &Handle, mode: MatchMode) -> anyhow::Result<Arc<dyn FraudRegistry>> {
        Ok(Arc::new(opened(handle)?.registry(mode)?))
    }

    pub(super) async fn close(handle: Handle) {
        if let Some(embedded) = handle {
            embedded.close().await;
        }
    }
}

#[cfg(not(feature = "embedded"))]
mod embedded {
    use mini_platform_core::domain::MatchMode;

    use super::{AdjacencyStore, Arc, Config, EventStore, FraudRegistry};

    const MISSING: &str =
        "this build has no embedded store: choose another backend, or build with the feature `embedded`";

    pub(super) type Handle = ();

    pub(super) fn open(_: &Config, wanted: bool) -> anyhow::Result<Handle> {
        if wanted { Err(anyhow::anyhow!(MISSING)) } else { Ok(()) }
    }

    pub(super) fn event_store((): &Handle) -> anyhow::Result<Arc<dyn EventStore>> {
        Err(anyhow::anyhow!(MISSING))
    }

    pub(super) fn adjacency((): &Handle) -> anyhow::Result<Arc<dyn AdjacencyStore>> {
        Err(anyhow::anyhow!(MISSING))
    }

    pub(super) fn registry((): &Handle, _: MatchMode) -> anyhow::Result<Arc<dyn FraudRegistry>> {
        Err(anyhow::anyhow!(MISSING))
    }

    pub(super) async fn close((): Handle) {}
}
