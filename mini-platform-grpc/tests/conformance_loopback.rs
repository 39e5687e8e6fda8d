//! What is reached over gRPC passes the whole suite of its port: nobody can tell a far worker or dispatcher from a
//! near one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use mini_platform_core::Worker;
use mini_platform_core::domain::{Incarnation, NodeAddress, WorkerId};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{FraudRegistry, WorkerNode};
use mini_platform_core::testkit::membership::MembershipStage;
use mini_platform_core::testkit::{Fixture, fraud_list, worker_node::FRAUDSTERS};
use mini_platform_grpc::{
    ChannelSettings, ClusterClient, GrpcServer, Identity, RemoteWorker, ServerSettings, Services,
};
use tokio_util::sync::{CancellationToken, DropGuard};

async fn worker() -> Fixture<dyn WorkerNode> {
    let registry = Arc::new(MemoryFraudRegistry::default());
    registry.replace(fraud_list(1, &FRAUDSTERS)).await.unwrap();
    let events = Arc::new(MemoryEventStore::default());
    let near = Arc::new(Worker::new(events, Arc::new(MemoryAdjacencyStore::default()), registry));

    let identity = Identity { id: WorkerId::new("w-1").unwrap(), incarnation: Incarnation(1) };
    let (address, stop) = serve(Services::new().with_worker(near, identity)).await;
    let far = RemoteWorker::new(&address, &ChannelSettings::default());
    Fixture::with_guard(Arc::new(far), stop)
}

async fn membership() -> Fixture<MembershipStage> {
    let near = MembershipStage::default();
    let (address, stop) = serve(Services::new().with_cluster(Arc::new(near.cluster.clone()))).await;
    let far = ClusterClient::new(&address, &ChannelSettings::default());
    Fixture::with_guard(Arc::new(near.reached_through(Arc::new(far))), stop)
}

/// Serves until the guard is dropped.
async fn serve(services: Services) -> (NodeAddress, DropGuard) {
    let settings = ServerSettings::new("127.0.0.1:0".parse().unwrap());
    let server = GrpcServer::bind(settings, services).await.unwrap();
    let address = NodeAddress::new(format!("http://{}", server.local_addr())).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    (address, stop.drop_guard())
}

mini_platform_core::worker_node_conformance!(worker());
mini_platform_core::membership_conformance!(membership());
