//! A worker inside of your own program: your stores, our pipeline, served over gRPC to a dispatcher that it joins.
//!
//! To make the example whole, its dispatcher runs in the same process; in life it is `mini-platform-dispatcher`.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{ClusterConfig, Dispatcher, DispatcherConfig, P2cEwma};
use mini_platform_core::domain::{Epoch, Event, EventBatch, Incarnation, ListEntry, OccurredAt, Timestamp};
use mini_platform_core::domain::{JoinToken, NodeAddress, ProtocolVersion, WorkerId};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{FraudList, FraudRegistry, JoinRequest};
use mini_platform_core::worker::Attendance;
use mini_platform_grpc::{
    ChannelSettings, ClusterClient, GrpcDialer, GrpcServer, Identity, ServerSettings, Services,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What you write: a worker on your stores that belongs to the cluster of a dispatcher until it is told to stop.
async fn run_worker(dispatcher: &NodeAddress, stop: CancellationToken) -> Result<JoinHandle<()>> {
    let registry = Arc::new(MemoryFraudRegistry::default());
    registry.replace(list_of(&["Mallory Mole"])?).await?;
    let stores = (Arc::new(MemoryEventStore::default()), Arc::new(MemoryAdjacencyStore::default()));
    let worker = Worker::new(stores.0, stores.1, registry);

    // First serve, then join: the dispatcher dials back before it lets anybody in.
    let identity = Identity { id: WorkerId::new("embedded-worker")?, incarnation: Incarnation(42) };
    let services = Services::new().with_worker(Arc::new(worker), identity.clone());
    let server = GrpcServer::bind(ServerSettings::new(ANY_PORT), services).await?;
    let request = JoinRequest {
        id: identity.id,
        address: NodeAddress::new(format!("http://{}", server.local_addr()))?,
        incarnation: identity.incarnation,
        protocol: ProtocolVersion::CURRENT,
        token: JoinToken::default(),
    };
    let membership = ClusterClient::new(dispatcher, &ChannelSettings::default());
    let attendance = Attendance::new(Arc::new(membership), request, 1);
    Ok(tokio::spawn(async move {
        let serving_ends = CancellationToken::new();
        let serving = tokio::spawn(server.run(serving_ends.clone()));
        // Leave first, so that nothing new comes; then finish what is held.
        attendance.run(stop).await;
        serving_ends.cancel();
        let _ = serving.await;
    }))
}

#[tokio::main]
async fn main() -> Result<()> {
    let (stop, worker_stop) = (CancellationToken::new(), CancellationToken::new());
    let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(P2cEwma::new(1)));
    let dialer = Arc::new(GrpcDialer::new(ChannelSettings::default()));
    let membership = dispatcher.membership(ClusterConfig::default(), dialer, Epoch(1));
    let services = Services::new().with_cluster(Arc::new(membership.clone()));
    let server = GrpcServer::bind(ServerSettings::new(ANY_PORT), services).await?;
    let address = NodeAddress::new(format!("http://{}", server.local_addr()))?;
    let serving = tokio::spawn(server.run(stop.clone()));

    let working = run_worker(&address, worker_stop.clone()).await?;
    while dispatcher.workers().is_empty() || dispatcher.view().members().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let batch = EventBatch::new(vec![pay("e1", "Bob")?, pay("e2", "Mallory Mole")?])?;
    // This dispatcher has no parking lot, so what it takes in is finished.
    let outcomes = dispatcher.ingest(&batch).await?.finished().unwrap_or_default();
    for (event, finished) in batch.events().iter().zip(outcomes) {
        println!("{}: {}", event.id(), finished.outcome.as_str());
    }
    worker_stop.cancel();
    working.await?;
    stop.cancel();
    serving.await?;
    Ok(())
}

fn list_of(names: &[&str]) -> Result<FraudList> {
    let entries = names.iter().map(ListEntry::new).collect::<std::result::Result<Vec<_>, _>>()?;
    let chunks = Box::pin(futures_util::stream::iter([Ok(entries)]));
    Ok(FraudList { version: "2026-01-31T08:00:00Z_first".parse()?, source: "example".to_owned(), chunks })
}

fn pay(id: &str, receiver: &str) -> Result<Event> {
    let now = OccurredAt::Given("2026-02-01T12:00:00Z".parse::<Timestamp>()?);
    let (amount, currency) = (1_250.try_into()?, "EUR".parse()?);
    Ok(Event::transaction(id.parse()?, "Ann".parse()?, receiver.parse()?, amount, currency, now)?)
}
