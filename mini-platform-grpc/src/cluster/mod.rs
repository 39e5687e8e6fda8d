//! `ClusterService`: a dispatcher's cluster, served to workers or reached by one.

mod client;
mod server;

pub use client::ClusterClient;
pub(crate) use server::service;
