//! Programs of different versions understand each other: fields that one side does not know are passed over.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::StreamExt;
use http::uri::PathAndQuery;
use mini_platform_core::domain::{NodeAddress, Outcome, ProtocolVersion};
use mini_platform_core::error::{FaultKind, IngestError, Retry};
use mini_platform_core::port::{WorkerDialer, WorkerNode};
use mini_platform_core::testkit;
use mini_platform_grpc::{ChannelSettings, GrpcDialer, IngestClient, RemoteWorker, v1};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::{TestServer, address, batch, settings, soon, worker};

/// A request of a later version, with a field that nobody knows yet.
#[derive(Clone, PartialEq, prost::Message)]
struct LaterRequest {
    #[prost(message, optional, tag = "1")]
    batch: Option<v1::EventBatch>,
    #[prost(string, tag = "200")]
    later: String,
    #[prost(fixed64, tag = "201")]
    latest: u64,
}

/// The same of a response.
#[derive(Clone, PartialEq, prost::Message)]
struct LaterResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<LaterResult>,
    #[prost(string, tag = "200")]
    later: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LaterResult {
    #[prost(enumeration = "v1::Outcome", tag = "1")]
    outcome: i32,
    #[prost(message, optional, tag = "2")]
    screening: Option<v1::EventScreening>,
    #[prost(string, repeated, tag = "200")]
    later: Vec<String>,
}

fn later_results(count: usize) -> LaterResponse {
    let screening = v1::EventScreening {
        list_version: Some(v1::ListVersion { published_at_micros: Some(1), etag: "v1".to_owned() }),
        verdict: Some(v1::event_screening::Verdict::Clear(v1::event_screening::Clear {})),
    };
    let result = LaterResult {
        outcome: v1::Outcome::Stored.into(),
        screening: Some(screening),
        later: vec!["unknown".to_owned()],
    };
    LaterResponse { results: vec![result; count], later: "unknown".to_owned() }
}

#[tokio::test]
async fn a_later_dispatcher_works_with_this_worker() {
    let server = TestServer::of(worker().await, settings()).await;
    let channel = Channel::from_shared(format!("http://{}", server.addr)).unwrap().connect_lazy();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let request = LaterRequest { batch: Some((&batch("e1")).into()), later: "unknown".to_owned(), latest: 7 };
    let path = PathAndQuery::from_static("/mini_platform.v1.WorkerService/Ingest");
    let codec = ProstCodec::<LaterRequest, v1::WorkerServiceIngestResponse>::default();
    let response = client.unary(Request::new(request), path, codec).await.unwrap().into_inner();
    assert_eq!(response.results.len(), 1);
    assert_eq!(response.results[0].outcome(), v1::Outcome::Stored);
}

/// A worker of a later version, and of another protocol: it answers so many results, each with fields that nobody knows yet.
#[derive(Clone)]
struct LaterWorker {
    results: usize,
}

impl NamedService for LaterWorker {
    const NAME: &'static str = "mini_platform.v1.WorkerService";
}

impl UnaryService<v1::WorkerServiceIngestRequest> for LaterWorker {
    type Response = LaterResponse;
    type Future = Ready<Result<Response<LaterResponse>, Status>>;

    fn call(&mut self, _: Request<v1::WorkerServiceIngestRequest>) -> Self::Future {
        ready(Ok(Response::new(later_results(self.results))))
    }
}

impl UnaryService<v1::IdentifyRequest> for LaterWorker {
    type Response = v1::IdentifyResponse;
    type Future = Ready<Result<Response<v1::IdentifyResponse>, Status>>;

    fn call(&mut self, _: Request<v1::IdentifyRequest>) -> Self::Future {
        let protocol_version = ProtocolVersion::CURRENT.0 + 1;
        let worker_id = "later".to_owned();
        ready(Ok(Response::new(v1::IdentifyResponse { worker_id, incarnation: 1, protocol_version })))
    }
}

impl Service<http::Request<Body>> for LaterWorker {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path().ends_with("/Identify") {
                let codec = ProstCodec::<v1::IdentifyResponse, v1::IdentifyRequest>::default();
                return Ok(tonic::server::Grpc::new(codec).unary(service, request).await);
            }
            let codec = ProstCodec::<LaterResponse, v1::WorkerServiceIngestRequest>::default();
            Ok(tonic::server::Grpc::new(codec).unary(service, request).await)
        })
    }
}

/// Serves a worker that is not of this version.
async fn served<S>(worker: S) -> NodeAddress
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S: NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(Server::builder().add_service(worker).serve_with_incoming(incoming));
    address(addr)
}

/// Serves a later worker, and reaches it as this version does.
async fn reached(worker: LaterWorker) -> RemoteWorker {
    RemoteWorker::new(&served(worker).await, &ChannelSettings::default())
}

#[tokio::test]
async fn this_dispatcher_works_with_a_later_worker() {
    let outcomes = soon(reached(LaterWorker { results: 1 }).await.ingest(&batch("e1"))).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].outcome, Outcome::Stored);
}

#[tokio::test]
async fn a_worker_that_answers_for_more_or_fewer_events_is_not_believed() {
    let two = testkit::batch(["e1", "e2"].map(|id| testkit::transfer(id, "ann", "bob", 1)));
    for results in [0, 1, 3, 2000] {
        let error = soon(reached(LaterWorker { results }).await.ingest(&two)).await.unwrap_err();
        let IngestError::Fault(fault) = error else { panic!("{error:?}") };
        assert_eq!(fault.kind(), FaultKind::Corrupt, "{results} results for 2 events");
    }
}

/// A worker whose status has details that are none.
#[derive(Clone)]
struct Babbler;

impl NamedService for Babbler {
    const NAME: &'static str = "mini_platform.v1.WorkerService";
}

impl Service<http::Request<Body>> for Babbler {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let answer = http::Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "14")
            .header("grpc-status-details-bin", "!!!");
        ready(Ok(answer.body(Body::empty()).unwrap()))
    }
}

#[tokio::test]
async fn a_status_that_cannot_be_decoded_is_an_error_and_no_panic() {
    let address = served(Babbler).await;
    let error = soon(RemoteWorker::new(&address, &ChannelSettings::default()).ingest(&batch("e1"))).await;
    let Err(IngestError::Fault(fault)) = error else { panic!("{error:?}") };
    assert_eq!(fault.kind(), FaultKind::Corrupt);
}

/// A dispatcher with the same bug: at once, or after its first answer.
#[derive(Clone)]
struct BabblingDispatcher {
    answers: bool,
}

impl NamedService for BabblingDispatcher {
    const NAME: &'static str = "mini_platform.v1.IngestService";
}

impl Service<http::Request<Body>> for BabblingDispatcher {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !self.answers {
            return Babbler.call(request);
        }
        let answer = http::Response::builder().header("content-type", "application/grpc");
        ready(Ok(answer.body(Body::new(Babble { answered: false })).unwrap()))
    }
}

/// An empty answer, and a status that cannot be decoded.
struct Babble {
    answered: bool,
}

impl http_body::Body for Babble {
    type Data = tonic::codegen::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Infallible>>> {
        if !std::mem::replace(&mut self.answered, true) {
            return Poll::Ready(Some(Ok(http_body::Frame::data(vec![0; 5].into()))));
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "14".parse().unwrap());
        trailers.insert("grpc-status-details-bin", "!!!".parse().unwrap());
        Poll::Ready(Some(Ok(http_body::Frame::trailers(trailers))))
    }
}

#[tokio::test]
async fn a_status_of_a_stream_that_cannot_be_decoded_is_an_error_and_no_panic() {
    let stream = async |answers| {
        let address = served(BabblingDispatcher { answers }).await;
        let client = IngestClient::new(&address, &ChannelSettings::default());
        soon(client.stream(futures_util::stream::empty())).await
    };
    let Err(fault) = stream(false).await else { panic!("it does not begin") };
    assert_eq!(fault.kind(), FaultKind::Corrupt);
    let mut answers = stream(true).await.unwrap();
    soon(answers.next()).await.unwrap().unwrap();
    assert_eq!(soon(answers.next()).await.unwrap().unwrap_err().kind(), FaultKind::Corrupt);
    assert!(soon(answers.next()).await.is_none());
}

#[tokio::test]
async fn a_worker_that_speaks_another_protocol_is_not_dialled() {
    let address = served(LaterWorker { results: 1 }).await;
    let fault = soon(GrpcDialer::new(ChannelSettings::default()).dial(&address)).await.unwrap_err();
    assert_eq!((fault.kind(), fault.retry()), (FaultKind::Denied, Retry::Never));
    let cause = std::error::Error::source(&fault).unwrap().to_string();
    assert!(cause.contains("protocol 2"), "{cause}");
}
