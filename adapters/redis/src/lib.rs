#![doc = include_str!("../README.md")]

mod adjacency_store;
mod config;
mod connect;
mod connection;
mod durability;
mod entries;
mod error;
mod fraud_registry;
mod keys;
mod lists;
mod parking_lot;
mod place;
mod staging;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use adjacency_store::RedisAdjacencyStore;
pub use config::{DEFAULT_KEY_PREFIX, DEFAULT_STAGING_TTL, DEFAULT_TIMEOUT, RedisConfig};
pub use connect::Redis;
pub use error::ConnectError;
pub use fraud_registry::RedisFraudRegistry;
pub use parking_lot::RedisParkingLot;
