#![doc = include_str!("../README.md")]

mod body;
mod checksum;
mod config;
mod connect;
mod error;
mod fraud_source;
mod location;
mod object;

pub use config::{DEFAULT_TIMEOUT, S3Config};
pub use connect::S3Client;
pub use error::ConfigError;
pub use fraud_source::S3Source;
pub use location::{InvalidS3Location, S3Location};
