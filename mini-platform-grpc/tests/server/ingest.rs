//! Events over gRPC have the results that the dispatcher gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mini_platform_core::Dispatcher;
use mini_platform_core::dispatcher::{DispatcherConfig, RoundRobin};
use mini_platform_core::domain::{EventId, Timestamp, WorkerId};
use mini_platform_core::error::{FaultKind, Retry};
use mini_platform_core::port::{Clock, WorkerNode};
use mini_platform_core::testkit::{Fate, Faulty, ManualClock, deposit, transfer};
use mini_platform_grpc::v1::ingest_stream_response::Answer;
use mini_platform_grpc::v1::submission::Details;
use mini_platform_grpc::v1::submission_result::Answer as Result_;
use mini_platform_grpc::v1::{IngestStreamResponse, Submission, SubmissionResult};
use mini_platform_grpc::{ChannelSettings, IngestClient, IngestRules, ServerSettings, Services};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{
    AT_ONCE, FRAUDSTER, HeldWorker, TestServer, eventually, longest_event, settings, soon, worker,
};

const RECEIVED_AT: i64 = 1_700_000_000_000_000;

fn dispatcher(nodes: impl IntoIterator<Item = Arc<dyn WorkerNode>>) -> Dispatcher {
    let config = DispatcherConfig::default().with_timeout(Duration::from_secs(10));
    let dispatcher = Dispatcher::new(config, Arc::new(RoundRobin::default()));
    for (number, node) in nodes.into_iter().enumerate() {
        dispatcher.add_member(WorkerId::new(format!("w-{number}")).unwrap(), node);
    }
    dispatcher
}

async fn serve(dispatcher: Dispatcher) -> (TestServer, IngestClient) {
    serve_by(Arc::new(ManualClock::new(Timestamp::from_micros(RECEIVED_AT).unwrap())), dispatcher).await
}

async fn serve_by(clock: Arc<dyn Clock>, dispatcher: Dispatcher) -> (TestServer, IngestClient) {
    serve_with(settings(), clock, dispatcher).await
}

async fn serve_with(
    settings: ServerSettings,
    clock: Arc<dyn Clock>,
    dispatcher: Dispatcher,
) -> (TestServer, IngestClient) {
    let rules = IngestRules { default_currency: "CZK".parse().unwrap(), clock };
    let server = TestServer::start(settings, Services::new().with_ingest(dispatcher, rules)).await;
    let client = IngestClient::new(&server.address(), &ChannelSettings::default());
    (server, client)
}

async fn serve_worker(node: Arc<dyn WorkerNode>) -> (TestServer, IngestClient) {
    serve(dispatcher([node])).await
}

/// Submits a transfer of Ann's.
fn submission(id: &str, receiver: &str) -> Submission {
    (&transfer(if id.is_empty() { "no-id" } else { id }, "ann", receiver, 1)).into()
}

fn without_id(receiver: &str) -> Submission {
    Submission { id: String::new(), ..submission("", receiver) }
}

/// Says in short what became of a submission.
fn said(result: &SubmissionResult) -> String {
    let what = match result.answer.as_ref().unwrap() {
        Result_::Result(result) => format!("{:?}", result.outcome()),
        Result_::Rejection(rejection) => format!("{} {}", rejection.code, rejection.field),
        Result_::Parked(_) => "Parked".to_owned(),
    };
    format!("{}: {what}", result.id)
}

fn all_said(results: &[SubmissionResult]) -> Vec<String> {
    results.iter().map(said).collect()
}

#[tokio::test]
async fn each_submission_is_answered_in_its_place_and_none_harms_another() {
    let (_server, client) = serve_worker(worker().await).await;
    let mut no_amount = submission("no-amount", "bob");
    no_amount.amount_minor_units = 0;
    let nothing = Submission { id: "bad id".to_owned(), ..Submission::default() };
    let mut to_herself = submission("self", "bob");
    if let Some(Details::Transaction(transaction)) = &mut to_herself.details {
        transaction.receiver.clone_from(&transaction.sender);
    }
    let events = vec![
        submission("e1", "bob"),
        no_amount,
        submission("e1", "bob"),
        submission("e2", FRAUDSTER),
        nothing,
        submission("e1", "carl"),
        (&deposit("e3", "ann", "north", 1)).into(),
        to_herself,
    ];
    let results = client.ingest(events).await.unwrap();
    let said = all_said(&results);
    let expected = [
        "e1: Stored",
        "no-amount: invalid_field amount_minor_units",
        "e1: Duplicate",
        "e2: Fraudulent",
        ": invalid_field id",
        "e1: Conflict",
        "e3: Stored",
        "self: same_party transaction.receiver",
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn results_over_grpc_are_those_of_the_dispatcher() {
    let events: Vec<_> = (0..200)
        .map(|n| transfer(&format!("e{n}"), "ann", if n % 7 == 0 { FRAUDSTER } else { "bob" }, n))
        .collect();
    let batch = mini_platform_core::testkit::batch(events.clone());
    let direct = dispatcher([worker().await as _]).ingest(&batch).await.unwrap().finished().unwrap();
    let direct: Vec<_> = events
        .iter()
        .zip(&direct)
        .map(|(event, outcome)| mini_platform_grpc::convert::result_of(event.id(), outcome))
        .collect();

    let submissions: Vec<Submission> = events.iter().map(Into::into).collect();
    let (_server, client) = serve_worker(worker().await).await;
    assert_eq!(client.ingest(submissions.clone()).await.unwrap(), direct, "unary");

    let (_server, client) = serve_worker(worker().await).await;
    let chunks: Vec<_> = submissions.chunks(30).map(<[_]>::to_vec).collect();
    let answers: Vec<_> = client.stream(stream::iter(chunks)).await.unwrap().collect().await;
    let streamed: Vec<_> = answers.into_iter().flat_map(|answer| response(answer.unwrap())).collect();
    assert_eq!(streamed, direct, "stream");
}

fn response(answer: IngestStreamResponse) -> Vec<SubmissionResult> {
    match answer.answer.unwrap() {
        Answer::Response(response) => response.results,
        Answer::Failure(failure) => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn an_event_without_an_id_gets_one_of_its_time() {
    let (_server, client) = serve_worker(worker().await).await;
    let results = client.ingest(vec![without_id("bob"), without_id("bob")]).await.unwrap();
    let ids: Vec<uuid::Uuid> = results.iter().map(|result| result.id.parse().unwrap()).collect();
    assert_ne!(ids[0], ids[1]);
    for (id, result) in ids.iter().zip(&results) {
        assert_eq!(id.get_version_num(), 7);
        let (seconds, _) = id.get_timestamp().unwrap().to_unix();
        assert_eq!(i64::try_from(seconds).unwrap(), RECEIVED_AT / 1_000_000);
        assert!(said(result).ends_with(": Stored"), "{}", said(result));
        EventId::new(&result.id).unwrap();
    }
    let again = client.ingest(vec![Submission { id: results[0].id.clone(), ..without_id("bob") }]).await;
    assert!(said(&again.unwrap()[0]).ends_with(": Duplicate"), "the id is the event's from now on");
}

#[tokio::test]
async fn no_events_and_too_many_are_refused() {
    let (_server, client) = serve_worker(worker().await).await;
    for count in [0, 1025] {
        let events = (0..count).map(|n| submission(&format!("e{n}"), "bob")).collect();
        let fault = client.ingest(events).await.unwrap_err();
        assert_eq!((fault.kind(), fault.retry()), (FaultKind::Internal, Retry::Never), "{count}");
    }
    let most = (0..1024).map(|n| submission(&format!("e{n}"), "bob")).collect();
    assert_eq!(client.ingest(most).await.unwrap().len(), 1024);
}

#[tokio::test]
async fn the_longest_request_is_taken() {
    let (_server, client) = serve_worker(worker().await).await;
    let most: Vec<Submission> = (0..1024).map(|n| (&longest_event(n)).into()).collect();
    assert_eq!(client.ingest(most.clone()).await.unwrap().len(), 1024, "unary");
    let mut answers = client.stream(stream::iter([most])).await.unwrap();
    assert_eq!(response(soon(answers.next()).await.unwrap().unwrap()).len(), 1024, "stream");
}

#[tokio::test]
async fn as_many_repetitions_as_there_may_be_are_answered() {
    let (_server, client) = serve_worker(worker().await).await;
    let results = client.ingest(vec![submission("same", "bob"); 1024]).await.unwrap();
    assert_eq!(said(&results[0]), "same: Stored");
    assert!(results[1..].iter().all(|result| said(result) == "same: Duplicate"));
}

#[tokio::test]
async fn without_a_worker_a_request_fails_and_may_be_sent_again() {
    let (_server, client) = serve(dispatcher([])).await;
    let fault = client.ingest(vec![submission("e1", "bob")]).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    assert!(matches!(fault.retry(), Retry::After(_)), "{fault:?}");
}

/// A stream whose requests are sent one by one.
async fn open(
    client: &IngestClient,
) -> (
    mpsc::UnboundedSender<Vec<Submission>>,
    impl futures_core::Stream<Item = IngestStreamResponse> + Unpin + use<>,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let answers = client.stream(UnboundedReceiverStream::new(receiver)).await.unwrap();
    (sender, answers.map(Result::unwrap).boxed())
}

#[tokio::test]
async fn a_request_that_fails_is_answered_and_the_stream_goes_on() {
    let node =
        Faulty::new(worker().await as Arc<dyn WorkerNode>, [Fate::Pass, Fate::Fail(FaultKind::Internal)]);
    let (server, client) = serve_worker(Arc::new(node)).await;
    let (sender, mut answers) = open(&client).await;

    sender.send(vec![submission("e1", "bob")]).unwrap();
    assert_eq!(all_said(&response(soon(answers.next()).await.unwrap())), ["e1: Stored"]);

    sender.send(vec![submission("e2", "bob")]).unwrap();
    let Some(Answer::Failure(failure)) = soon(answers.next()).await.unwrap().answer else {
        panic!("the second request fails")
    };
    assert_eq!(failure.retry_after_millis, None, "{failure:?}");

    sender.send(Vec::new()).unwrap();
    let Some(Answer::Failure(failure)) = soon(answers.next()).await.unwrap().answer else {
        panic!("an empty request fails")
    };
    assert_eq!(failure.reason, "INVALID_MESSAGE");

    sender.send(vec![submission("e3", "bob"), submission("e1", "bob")]).unwrap();
    let results = response(soon(answers.next()).await.unwrap());
    assert_eq!(all_said(&results), ["e3: Stored", "e1: Duplicate"]);

    drop(sender);
    assert!(soon(answers.next()).await.is_none(), "the stream ends when the requests do");
    server.is_idle().await;
}

#[tokio::test]
async fn a_stream_has_a_few_requests_under_way_and_answers_in_order() {
    let node = HeldWorker::new().await;
    let (server, client) = serve_worker(node.clone()).await;
    let (sender, mut answers) = open(&client).await;
    for n in 0..10 {
        sender.send(vec![submission(&format!("e{n}"), "bob")]).unwrap();
    }
    eventually("four are under way", || node.entered() == 4).await;
    assert_eq!(server.activity.in_flight(), 1, "a stream is one request");
    for n in 0..10 {
        node.release.add_permits(1);
        let results = response(soon(answers.next()).await.unwrap());
        assert_eq!(all_said(&results), [format!("e{n}: Stored")]);
        assert!(node.entered() <= n + 5, "{} were begun, and {} finished", node.entered(), n + 1);
    }
    assert_eq!(node.entered(), 10);
}

#[tokio::test]
async fn requests_of_a_stream_that_share_an_id_are_taken_in_one_after_the_other() {
    let node = HeldWorker::new().await;
    let (_server, client) = serve_worker(node.clone()).await;
    let (sender, mut answers) = open(&client).await;
    sender.send(vec![submission("e1", "bob"), submission("e2", "bob")]).unwrap();
    sender.send(vec![submission("e0", "bob"), submission("e1", "carl")]).unwrap();
    sender.send(vec![submission("e3", "bob")]).unwrap();
    eventually("the first and the third are under way", || node.entered() == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(node.entered(), 2, "the second waits for the first");
    node.release.add_permits(3);
    for expected in [&["e1: Stored", "e2: Stored"][..], &["e0: Stored", "e1: Conflict"], &["e3: Stored"]] {
        assert_eq!(all_said(&response(soon(answers.next()).await.unwrap())), expected);
    }
}

/// Counts the requests that are taken in: each asks once for the time.
#[derive(Debug, Default)]
struct CountingClock(AtomicUsize);

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.0.fetch_add(1, Ordering::SeqCst);
        Timestamp::UNIX_EPOCH
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from() {
    const REQUESTS: usize = 100;
    let clock = Arc::new(CountingClock::default());
    let (_server, client) = serve_by(clock.clone(), dispatcher([])).await;
    // Rejections are the longest results.
    let requests = stream::iter(0..REQUESTS).map(|n| {
        (0..1024).map(|m| Submission { id: format!("e{n}-{m}"), ..Submission::default() }).collect()
    });
    let mut answers = client.stream(requests).await.unwrap();
    let taken_in = || clock.0.load(Ordering::SeqCst);
    eventually("some are taken in", || taken_in() > 4).await;
    let mut before = usize::MAX;
    while taken_in() != before {
        before = taken_in();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(before < REQUESTS / 2, "{before} requests were taken in, and no answer was read");
    let mut read = 0;
    while let Some(answer) = soon(answers.next()).await {
        assert_eq!(response(answer.unwrap()).len(), 1024);
        read += 1;
    }
    assert_eq!((read, taken_in()), (REQUESTS, REQUESTS), "all are answered to a client that reads");
}

#[tokio::test]
async fn a_stream_ends_with_its_server_after_what_it_had_read() {
    let node = HeldWorker::new().await;
    let (mut server, client) = serve_worker(node.clone()).await;
    let (sender, mut answers) = open(&client).await;
    sender.send(vec![submission("e1", "bob")]).unwrap();
    eventually("it is under way", || node.entered() == 1).await;
    server.stop.cancel();
    node.release.add_permits(1);
    assert_eq!(all_said(&response(soon(answers.next()).await.unwrap())), ["e1: Stored"]);
    assert!(soon(answers.next()).await.is_none(), "it ends without an error");
    soon(&mut server.run).await.unwrap();
}

#[tokio::test]
async fn a_stream_whose_client_is_gone_ends_and_its_work_is_finished() {
    let node = HeldWorker::new().await;
    let (server, client) = serve_worker(node.clone()).await;
    let (sender, answers) = open(&client).await;
    sender.send(vec![submission("e1", "bob")]).unwrap();
    eventually("it is under way", || node.entered() == 1).await;
    let start = Instant::now();
    drop((sender, answers));
    server.is_idle().await;
    assert!(start.elapsed() < AT_ONCE, "not only when its time is up: {:?}", start.elapsed());
    assert_eq!(node.left(), 0, "what may be stored is not dropped half-way: it has to be logged");
    node.release.add_permits(1);
    eventually("the work is finished", || node.left() == 1).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_deadline() {
    let node = HeldWorker::new().await;
    let (server, client) = serve_worker(node.clone()).await;
    let (sender, receiver) = mpsc::unbounded_channel();
    let limit = Duration::from_millis(300);
    let open = client.stream(UnboundedReceiverStream::new(receiver));
    let mut answers = mini_platform_core::deadline::within(limit, open).await.unwrap().unwrap();
    sender.send(vec![submission("e1", "bob")]).unwrap();
    let fault = soon(answers.next()).await.unwrap().unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Timeout, "{fault:?}");
    assert!(soon(answers.next()).await.is_none());
    server.is_idle().await;
    eventually("the work is dropped", || node.left() == node.entered()).await;
}

/// Streams may be silent for a second.
async fn serve_impatiently(node: Arc<dyn WorkerNode>) -> (TestServer, IngestClient) {
    let limits = settings().with_idle_timeout(Duration::from_secs(1));
    serve_with(limits, Arc::new(CountingClock::default()), dispatcher([node])).await
}

#[tokio::test]
async fn a_stream_that_says_nothing_ends_and_says_why() {
    let (server, client) = serve_impatiently(worker().await).await;
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut answers = client.stream(UnboundedReceiverStream::new(receiver)).await.unwrap();
    sender.send(vec![submission("e1", "bob")]).unwrap();
    assert_eq!(response(soon(answers.next()).await.unwrap().unwrap()).len(), 1);
    let fault = soon(answers.next()).await.unwrap().unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault:?}");
    assert!(matches!(fault.retry(), Retry::After(_)), "{fault:?}");
    assert!(soon(answers.next()).await.is_none());
    server.is_idle().await;
    assert_eq!(server.activity.connections(), 1, "other calls of the connection go on");
}

#[tokio::test]
async fn a_stream_that_waits_for_its_answer_may_be_silent() {
    let node = HeldWorker::new().await;
    let (_server, client) = serve_impatiently(node.clone()).await;
    let (sender, mut answers) = open(&client).await;
    sender.send(vec![submission("e1", "bob")]).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.release.add_permits(2);
    assert_eq!(all_said(&response(soon(answers.next()).await.unwrap())), ["e1: Stored"]);
    sender.send(vec![submission("e2", "bob")]).unwrap();
    assert_eq!(all_said(&response(soon(answers.next()).await.unwrap())), ["e2: Stored"]);
}

#[tokio::test]
async fn who_does_not_read_the_answers_of_a_stream_is_cut_off() {
    let (server, client) = serve_impatiently(worker().await).await;
    let requests = stream::iter(0..100).map(|n| {
        (0..1024).map(|m| Submission { id: format!("e{n}-{m}"), ..Submission::default() }).collect()
    });
    let mut answers = client.stream(requests).await.unwrap();
    server.is_deserted().await;
    let mut ended = false;
    while let Some(answer) = soon(answers.next()).await {
        ended |= answer.is_err();
    }
    assert!(ended, "the client learns of it");
}

/// A clock with a bug.
#[derive(Debug)]
struct PanickingClock;

impl Clock for PanickingClock {
    fn now(&self) -> Timestamp {
        panic!("as expected by the test")
    }
}

#[tokio::test]
async fn a_panic_of_the_dispatcher_is_its_failure() {
    let (_server, client) = serve_by(Arc::new(PanickingClock), dispatcher([])).await;
    let (sender, mut answers) = open(&client).await;
    sender.send(vec![submission("e1", "bob")]).unwrap();
    let Some(Answer::Failure(failure)) = soon(answers.next()).await.unwrap().answer else {
        panic!("it fails")
    };
    assert_eq!((failure.reason.as_str(), failure.retry_after_millis), ("DISPATCHER_FAILED", None));
}
