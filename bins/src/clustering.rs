//! From configuration to what dispatchers and workers are made of, for both programs.

use anyhow::Context;
use mini_platform_core::domain::JoinToken;
use mini_platform_grpc::{GrpcServer, ServerSettings, Services};

use crate::config::{ClusterConfig, GrpcConfig};

/// Listens for gRPC; nothing is served before the server runs.
///
/// # Errors
/// The address is taken.
pub(crate) async fn bind(config: &GrpcConfig, services: Services) -> anyhow::Result<GrpcServer> {
    let settings = ServerSettings::new(config.listen)
        .with_max_connections(config.max_connections)
        .with_max_in_flight(config.max_in_flight)
        .with_max_message(config.max_message)
        .with_shutdown_grace(config.shutdown_grace);
    GrpcServer::bind(settings, services)
        .await
        .with_context(|| format!("cannot listen on {} (grpc.listen)", config.listen))
}

/// Returns the secret of the cluster; an empty one when it has none.
pub(crate) fn token(config: &ClusterConfig) -> JoinToken {
    config.token.as_ref().map(|token| JoinToken::new(token.expose())).unwrap_or_default()
}
