//! `WorkerService`: a worker, served to dispatchers or reached as one.

mod client;
mod server;

pub use client::RemoteWorker;
pub(crate) use server::service;

use mini_platform_core::domain::{Incarnation, WorkerId};

/// Who a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name in the cluster.
    pub id: WorkerId,
    /// Which run of it this is.
    pub incarnation: Incarnation,
}
