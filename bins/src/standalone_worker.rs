//! A worker in a process of its own: it serves over gRPC, and joins the clusters of dispatchers.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use futures_util::future::join_all;
use mini_platform_core::domain::{Incarnation, NodeAddress, ProtocolVersion, WorkerId};
use mini_platform_core::port::JoinRequest;
use mini_platform_core::worker::Attendance;
use mini_platform_grpc::{ChannelSettings, ClusterClient, GrpcServer, Identity, Services};
use tokio_util::sync::CancellationToken;

use crate::backend::Backends;
use crate::config::{ClusterConfig, Config, Misconfigured};
use crate::http::{HttpServer, WorkerApi};
use crate::random::random_seed;
use crate::telemetry::Metrics;
use crate::{clustering, lifecycle};

/// A worker that listens but does not serve yet, and is no member of any cluster.
#[derive(Debug)]
pub struct StandaloneWorker {
    backends: Backends,
    attendances: Vec<Attendance>,
    grpc: GrpcServer,
    probes: HttpServer,
    identity: Identity,
    address: NodeAddress,
    metrics: Metrics,
    stop: CancellationToken,
}

impl StandaloneWorker {
    /// Opens the stores and binds the addresses; nothing is served before [`StandaloneWorker::run`].
    ///
    /// # Errors
    /// A backend cannot be used, or an address is taken.
    pub async fn start(config: &Config, metrics: Metrics, stop: CancellationToken) -> anyhow::Result<Self> {
        let identity = identity(config)?;
        let backends = Backends::open(config, &[]).await?;
        let worker = Arc::new(backends.worker(config));
        let services = Services::new().with_worker(worker, identity.clone());
        let grpc = clustering::bind(&config.grpc, services).await?;
        let address = advertised(&config.cluster, grpc.local_addr())?;
        let attendances = attendances(&config.cluster, &identity, &address);
        let registry = Arc::clone(&backends.ports().registry);
        let memberships = attendances.iter().map(Attendance::is_member).collect();
        let api = WorkerApi::new(registry, memberships, metrics.clone(), stop.clone());
        let listen = config.worker.listen;
        let probes = HttpServer::bind_worker(listen, api)
            .await
            .with_context(|| format!("cannot listen on {listen} (worker.listen)"))?;
        Ok(Self { backends, attendances, grpc, probes, identity, address, metrics, stop })
    }

    /// Returns the name of the worker in its clusters.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.identity.id
    }

    /// Returns the address that gRPC is served on.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc.local_addr()
    }

    /// Returns the address that dispatchers are told to dial.
    #[must_use]
    pub fn advertised(&self) -> &NodeAddress {
        &self.address
    }

    /// Returns the address that the probes and metrics are served on.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.probes.local_addr()
    }

    /// Serves and is a member until it is told to stop; then leaves, finishes what it holds and closes the stores.
    ///
    /// # Errors
    /// A part of it ended by itself.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { backends, attendances, grpc, probes, metrics, stop, .. } = self;
        let (serving, probing) = (CancellationToken::new(), CancellationToken::new());
        let keeping_up = tokio::spawn(metrics.keep_up(stop.clone()));
        let probes = lifecycle::spawn_part(&stop, probes.run(probing.clone()));
        let grpc = lifecycle::spawn_part(&stop, grpc.run(serving.clone()));
        let attend = |attendance: Attendance| lifecycle::spawn_part(&stop, attendance.run(stop.clone()));
        let attending: Vec<_> = attendances.into_iter().map(attend).collect();
        stop.cancelled().await;
        // Dispatchers send nothing more before the worker refuses anything.
        let left: Result<Vec<()>, _> = join_all(attending).await.into_iter().collect();
        serving.cancel();
        let grpc = grpc.await.context("the gRPC server ended by itself");
        let kept_up = keeping_up.await.context("the upkeep of metrics ended by itself");
        backends.close().await;
        probing.cancel();
        let probes = probes.await.context("the server of probes ended by itself");
        left.context("a membership ended by itself")?;
        grpc.and(probes).and(kept_up)
    }
}

/// Says who this run of the worker is.
fn identity(config: &Config) -> anyhow::Result<Identity> {
    let Config { grpc, cluster, .. } = config;
    let run = random_seed();
    let id = match (&cluster.worker_id, &cluster.advertise) {
        (Some(id), _) => id.clone(),
        (None, Some(address)) => worker_id(address.as_str().trim_start_matches("http://"))?,
        (None, None) if grpc.listen.port() == 0 => worker_id(&format!("{}-{run:016x}", grpc.listen.ip()))?,
        (None, None) => worker_id(&grpc.listen.to_string())?,
    };
    Ok(Identity { id, incarnation: Incarnation(run) })
}

fn worker_id(text: &str) -> anyhow::Result<WorkerId> {
    let id = WorkerId::new(text).map_err(|rule| Misconfigured::new("cluster", rule));
    id.context("the address cannot be the name of the worker; set cluster.worker_id")
}

/// Returns the address that dispatchers are told to dial.
fn advertised(config: &ClusterConfig, bound: SocketAddr) -> anyhow::Result<NodeAddress> {
    if let Some(address) = &config.advertise {
        return Ok(address.clone());
    }
    let address =
        NodeAddress::new(format!("http://{bound}")).map_err(|rule| Misconfigured::new("cluster", rule));
    address.context("dispatchers cannot dial the address that is listened on; set cluster.advertise")
}

/// Makes one membership for each dispatcher; none has begun.
fn attendances(config: &ClusterConfig, identity: &Identity, address: &NodeAddress) -> Vec<Attendance> {
    let request = JoinRequest {
        id: identity.id.clone(),
        address: address.clone(),
        incarnation: identity.incarnation,
        protocol: ProtocolVersion::CURRENT,
        token: clustering::token(config),
    };
    let attendance = |dispatcher: &NodeAddress| {
        let client = ClusterClient::new(dispatcher, &ChannelSettings::default());
        Attendance::new(Arc::new(client), request.clone(), random_seed()).with_name(dispatcher.as_str())
    };
    config.join.iter().map(attendance).collect()
}
