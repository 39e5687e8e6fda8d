#![doc = include_str!("../README.md")]

mod adjacency_store;
mod clients;
mod config;
mod connect;
mod error;
mod event_store;
mod folder;
mod fraud_registry;
mod group;
mod key;
mod lists;
mod newest;
mod parking_lot;
mod record;
mod shared;
mod store;
mod writer;

pub use adjacency_store::EmbeddedAdjacencyStore;
pub use config::{DEFAULT_CACHE_BYTES, EmbeddedConfig};
pub use connect::Embedded;
pub use error::OpenError;
pub use event_store::EmbeddedEventStore;
pub use fraud_registry::EmbeddedFraudRegistry;
pub use parking_lot::EmbeddedParkingLot;
