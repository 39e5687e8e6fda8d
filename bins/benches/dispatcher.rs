//! What the dispatcher itself costs: HTTP → dispatcher → gRPC → a worker that answers at once, beside a bare warp
//! filter that makes one tonic call of the same messages a request. Only the ratio means something.
//!
//! Both are under the same load, one event a request over 64 connections. Rounds alternate, medians are printed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark that fails says so by panicking, and reads its length from the environment"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_bins::http::{Api, HttpServer, HttpSettings};
use mini_platform_core::Dispatcher;
use mini_platform_core::dispatcher::{DispatcherConfig, P2cEwma};
use mini_platform_core::domain::{
    Etag, Event, EventBatch, EventScreening, Incarnation, IngestOutcome, ListVersion, NodeAddress, Recording,
    WorkerId,
};
use mini_platform_core::error::{FetchError, IngestError};
use mini_platform_core::port::{FetchAnswer, FetchQuery, WorkerNode};
use mini_platform_grpc::v1::worker_service_client::WorkerServiceClient;
use mini_platform_grpc::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use mini_platform_grpc::{ChannelSettings, GrpcServer, Identity, RemoteWorker, ServerSettings, Services, v1};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use warp::Filter;

#[path = "load/mod.rs"]
mod load;

use load::{Echoed, load, median};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
const ANY_PORT: &str = "127.0.0.1:0";

/// How long a round lasts, in milliseconds, unless `HTTP_BENCH_MS` says otherwise.
const ROUND_MS: u64 = 1_500;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (ours, bare) = runtime.block_on(async { (start_platform().await, start_bare().await) });
    let millis = std::env::var("HTTP_BENCH_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUND_MS);
    let round = Duration::from_millis(millis);
    let (mut our_rates, mut bare_rates, mut next_id) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        our_rates.push(load("requests", ours, "/v1/transactions", round, &mut next_id));
        bare_rates.push(load("requests", bare, "/hop", round, &mut next_id));
    }
    let (ours, bare) = (median(our_rates), median(bare_rates));
    println!("dispatcher → worker at once  {ours:>9.0} requests/s");
    println!("bare warp → tonic hop        {bare:>9.0} requests/s");
    println!("ratio                        {:>9.2}", ours / bare);
}

fn version() -> ListVersion {
    ListVersion::new("2026-01-31T08:00:00Z".parse().unwrap(), Etag::new("v1").unwrap())
}

/// Takes everything in at once and keeps nothing.
struct AtOnce(ListVersion);

#[async_trait]
impl WorkerNode for AtOnce {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        let clear = || EventScreening::Clear { version: self.0.clone() };
        let outcome = |event: &Event| {
            let occurred_at = event.occurred_at().timestamp();
            IngestOutcome::stored(clear(), Recording { occurred_at, recorded_at: occurred_at })
        };
        Ok(batch.events().iter().map(outcome).collect())
    }

    async fn fetch(&self, _: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        Ok(FetchAnswer::ListInForce(None))
    }
}

async fn start_platform() -> SocketAddr {
    let identity = Identity { id: WorkerId::new("w1").unwrap(), incarnation: Incarnation(1) };
    let services = Services::new().with_worker(Arc::new(AtOnce(version())), identity);
    let worker = GrpcServer::bind(ServerSettings::new(ANY_PORT.parse().unwrap()), services).await.unwrap();
    let address = NodeAddress::new(format!("http://{}", worker.local_addr())).unwrap();
    tokio::spawn(worker.run(CancellationToken::new()));
    let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(P2cEwma::new(1)));
    let node = RemoteWorker::new(&address, &ChannelSettings::default());
    dispatcher.add_member(WorkerId::new("w1").unwrap(), Arc::new(node));
    let listen = ANY_PORT.parse().unwrap();
    let settings = HttpSettings { listen, ..HttpSettings::new("CZK".parse().unwrap()) };
    let server = HttpServer::bind(settings, Api::new(dispatcher)).await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.run(CancellationToken::new()));
    addr
}

async fn start_bare() -> SocketAddr {
    let incoming = TcpIncoming::bind(ANY_PORT.parse().unwrap()).unwrap().with_nodelay(Some(true));
    let worker = incoming.local_addr().unwrap();
    let service = WorkerServiceServer::new(BareWorker((&version()).into()));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let channel = Endpoint::from_shared(format!("http://{worker}")).unwrap().connect().await.unwrap();
    let client = WorkerServiceClient::new(channel);
    let hop = warp::path!("hop").and(warp::post()).and(warp::body::json()).then(move |event: Echoed| {
        let client = client.clone();
        async move { warp::reply::json(&hop(client, event).await) }
    });
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(warp::serve(hop).incoming(listener).run());
    addr
}

/// Makes the call that a worker gets, and the answer that a client gets, without any rule.
async fn hop(mut client: WorkerServiceClient<Channel>, event: Echoed) -> serde_json::Value {
    let transaction = v1::Transaction { sender: event.sender, receiver: event.receiver };
    let message = v1::Event {
        id: event.id.clone(),
        amount_minor_units: event.amount,
        currency: event.currency,
        occurred_at: Some(v1::event::OccurredAt::GivenAtMicros(1_768_471_200_000_000)),
        details: Some(v1::event::Details::Transaction(transaction)),
    };
    let batch = Some(v1::EventBatch { events: vec![message] });
    let answer = client.ingest(v1::WorkerServiceIngestRequest { batch }).await.unwrap().into_inner();
    let result = answer.results.into_iter().next().expect("a result an event");
    let version = result.screening.unwrap().list_version.unwrap();
    serde_json::json!({
        "id": event.id,
        "outcome": "stored",
        "screening": {"list_version": version.etag, "verdict": "clear"},
    })
}

/// The same at the other end of the bare hop.
struct BareWorker(v1::ListVersion);

macro_rules! unused {
    ($($name:ident: $request:ident => $response:ident;)+) => {
        #[async_trait]
        impl WorkerService for BareWorker {
            async fn ingest(
                &self,
                request: Request<v1::WorkerServiceIngestRequest>,
            ) -> Result<Response<v1::WorkerServiceIngestResponse>, Status> {
                let events = request.into_inner().batch.unwrap_or_default().events;
                let verdict = v1::event_screening::Verdict::Clear(v1::event_screening::Clear {});
                let screening =
                    v1::EventScreening { list_version: Some(self.0.clone()), verdict: Some(verdict) };
                let recording = v1::Recording { occurred_at_micros: Some(1), recorded_at_micros: Some(1) };
                let result = v1::EventResult {
                    outcome: v1::Outcome::Stored.into(),
                    screening: Some(screening),
                    recording: Some(recording),
                };
                let results = vec![result; events.len()];
                Ok(Response::new(v1::WorkerServiceIngestResponse { results }))
            }

            $(async fn $name(&self, _: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                Err(Status::unimplemented("not measured"))
            })+
        }
    };
}

unused! {
    identify: IdentifyRequest => IdentifyResponse;
    fetch_transactions: FetchTransactionsRequest => FetchTransactionsResponse;
    fetch_operations: FetchOperationsRequest => FetchOperationsResponse;
    fetch_interactions: FetchInteractionsRequest => FetchInteractionsResponse;
    fetch_branches: FetchBranchesRequest => FetchBranchesResponse;
    fetch_client: FetchClientRequest => FetchClientResponse;
    fetch_event: FetchEventRequest => FetchEventResponse;
    fetch_fraud_list: FetchFraudListRequest => FetchFraudListResponse;
    check_name: CheckNameRequest => CheckNameResponse;
}
