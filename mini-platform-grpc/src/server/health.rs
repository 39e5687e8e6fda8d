//! Whether services are ready to be asked, for whoever watches.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The name of the service.
pub(super) const NAME: &str = tonic_health::pb::health_server::SERVICE_NAME;

/// The longest question, in bytes: a name of a service.
const MAX_MESSAGE: usize = 4 << 10;

/// The health of all services of a server: all serve, or none.
#[derive(Debug)]
pub(super) struct Health {
    reporter: HealthReporter,
    services: Vec<&'static str>,
}

impl Health {
    /// Makes the health of a server that serves, and the service that tells it.
    pub(super) fn new() -> (Self, HealthServer<HealthService>) {
        let reporter = HealthReporter::new();
        let service = HealthService::from_health_reporter(reporter.clone());
        let server = HealthServer::new(service).max_decoding_message_size(MAX_MESSAGE);
        (Self { reporter, services: vec![""] }, server)
    }

    /// Adds a service, which serves.
    pub(super) async fn add(&mut self, service: &'static str) {
        self.reporter.set_service_status(service, ServingStatus::Serving).await;
        self.services.push(service);
    }

    /// Tells everybody that nothing is served any more.
    pub(super) async fn stop(&self) {
        for service in &self.services {
            self.reporter.set_service_status(service, ServingStatus::NotServing).await;
        }
    }
}
