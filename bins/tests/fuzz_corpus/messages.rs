//! One message of each kind, to start from.

use std::time::Duration;

use mini_platform_core::domain::{
    BranchLink, Epoch, EventFilter, EventQuery, EventScreening, Incarnation, IngestOutcome, Interaction,
    JoinToken, ListEntry, ListInfo, NeighbourQuery, NodeAddress, Page, PartyRole, ProtocolVersion, Recording,
    Screening, StoredEvent, TimeRange, Verdict, WorkerId,
};
use mini_platform_core::port::{
    ClientOverview, FetchAnswer, FetchQuery, HeartbeatAnswer, JoinAnswer, JoinRequest, MembershipLease,
};
use mini_platform_core::testkit::{
    at, batch, branch, client, deposit, id, list_version, transfer, untimed_transfer, withdrawal,
};
use mini_platform_grpc::convert::FetchRequest;
use mini_platform_grpc::v1;
use prost::Message;

/// Returns messages with their names, as bytes.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    [ingest(), requests(), responses(), membership()].concat()
}

fn ingest() -> Vec<(&'static str, Vec<u8>)> {
    let events = batch([
        transfer("t-1", "Ann", "Bob", 5),
        untimed_transfer("t-2", "Bob", "Zoë", 6),
        withdrawal("w-1", "Ann", "North", 7),
        deposit("d-1", "Ann", "Süd", -8),
    ]);
    let version = list_version(3);
    let entry = ListEntry::new("Bob \"Bo\"").unwrap();
    let recording = Recording { occurred_at: at(5), recorded_at: at(9) };
    let outcomes = [
        IngestOutcome::stored(EventScreening::Clear { version: version.clone() }, recording),
        IngestOutcome::duplicate(EventScreening::None { version: version.clone() }, None),
        IngestOutcome::fraudulent(EventScreening::Hit { version, party: PartyRole::Receiver, entry }),
    ];
    let submissions = v1::IngestRequest { events: events.events().iter().map(Into::into).collect() };
    vec![
        ("Event", v1::Event::from(&transfer("t-1", "Ann", "Bob", 5)).encode_to_vec()),
        ("EventBatch", v1::EventBatch::from(&events).encode_to_vec()),
        ("WorkerServiceIngestRequest", v1::WorkerServiceIngestRequest::from(&events).encode_to_vec()),
        ("WorkerServiceIngestResponse", v1::WorkerServiceIngestResponse::from(&outcomes[..]).encode_to_vec()),
        ("IngestRequest", submissions.encode_to_vec()),
    ]
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let stored = StoredEvent { event: transfer("t-1", "Ann", "Bob", 5), recorded_at: at(9) };
    let events = |filter| {
        let range = TimeRange { from: Some(at(1)), to: Some(at(9)) };
        let query = EventQuery::new(client("Ann"), filter).with_range(range);
        FetchQuery::Events(query.clone().with_token(&query.token_after(&stored)).unwrap())
    };
    let neighbours = || {
        let query = NeighbourQuery::new(client("Ann"));
        query.clone().with_token(&query.token_after("Bob")).unwrap()
    };
    let queries = [
        events(EventFilter::Sent),
        events(EventFilter::Withdrawals),
        FetchQuery::Interactions(neighbours()),
        FetchQuery::Branches(neighbours()),
        FetchQuery::Overview(client("Ann")),
        FetchQuery::Event(id("t-1")),
        FetchQuery::ListInForce,
        FetchQuery::Check(client("Zoë")),
    ];
    queries.iter().map(|query| request(&FetchRequest::asking(query).unwrap())).collect()
}

fn request(request: &FetchRequest) -> (&'static str, Vec<u8>) {
    match request {
        FetchRequest::Transactions(request) => ("FetchTransactionsRequest", request.encode_to_vec()),
        FetchRequest::Operations(request) => ("FetchOperationsRequest", request.encode_to_vec()),
        FetchRequest::Interactions(request) => ("FetchInteractionsRequest", request.encode_to_vec()),
        FetchRequest::Branches(request) => ("FetchBranchesRequest", request.encode_to_vec()),
        FetchRequest::Client(request) => ("FetchClientRequest", request.encode_to_vec()),
        FetchRequest::Event(request) => ("FetchEventRequest", request.encode_to_vec()),
        FetchRequest::FraudList(request) => ("FetchFraudListRequest", request.encode_to_vec()),
        FetchRequest::CheckName(request) => ("CheckNameRequest", request.encode_to_vec()),
        other => panic!("{other:?} is not sent"),
    }
}

fn response<M>(answer: &FetchAnswer) -> Vec<u8>
where
    M: Message + for<'a> TryFrom<&'a FetchAnswer>,
{
    M::try_from(answer).unwrap_or_else(|_| panic!("another response has this answer")).encode_to_vec()
}

fn responses() -> Vec<(&'static str, Vec<u8>)> {
    let overview = overview();
    let check = Screening {
        version: list_version(3),
        verdicts: vec![Verdict::Hit { entry: ListEntry::new("Bob").unwrap() }],
    };
    let list = ListInfo {
        version: list_version(3),
        entries: 12,
        source: "file:list.csv".to_owned(),
        loaded_at: at(4),
        confirmed_at: at(5),
    };
    let stored = overview.transactions.items.first().cloned().map(Box::new);
    let transactions = FetchAnswer::Events(overview.transactions.clone());
    let operations = FetchAnswer::Events(overview.operations.clone());
    let interactions = FetchAnswer::Interactions(overview.interactions.clone());
    let branches = FetchAnswer::Branches(overview.branches.clone());
    let list = FetchAnswer::ListInForce(Some(list));
    vec![
        ("FetchTransactionsResponse", response::<v1::FetchTransactionsResponse>(&transactions)),
        ("FetchOperationsResponse", response::<v1::FetchOperationsResponse>(&operations)),
        ("FetchInteractionsResponse", response::<v1::FetchInteractionsResponse>(&interactions)),
        ("FetchBranchesResponse", response::<v1::FetchBranchesResponse>(&branches)),
        (
            "FetchClientResponse",
            response::<v1::FetchClientResponse>(&FetchAnswer::Overview(Box::new(overview))),
        ),
        ("FetchEventResponse", response::<v1::FetchEventResponse>(&FetchAnswer::Event(stored))),
        ("FetchFraudListResponse", response::<v1::FetchFraudListResponse>(&list)),
        ("CheckNameResponse", response::<v1::CheckNameResponse>(&FetchAnswer::Check(check))),
    ]
}

fn overview() -> ClientOverview {
    let events = EventQuery::new(client("Ann"), EventFilter::Transactions);
    let neighbours = NeighbourQuery::new(client("Ann"));
    let transaction = StoredEvent { event: transfer("t-1", "Ann", "Bob", 5), recorded_at: at(9) };
    let operation = StoredEvent { event: withdrawal("w-1", "Ann", "North", 7), recorded_at: at(9) };
    let interaction = Interaction::new(client("Bob"), Some(at(5)), Some(at(6))).unwrap();
    let link = BranchLink { branch: branch("North"), last_at: at(7) };
    ClientOverview {
        transactions: Page { next: Some(events.token_after(&transaction)), items: vec![transaction] },
        operations: Page { items: vec![operation], next: None },
        interactions: Page { items: vec![interaction], next: Some(neighbours.token_after("Bob")) },
        branches: Page { items: vec![link], next: None },
    }
}

fn membership() -> Vec<(&'static str, Vec<u8>)> {
    let worker = WorkerId::new("w-1").unwrap();
    let join = JoinRequest {
        id: worker.clone(),
        address: NodeAddress::new("http://127.0.0.1:9082").unwrap(),
        incarnation: Incarnation(7),
        protocol: ProtocolVersion::CURRENT,
        token: JoinToken::new("token"),
    };
    let (ttl, heartbeat_interval) = (Duration::from_secs(5), Duration::from_secs(1));
    let joined = JoinAnswer::Joined(MembershipLease { epoch: Epoch(1), ttl, heartbeat_interval });
    vec![
        ("IdentifyResponse", v1::IdentifyResponse::from((&worker, Incarnation(7))).encode_to_vec()),
        ("JoinRequest", v1::JoinRequest::from(&join).encode_to_vec()),
        ("JoinResponse", v1::JoinResponse::from(&joined).encode_to_vec()),
        ("HeartbeatRequest", v1::HeartbeatRequest::from((&worker, Epoch(1))).encode_to_vec()),
        ("HeartbeatResponse", v1::HeartbeatResponse::from(HeartbeatAnswer::Renewed).encode_to_vec()),
        ("LeaveRequest", v1::LeaveRequest::from((&worker, Epoch(1))).encode_to_vec()),
    ]
}
