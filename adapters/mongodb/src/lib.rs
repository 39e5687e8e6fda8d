#![doc = include_str!("../README.md")]

mod append;
mod config;
mod connect;
mod document;
mod error;
mod event_store;
mod index;
mod timeline;

#[cfg(feature = "testkit")]
pub mod testkit;

pub use config::{DEFAULT_MAX_POOL, DEFAULT_TIMEOUT, MongoConfig};
pub use error::{ConnectError, UriPart};
pub use event_store::MongoEventStore;
