//! Reads.

use http::StatusCode;
use mini_platform_core::domain::{ClientId, EventFilter, EventId, EventQuery, NeighbourQuery};
use mini_platform_core::port::{FetchAnswer, FetchQuery};

use super::problem::{Code, Problem};
use super::query::{Parameters, path_part};
use super::render::{
    self, BranchJson, CheckJson, EventJson, InteractionJson, ListJson, OverviewJson, PageJson,
};
use super::routes::Answer;
use super::state::State;

/// What is asked of a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum ClientRead {
    Overview,
    Transactions,
    Operations,
    Interactions,
    Branches,
}

const DIRECTIONS: &[(&str, EventFilter)] =
    &[("any", EventFilter::Transactions), ("sent", EventFilter::Sent), ("received", EventFilter::Received)];

const OPERATIONS: &[(&str, EventFilter)] =
    &[("deposit", EventFilter::Deposits), ("withdraw", EventFilter::Withdrawals)];

/// Answers one read about a client.
pub(super) async fn client(state: &State, client: &str, what: ClientRead, query: &str) -> Answer {
    let client: ClientId = path_part("client", client)?;
    let asked = match what {
        ClientRead::Overview => {
            Parameters::none(query)?;
            FetchQuery::Overview(client.clone())
        }
        ClientRead::Transactions => {
            let known = &["direction", "from", "to", "limit", "page_token"];
            let parameters = Parameters::parse(query, known)?;
            let filter = parameters.choice("direction", DIRECTIONS, EventFilter::Transactions)?;
            event_query(client.clone(), filter, &parameters)?
        }
        ClientRead::Operations => {
            let known = &["operation", "from", "to", "limit", "page_token"];
            let parameters = Parameters::parse(query, known)?;
            let filter = parameters.choice("operation", OPERATIONS, EventFilter::Operations)?;
            event_query(client.clone(), filter, &parameters)?
        }
        ClientRead::Interactions => FetchQuery::Interactions(neighbour_query(client.clone(), query)?),
        ClientRead::Branches => FetchQuery::Branches(neighbour_query(client.clone(), query)?),
    };
    rendered(&client, fetch(state, &asked).await?)
}

fn event_query(
    client: ClientId,
    filter: EventFilter,
    parameters: &Parameters,
) -> Result<FetchQuery, Problem> {
    let query = EventQuery::new(client, filter)
        .with_range(parameters.time_range()?)
        .with_size(parameters.page_size()?);
    Ok(FetchQuery::Events(match parameters.page_token()? {
        Some(token) => query.with_token(&token).map_err(|rule| Problem::parameter("page_token", rule))?,
        None => query,
    }))
}

fn neighbour_query(client: ClientId, query: &str) -> Result<NeighbourQuery, Problem> {
    let parameters = Parameters::parse(query, &["limit", "page_token"])?;
    let query = NeighbourQuery::new(client).with_size(parameters.page_size()?);
    match parameters.page_token()? {
        Some(token) => query.with_token(&token).map_err(|rule| Problem::parameter("page_token", rule)),
        None => Ok(query),
    }
}

fn rendered(client: &ClientId, answer: FetchAnswer) -> Answer {
    let ok = StatusCode::OK;
    match answer {
        FetchAnswer::Overview(overview) => Ok(render::read(ok, &OverviewJson::new(client, &overview))),
        FetchAnswer::Events(page) => Ok(render::read(ok, &PageJson::new(&page, EventJson::stored))),
        FetchAnswer::Interactions(page) => Ok(render::read(ok, &PageJson::new(&page, InteractionJson::new))),
        FetchAnswer::Branches(page) => Ok(render::read(ok, &PageJson::new(&page, BranchJson::new))),
        _ => Err(not_what_was_asked()),
    }
}

/// Answers one stored event.
pub(super) async fn event(state: &State, id: &str, query: &str) -> Answer {
    Parameters::none(query)?;
    let no_such_event = || Problem::not_found("No event is stored under this id.");
    let text: String = path_part("id", id)?;
    // What cannot be an id is the id of no event.
    let id = EventId::new(text).map_err(|_| no_such_event())?;
    match fetch(state, &FetchQuery::Event(id)).await? {
        FetchAnswer::Event(Some(stored)) => Ok(render::read(StatusCode::OK, &EventJson::stored(&stored))),
        FetchAnswer::Event(None) => Err(no_such_event()),
        _ => Err(not_what_was_asked()),
    }
}

/// Answers what is known of the fraud list in force.
pub(super) async fn fraud_list(state: &State, query: &str) -> Answer {
    Parameters::none(query)?;
    match fetch(state, &FetchQuery::ListInForce).await? {
        FetchAnswer::ListInForce(Some(info)) => Ok(render::read(StatusCode::OK, &ListJson::new(&info))),
        FetchAnswer::ListInForce(None) => Err(render::no_fraud_list()),
        _ => Err(not_what_was_asked()),
    }
}

/// Answers the verdict on one name.
pub(super) async fn fraud_check(state: &State, query: &str) -> Answer {
    let parameters = Parameters::parse(query, &["name"])?;
    let name: ClientId = parameters
        .get("name")?
        .ok_or_else(|| Problem::parameter("name", "is missing; say whom to look up"))?;
    match fetch(state, &FetchQuery::Check(name)).await? {
        FetchAnswer::Check(screening) => checked(CheckJson::new(&screening)),
        _ => Err(not_what_was_asked()),
    }
}

fn checked(check: Option<CheckJson<'_>>) -> Answer {
    check.map(|check| render::read(StatusCode::OK, &check)).ok_or_else(not_what_was_asked)
}

/// Reads through the dispatcher.
pub(super) async fn fetch(state: &State, query: &FetchQuery) -> Result<FetchAnswer, Problem> {
    state.dispatcher.fetch(query).await.map_err(|error| state.failed(&error))
}

fn not_what_was_asked() -> Problem {
    Problem::new(Code::Internal, "A worker answered another question; report this as a bug.")
}
