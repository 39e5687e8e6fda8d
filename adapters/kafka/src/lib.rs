#![doc = include_str!("../README.md")]

mod config;
mod connect;
mod error;
mod log_reader;
mod long_term_log;
mod producer;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use config::{DEFAULT_PARTITIONS, DEFAULT_TIMEOUT, DEFAULT_TOPIC, KafkaConfig};
pub use error::ConnectError;
pub use log_reader::KafkaLogReader;
pub use long_term_log::KafkaLog;
