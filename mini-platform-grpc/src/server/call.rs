//! What a request asks for, as far as limits go.

use std::time::Duration;

use tonic_health::pb::health_server;
use tonic_reflection::pb::v1::server_reflection_server;

use crate::v1;

/// How long a request may take whose caller does not say: longer than anybody waits, and not for ever.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// The same for a request that keeps a cluster together: longer than a dispatcher needs to dial a worker that joins.
const LONGEST_CONTROL: Duration = Duration::from_secs(5);

/// Sets calls apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// It is work, and not one of the calls that keep a cluster together, which work must not keep out.
    pub(super) is_work: bool,
    /// It is answered for as long as the caller likes.
    pub(super) is_stream: bool,
    /// A worker answers it.
    pub(super) is_workers: bool,
}

impl Call {
    pub(super) fn of(path: &str) -> Self {
        let (service, call) =
            path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
        let (is_work, is_stream) = match service {
            v1::worker_service_server::SERVICE_NAME => (call != "Identify", false),
            v1::ingest_service_server::SERVICE_NAME => (true, call == "IngestStream"),
            health_server::SERVICE_NAME => (false, call == "Watch"),
            server_reflection_server::SERVICE_NAME => (false, true),
            _ => (false, false),
        };
        Self { is_work, is_stream, is_workers: service == v1::worker_service_server::SERVICE_NAME }
    }

    /// How long it may take until its answer begins, and until it ends if it is no stream.
    pub(super) fn longest(self) -> Duration {
        if self.is_work { LONGEST } else { LONGEST_CONTROL }
    }
}
