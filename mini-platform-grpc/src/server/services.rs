//! What a server serves.

use std::fmt;
use std::sync::Arc;

use mini_platform_core::Dispatcher;
use mini_platform_core::port::{Membership, WorkerNode};
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic_reflection::server::Builder as Reflection;

use super::health::Health;
use super::settings::ServerSettings;
use crate::generated::DESCRIPTORS;
use crate::ingest::{self, IngestRules};
use crate::worker::{self, Identity};
use crate::{cluster, v1};

/// The name of the service that lists the services.
const REFLECTION: &str = tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME;

/// The longest question to it, in bytes: a few names.
const MAX_REFLECTION: usize = 16 << 10;

/// What a server serves, besides health and reflection.
#[derive(Clone, Default)]
pub struct Services {
    worker: Option<(Arc<dyn WorkerNode>, Identity)>,
    cluster: Option<Arc<dyn Membership>>,
    ingest: Option<(Dispatcher, IngestRules)>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services")
            .field("worker", &self.worker.as_ref().map(|(_, identity)| identity))
            .field("cluster", &self.cluster.is_some())
            .field("ingest", &self.ingest.is_some())
            .finish()
    }
}

impl Services {
    /// Serves nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a worker as `WorkerService`.
    #[must_use]
    pub fn with_worker(mut self, node: Arc<dyn WorkerNode>, identity: Identity) -> Self {
        self.worker = Some((node, identity));
        self
    }

    /// Serves a cluster that workers may join as `ClusterService`.
    #[must_use]
    pub fn with_cluster(mut self, membership: Arc<dyn Membership>) -> Self {
        self.cluster = Some(membership);
        self
    }

    /// Serves a dispatcher to submitters of many events as `IngestService`.
    #[must_use]
    pub fn with_ingest(mut self, dispatcher: Dispatcher, rules: IngestRules) -> Self {
        self.ingest = Some((dispatcher, rules));
        self
    }

    /// Makes what answers the requests. Streams end when `stopping` is cancelled.
    pub(super) async fn routes(
        self,
        settings: &ServerSettings,
        stopping: &CancellationToken,
    ) -> Result<(Routes, Health), tonic_reflection::server::Error> {
        let (mut health, health_service) = Health::new();
        let mut routes = RoutesBuilder::default();
        let mut reflection = Reflection::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(super::health::NAME)
            .with_service_name(REFLECTION);
        routes.add_service(health_service);
        if let Some((node, identity)) = self.worker {
            routes.add_service(worker::service(node, identity, settings.max_message));
            reflection = reflection.with_service_name(v1::worker_service_server::SERVICE_NAME);
            health.add(v1::worker_service_server::SERVICE_NAME).await;
        }
        if let Some(membership) = self.cluster {
            routes.add_service(cluster::service(membership));
            reflection = reflection.with_service_name(v1::cluster_service_server::SERVICE_NAME);
            health.add(v1::cluster_service_server::SERVICE_NAME).await;
        }
        if let Some((dispatcher, rules)) = self.ingest {
            routes.add_service(ingest::service(dispatcher, rules, settings, stopping.clone()));
            reflection = reflection.with_service_name(v1::ingest_service_server::SERVICE_NAME);
            health.add(v1::ingest_service_server::SERVICE_NAME).await;
        }
        routes.add_service(reflection.build_v1()?.max_decoding_message_size(MAX_REFLECTION));
        Ok((routes.routes().prepare(), health))
    }
}
