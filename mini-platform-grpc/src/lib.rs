#![doc = include_str!("../README.md")]

mod channel;
mod cluster;
pub mod convert;
mod debug;
mod dialer;
pub mod generated;
mod ingest;
mod server;
mod status;
mod text;
mod worker;

pub use channel::ChannelSettings;
pub use cluster::ClusterClient;
pub use convert::{ConvertError, Problem};
pub use dialer::GrpcDialer;
pub use generated::v1;
pub use ingest::{IngestClient, IngestRules};
pub use server::{GrpcServer, ServerActivity, ServerSettings, Services};
pub use worker::{Identity, RemoteWorker};
