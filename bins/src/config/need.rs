//! What some programs and commands need beyond a valid configuration.

use super::reader::Reader;
use super::{AdjacencyBackend, Config, RegistryBackend, StoreBackend};

/// What some programs and commands need beyond a valid configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A fraud source.
    Source,
    /// A fraud registry that other processes read.
    SharedRegistry,
    /// A fraud registry that outlives the process.
    LastingRegistry,
    /// An event store and an adjacency store that outlive the process.
    LastingStores,
    /// An event store, an adjacency store and a fraud registry that other processes use, too.
    SharedStores,
    /// No backend at all: what is chosen for other programs need not be built in.
    NoBackend,
    /// What a dispatcher has beside its workers: a parking lot and a long-term log.
    Dispatching,
    /// An address under which other processes reach this one over gRPC.
    Address,
}

impl Need {
    pub(super) fn check(self, config: &Config, reader: &mut Reader) {
        const LASTING: &str = "a backend that outlives its process, or there is nothing to look at";
        let Config { store, adjacency, registry, feeder, .. } = config;
        match self {
            Self::Source => {
                let expected = "at least one source to feed from";
                reader.demand("feeder.source", expected, !feeder.source.is_empty());
            }
            Self::SharedRegistry => shared_registry(config, reader),
            Self::LastingRegistry => {
                reader.demand("registry.backend", LASTING, registry.backend != RegistryBackend::Memory);
            }
            Self::LastingStores => {
                reader.demand("store.backend", LASTING, store.backend != StoreBackend::Memory);
                reader.demand("adjacency.backend", LASTING, adjacency.backend != AdjacencyBackend::Memory);
            }
            Self::SharedStores => {
                let expected =
                    "\"mongodb\", because no other worker reads events that are kept in this process";
                reader.demand("store.backend", expected, store.backend == StoreBackend::Mongodb);
                let expected = "\"redis\", because no other worker reads links that are kept in this process";
                reader.demand("adjacency.backend", expected, adjacency.backend == AdjacencyBackend::Redis);
                shared_registry(config, reader);
            }
            Self::NoBackend | Self::Dispatching => {}
            Self::Address => address(config, reader),
        }
    }
}

fn shared_registry(config: &Config, reader: &mut Reader) {
    let expected = "\"redis\", because no other process reads a list that is kept in this one";
    reader.demand("registry.backend", expected, config.registry.backend == RegistryBackend::Redis);
}

/// Nobody can dial an address that stands for all, so then another one has to be said.
fn address(config: &Config, reader: &mut Reader) {
    let Config { grpc, cluster, .. } = config;
    let listen = grpc.listen;
    let expected =
        format!("an address that dispatchers can dial, because {listen} (grpc.listen) stands for every one");
    reader.demand(
        "cluster.advertise",
        &expected,
        cluster.advertise.is_some() || !listen.ip().is_unspecified(),
    );
}
