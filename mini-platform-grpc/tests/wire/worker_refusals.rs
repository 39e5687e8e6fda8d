//! What breaks a rule of the calls of a worker is refused by the name of its field.

use mini_platform_core::domain::{
    BranchLink, ClientId, EventBatch, EventFilter, EventQuery, Incarnation, IngestOutcome, Interaction,
    InvalidId, InvalidPage, ListInfo, MAX_BATCH, Page, ProtocolVersion, Screening, StoredEvent, Verdict,
    WorkerId,
};
use mini_platform_core::port::{FetchAnswer, FetchQuery};
use mini_platform_core::testkit::{at, batch, branch, client, list_version, transfer};
use mini_platform_grpc::convert::{FetchRequest, WrongAnswer};
use mini_platform_grpc::{Problem, v1};

use crate::refusals::each_is_refused;

fn transactions_request() -> v1::FetchTransactionsRequest {
    let query = EventQuery::new(client("ann"), EventFilter::Transactions);
    match FetchRequest::asking(&FetchQuery::Events(query)) {
        Some(FetchRequest::Transactions(request)) => request,
        other => panic!("expected a request for transactions, got {other:?}"),
    }
}

fn page_of(page: &mut Option<v1::PageRequest>) -> &mut v1::PageRequest {
    page.as_mut().unwrap()
}

#[test]
fn a_broken_query_for_transactions_is_refused() {
    each_is_refused::<v1::FetchTransactionsRequest, FetchQuery>(
        &transactions_request(),
        vec![
            (|asked| asked.client.clear(), "client", InvalidId::Empty.into()),
            (|asked| asked.direction = 3, "direction", Problem::UnknownEnumValue(3)),
            (
                |asked| asked.range = Some(v1::TimeRange { from_micros: Some(i64::MIN), to_micros: None }),
                "range.from_micros",
                Problem::Timestamp,
            ),
            (
                |asked| asked.range = Some(v1::TimeRange { from_micros: None, to_micros: Some(i64::MAX) }),
                "range.to_micros",
                Problem::Timestamp,
            ),
            (|asked| page_of(&mut asked.page).size = 1001, "page.size", InvalidPage::Size.into()),
            (|asked| page_of(&mut asked.page).size = u32::MAX, "page.size", InvalidPage::Size.into()),
            (|asked| page_of(&mut asked.page).token = "a".into(), "page.token", InvalidPage::Token.into()),
            (
                |asked| page_of(&mut asked.page).token = "a".repeat(1025),
                "page.token",
                InvalidPage::Token.into(),
            ),
        ],
    );
}

#[test]
fn a_token_of_another_query_is_refused() {
    let stored = StoredEvent { event: transfer("e1", "ann", "bob", 1), recorded_at: at(2) };
    let token = |name: &str| EventQuery::new(client(name), EventFilter::Transactions).token_after(&stored);
    for (name, taken) in [("ann", true), ("bob", false)] {
        let mut asked = transactions_request();
        page_of(&mut asked.page).token = token(name).as_str().to_owned();
        let query = FetchQuery::try_from(asked);
        assert_eq!(query.is_ok(), taken, "{query:?}");
    }
}

#[test]
fn what_a_query_leaves_out_has_a_default() {
    let asked = v1::FetchTransactionsRequest { client: "ann".to_owned(), ..Default::default() };
    let all = EventQuery::new(client("ann"), EventFilter::Transactions);
    assert_eq!(FetchQuery::try_from(asked), Ok(FetchQuery::Events(all)));
    let asked = v1::FetchOperationsRequest {
        client: "ann".to_owned(),
        page: Some(v1::PageRequest::default()),
        ..Default::default()
    };
    let all = EventQuery::new(client("ann"), EventFilter::Operations);
    assert_eq!(FetchQuery::try_from(asked), Ok(FetchQuery::Events(all)));
}

#[test]
fn the_other_broken_queries_are_refused() {
    each_is_refused::<v1::FetchOperationsRequest, FetchQuery>(
        &v1::FetchOperationsRequest { client: "ann".to_owned(), ..Default::default() },
        vec![
            (|asked| asked.client = " ann".into(), "client", InvalidId::OuterWhiteSpace.into()),
            (|asked| asked.operation = -1, "operation", Problem::UnknownEnumValue(-1)),
        ],
    );
    each_is_refused::<v1::FetchInteractionsRequest, FetchQuery>(
        &v1::FetchInteractionsRequest { client: "ann".to_owned(), page: Some(v1::PageRequest::default()) },
        vec![
            (|asked| asked.client.clear(), "client", InvalidId::Empty.into()),
            (|asked| page_of(&mut asked.page).size = 65_537, "page.size", InvalidPage::Size.into()),
            (|asked| page_of(&mut asked.page).token = "AQ".into(), "page.token", InvalidPage::Token.into()),
        ],
    );
    each_is_refused::<v1::FetchBranchesRequest, FetchQuery>(
        &v1::FetchBranchesRequest { client: "ann".to_owned(), page: Some(v1::PageRequest::default()) },
        vec![
            (|asked| asked.client.clear(), "client", InvalidId::Empty.into()),
            (|asked| page_of(&mut asked.page).token = "AQ".into(), "page.token", InvalidPage::Token.into()),
        ],
    );
    each_is_refused::<v1::FetchClientRequest, FetchQuery>(
        &v1::FetchClientRequest { client: "ann".to_owned() },
        vec![(|asked| asked.client = "a\n".into(), "client", InvalidId::ControlCharacter.into())],
    );
    each_is_refused::<v1::FetchEventRequest, FetchQuery>(
        &v1::FetchEventRequest { id: "e1".to_owned() },
        vec![(|asked| asked.id = "e 1".into(), "id", InvalidId::NotPrintableAscii.into())],
    );
    each_is_refused::<v1::CheckNameRequest, FetchQuery>(
        &v1::CheckNameRequest { name: "ann".to_owned() },
        vec![(|asked| asked.name.clear(), "name", InvalidId::Empty.into())],
    );
}

#[test]
fn a_broken_page_of_events_is_refused() {
    let stored = StoredEvent { event: transfer("e1", "ann", "bob", 1), recorded_at: at(2) };
    each_is_refused::<v1::EventPage, Page<StoredEvent>>(
        &(&Page { items: vec![stored], next: None }).into(),
        vec![
            (|page| page.events[0].event = None, "events[0].event", Problem::Missing),
            (
                |page| page.events.resize(1001, v1::StoredEvent::default()),
                "events",
                Problem::TooMany { max: 1000 },
            ),
            (|page| page.next_page_token = "a".repeat(1025), "next_page_token", InvalidPage::Token.into()),
        ],
    );
}

#[test]
fn a_broken_interaction_is_refused() {
    let interaction = Interaction::new(client("bob"), Some(at(1)), None).unwrap();
    each_is_refused::<v1::InteractionPage, Page<Interaction>>(
        &(&Page { items: vec![interaction], next: None }).into(),
        vec![
            (|page| page.interactions[0].client.clear(), "interactions[0].client", InvalidId::Empty.into()),
            (
                |page| page.interactions[0].sent_at_micros = None,
                "interactions[0].received_at_micros",
                Problem::NoTime,
            ),
            (
                |page| page.interactions[0].sent_at_micros = Some(i64::MAX),
                "interactions[0].sent_at_micros",
                Problem::Timestamp,
            ),
            (
                |page| page.interactions[0].received_at_micros = Some(i64::MIN),
                "interactions[0].received_at_micros",
                Problem::Timestamp,
            ),
        ],
    );
}

#[test]
fn a_broken_branch_link_is_refused() {
    let link = BranchLink { branch: branch("north"), last_at: at(1) };
    each_is_refused::<v1::BranchPage, Page<BranchLink>>(
        &(&Page { items: vec![link], next: None }).into(),
        vec![
            (|page| page.branches[0].branch.clear(), "branches[0].branch", InvalidId::Empty.into()),
            (|page| page.branches[0].last_at_micros = None, "branches[0].last_at_micros", Problem::Missing),
        ],
    );
}

#[test]
fn an_answer_without_its_page_is_refused() {
    let overview = v1::FetchClientResponse {
        transactions: Some(v1::EventPage::default()),
        operations: Some(v1::EventPage::default()),
        interactions: Some(v1::InteractionPage::default()),
        branches: Some(v1::BranchPage::default()),
    };
    each_is_refused::<v1::FetchClientResponse, FetchAnswer>(
        &overview,
        vec![
            (|answer| answer.transactions = None, "transactions", Problem::Missing),
            (|answer| answer.operations = None, "operations", Problem::Missing),
            (|answer| answer.interactions = None, "interactions", Problem::Missing),
            (|answer| answer.branches = None, "branches", Problem::Missing),
        ],
    );
    let missing = |answer: Result<FetchAnswer, mini_platform_grpc::ConvertError>| {
        let refused = answer.unwrap_err();
        assert_eq!((refused.field(), refused.problem()), ("page", &Problem::Missing));
    };
    missing(v1::FetchTransactionsResponse { page: None }.try_into());
    missing(v1::FetchOperationsResponse { page: None }.try_into());
    missing(v1::FetchInteractionsResponse { page: None }.try_into());
    missing(v1::FetchBranchesResponse { page: None }.try_into());
}

#[test]
fn a_broken_list_is_refused() {
    let list = ListInfo {
        version: list_version(1),
        entries: 3,
        source: "file:list.csv".to_owned(),
        loaded_at: at(2),
        confirmed_at: at(3),
    };
    each_is_refused::<v1::FraudListInfo, ListInfo>(
        &(&list).into(),
        vec![
            (|list| list.version = None, "version", Problem::Missing),
            (|list| list.source = "a".repeat(8193), "source", Problem::TextTooLong { max: 8192 }),
            (|list| list.loaded_at_micros = None, "loaded_at_micros", Problem::Missing),
            (|list| list.confirmed_at_micros = Some(i64::MAX), "confirmed_at_micros", Problem::Timestamp),
        ],
    );
}

#[test]
fn a_broken_verdict_on_a_name_is_refused() {
    let hit = v1::check_name_response::Hit { entry: String::new() };
    let message = v1::CheckNameResponse {
        list_version: Some((&list_version(1)).into()),
        verdict: Some(v1::check_name_response::Verdict::Hit(hit)),
    };
    let refused = Screening::try_from(message).unwrap_err();
    assert_eq!((refused.field(), refused.problem()), ("hit.entry", &InvalidId::Empty.into()));
    for verdicts in [vec![], vec![Verdict::Clear, Verdict::Clear]] {
        let several = v1::CheckNameResponse::from(&Screening { version: list_version(1), verdicts });
        let refused = Screening::try_from(several).unwrap_err();
        assert_eq!((refused.field(), refused.problem()), ("verdict", &Problem::Missing));
    }
}

#[test]
fn an_answer_to_another_query_is_not_sent() {
    let answer = FetchAnswer::ListInForce(None);
    assert_eq!(v1::FetchEventResponse::try_from(&answer), Err(WrongAnswer));
    assert_eq!(v1::FetchTransactionsResponse::try_from(&answer), Err(WrongAnswer));
    assert_eq!(v1::FetchFraudListResponse::try_from(&FetchAnswer::Event(None)), Err(WrongAnswer));
}

#[test]
fn broken_batches_and_results_are_refused() {
    each_is_refused::<v1::WorkerServiceIngestRequest, EventBatch>(
        &(&batch([transfer("e1", "ann", "bob", 1)])).into(),
        vec![
            (|request| request.batch = None, "batch", Problem::Missing),
            (
                |request| request.batch.as_mut().unwrap().events[0].id.clear(),
                "batch.events[0].id",
                InvalidId::Empty.into(),
            ),
        ],
    );
    each_is_refused::<v1::WorkerServiceIngestResponse, Vec<IngestOutcome>>(
        &v1::WorkerServiceIngestResponse::default(),
        vec![
            (
                |response| response.results.push(v1::EventResult::default()),
                "results[0].outcome",
                Problem::Unspecified,
            ),
            (
                |response| response.results.resize(MAX_BATCH + 1, v1::EventResult::default()),
                "results",
                Problem::TooMany { max: MAX_BATCH },
            ),
        ],
    );
}

#[test]
fn a_worker_that_does_not_say_who_it_is_is_refused() {
    each_is_refused::<v1::IdentifyResponse, (WorkerId, Incarnation, ProtocolVersion)>(
        &(&WorkerId::LOCAL, Incarnation(7)).into(),
        vec![
            (|answer| answer.worker_id.clear(), "worker_id", InvalidId::Empty.into()),
            (
                |answer| answer.worker_id = "a".repeat(129),
                "worker_id",
                InvalidId::TooLong { max: 128, actual: 129 }.into(),
            ),
            (|answer| answer.protocol_version = 0, "protocol_version", Problem::Zero),
        ],
    );
}

#[test]
fn a_refused_client_is_not_named() {
    let asked = v1::FetchClientRequest { client: " Ann Secret".to_owned() };
    let refused = FetchQuery::try_from(asked).unwrap_err();
    assert_eq!(refused.to_string(), "client: must not start or end with white space");
    assert!(!format!("{refused:?}").contains("Secret") && ClientId::new("Ann Secret").is_ok());
}
