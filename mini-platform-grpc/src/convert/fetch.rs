//! What can be read through a worker: queries and their answers.

use mini_platform_core::domain::{
    ClientId, EventFilter, EventId, EventQuery, NeighbourQuery, Page, StoredEvent, TimeRange,
};
use mini_platform_core::port::{ClientOverview, FetchAnswer, FetchQuery};

use super::page::{PageAsked, page_asked, page_request};
use super::{ConvertError, InField, enum_value, message, optional_message};
use crate::v1;

/// The request that asks a query: one for each call of the worker's service that reads.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FetchRequest {
    /// Asks for transactions.
    Transactions(v1::FetchTransactionsRequest),
    /// Asks for operations.
    Operations(v1::FetchOperationsRequest),
    /// Asks for interactions.
    Interactions(v1::FetchInteractionsRequest),
    /// Asks for branches.
    Branches(v1::FetchBranchesRequest),
    /// Asks for everything that is known of a client.
    Client(v1::FetchClientRequest),
    /// Asks for one event.
    Event(v1::FetchEventRequest),
    /// Asks for the fraud list in force.
    FraudList(v1::FetchFraudListRequest),
    /// Asks for the verdict on one name.
    CheckName(v1::CheckNameRequest),
}

impl FetchRequest {
    /// Makes the request that asks a query; `None` when there is none for it yet.
    #[must_use]
    pub fn asking(query: &FetchQuery) -> Option<Self> {
        Some(match query {
            FetchQuery::Events(query) => return events(query),
            FetchQuery::Interactions(query) => Self::Interactions(v1::FetchInteractionsRequest {
                client: query.client().as_str().to_owned(),
                page: Some(neighbour_page(query)),
            }),
            FetchQuery::Branches(query) => Self::Branches(v1::FetchBranchesRequest {
                client: query.client().as_str().to_owned(),
                page: Some(neighbour_page(query)),
            }),
            FetchQuery::Overview(client) => {
                Self::Client(v1::FetchClientRequest { client: client.as_str().to_owned() })
            }
            FetchQuery::Event(id) => Self::Event(v1::FetchEventRequest { id: id.as_str().to_owned() }),
            FetchQuery::ListInForce => Self::FraudList(v1::FetchFraudListRequest {}),
            FetchQuery::Check(name) => {
                Self::CheckName(v1::CheckNameRequest { name: name.as_str().to_owned() })
            }
            _ => return None,
        })
    }
}

fn neighbour_page(query: &NeighbourQuery) -> v1::PageRequest {
    page_request(query.size(), query.token().as_ref())
}

fn events(query: &EventQuery) -> Option<FetchRequest> {
    use v1::{OperationType as Operation, TransactionDirection as Direction};
    let client = query.client().as_str().to_owned();
    let range = Some(query.range().into());
    let page = Some(page_request(query.size(), query.token().as_ref()));
    let transactions = |direction: Direction| (Some(direction), None);
    let operations = |operation: Operation| (None, Some(operation));
    let asked = match query.filter() {
        EventFilter::Transactions => transactions(Direction::Unspecified),
        EventFilter::Sent => transactions(Direction::Sent),
        EventFilter::Received => transactions(Direction::Received),
        EventFilter::Operations => operations(Operation::Unspecified),
        EventFilter::Deposits => operations(Operation::Deposit),
        EventFilter::Withdrawals => operations(Operation::Withdraw),
        _ => (None, None),
    };
    match asked {
        (Some(direction), _) => {
            let direction = direction.into();
            Some(FetchRequest::Transactions(v1::FetchTransactionsRequest { client, direction, range, page }))
        }
        (_, Some(operation)) => {
            let operation = operation.into();
            Some(FetchRequest::Operations(v1::FetchOperationsRequest { client, operation, range, page }))
        }
        _ => None,
    }
}

impl TryFrom<v1::FetchTransactionsRequest> for FetchQuery {
    type Error = ConvertError;

    fn try_from(request: v1::FetchTransactionsRequest) -> Result<Self, ConvertError> {
        let filter = match enum_value(request.direction).in_field("direction")? {
            v1::TransactionDirection::Unspecified => EventFilter::Transactions,
            v1::TransactionDirection::Sent => EventFilter::Sent,
            v1::TransactionDirection::Received => EventFilter::Received,
        };
        event_query(&request.client, filter, request.range, request.page)
    }
}

impl TryFrom<v1::FetchOperationsRequest> for FetchQuery {
    type Error = ConvertError;

    fn try_from(request: v1::FetchOperationsRequest) -> Result<Self, ConvertError> {
        let filter = match enum_value(request.operation).in_field("operation")? {
            v1::OperationType::Unspecified => EventFilter::Operations,
            v1::OperationType::Deposit => EventFilter::Deposits,
            v1::OperationType::Withdraw => EventFilter::Withdrawals,
        };
        event_query(&request.client, filter, request.range, request.page)
    }
}

fn event_query(
    client: &str,
    filter: EventFilter,
    range: Option<v1::TimeRange>,
    page: Option<v1::PageRequest>,
) -> Result<FetchQuery, ConvertError> {
    let client = ClientId::new(client).in_field("client")?;
    let range: Option<TimeRange> = optional_message(range, "range")?;
    let PageAsked { size, token } = page_asked(page)?;
    let query = EventQuery::new(client, filter).with_range(range.unwrap_or_default()).with_size(size);
    match token {
        Some(token) => query.with_token(&token).in_field(TOKEN).map(FetchQuery::Events),
        None => Ok(FetchQuery::Events(query)),
    }
}

/// Where the token of a query is.
const TOKEN: &str = "page.token";

impl TryFrom<v1::FetchInteractionsRequest> for FetchQuery {
    type Error = ConvertError;

    fn try_from(request: v1::FetchInteractionsRequest) -> Result<Self, ConvertError> {
        neighbour_query(&request.client, request.page).map(Self::Interactions)
    }
}

impl TryFrom<v1::FetchBranchesRequest> for FetchQuery {
    type Error = ConvertError;

    fn try_from(request: v1::FetchBranchesRequest) -> Result<Self, ConvertError> {
        neighbour_query(&request.client, request.page).map(Self::Branches)
    }
}

fn neighbour_query(client: &str, page: Option<v1::PageRequest>) -> Result<NeighbourQuery, ConvertError> {
    let client = ClientId::new(client).in_field("client")?;
    let PageAsked { size, token } = page_asked(page)?;
    let query = NeighbourQuery::new(client).with_size(size);
    match token {
        Some(token) => query.with_token(&token).in_field(TOKEN),
        None => Ok(query),
    }
}

impl TryFrom<v1::FetchClientRequest> for FetchQuery {
    type Error = ConvertError;

    fn try_from(request: v1::FetchClientRequest) -> Result<Self, ConvertError> {
        ClientId::new(&request.client).in_field("client").map(Self::Overview)
    }
}

impl TryFrom<v1::FetchEventRequest> for FetchQuery {
    type Error = ConvertError;

    fn try_from(request: v1::FetchEventRequest) -> Result<Self, ConvertError> {
        EventId::new(&request.id).in_field("id").map(Self::Event)
    }
}

impl TryFrom<v1::FetchFraudListRequest> for FetchQuery {
    type Error = ConvertError;

    fn try_from(_: v1::FetchFraudListRequest) -> Result<Self, ConvertError> {
        Ok(Self::ListInForce)
    }
}

impl TryFrom<v1::CheckNameRequest> for FetchQuery {
    type Error = ConvertError;

    fn try_from(request: v1::CheckNameRequest) -> Result<Self, ConvertError> {
        ClientId::new(&request.name).in_field("name").map(Self::Check)
    }
}

/// An answer belongs to another query than the one that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer belongs to another query")]
pub struct WrongAnswer;

/// Converts answers that are in one field of a response.
macro_rules! answer {
    ($response:ty, $variant:ident, $field:ident) => {
        impl TryFrom<&FetchAnswer> for $response {
            type Error = WrongAnswer;

            fn try_from(answer: &FetchAnswer) -> Result<Self, WrongAnswer> {
                match answer {
                    FetchAnswer::$variant(value) => Ok(Self { $field: Some(value.into()) }),
                    _ => Err(WrongAnswer),
                }
            }
        }

        impl TryFrom<$response> for FetchAnswer {
            type Error = ConvertError;

            fn try_from(response: $response) -> Result<Self, ConvertError> {
                message(response.$field, stringify!($field)).map(Self::$variant)
            }
        }
    };
}

answer!(v1::FetchTransactionsResponse, Events, page);
answer!(v1::FetchOperationsResponse, Events, page);
answer!(v1::FetchInteractionsResponse, Interactions, page);
answer!(v1::FetchBranchesResponse, Branches, page);

impl TryFrom<&FetchAnswer> for v1::FetchClientResponse {
    type Error = WrongAnswer;

    fn try_from(answer: &FetchAnswer) -> Result<Self, WrongAnswer> {
        let FetchAnswer::Overview(overview) = answer else { return Err(WrongAnswer) };
        Ok(Self {
            transactions: Some((&overview.transactions).into()),
            operations: Some((&overview.operations).into()),
            interactions: Some((&overview.interactions).into()),
            branches: Some((&overview.branches).into()),
        })
    }
}

impl TryFrom<v1::FetchClientResponse> for FetchAnswer {
    type Error = ConvertError;

    fn try_from(response: v1::FetchClientResponse) -> Result<Self, ConvertError> {
        let transactions: Page<StoredEvent> = message(response.transactions, "transactions")?;
        Ok(Self::Overview(Box::new(ClientOverview {
            transactions,
            operations: message(response.operations, "operations")?,
            interactions: message(response.interactions, "interactions")?,
            branches: message(response.branches, "branches")?,
        })))
    }
}

impl TryFrom<&FetchAnswer> for v1::FetchEventResponse {
    type Error = WrongAnswer;

    fn try_from(answer: &FetchAnswer) -> Result<Self, WrongAnswer> {
        match answer {
            FetchAnswer::Event(event) => Ok(Self { event: event.as_deref().map(Into::into) }),
            _ => Err(WrongAnswer),
        }
    }
}

impl TryFrom<v1::FetchEventResponse> for FetchAnswer {
    type Error = ConvertError;

    fn try_from(response: v1::FetchEventResponse) -> Result<Self, ConvertError> {
        let event: Option<StoredEvent> = optional_message(response.event, "event")?;
        Ok(Self::Event(event.map(Box::new)))
    }
}

impl TryFrom<&FetchAnswer> for v1::FetchFraudListResponse {
    type Error = WrongAnswer;

    fn try_from(answer: &FetchAnswer) -> Result<Self, WrongAnswer> {
        match answer {
            FetchAnswer::ListInForce(list) => Ok(Self { list: list.as_ref().map(Into::into) }),
            _ => Err(WrongAnswer),
        }
    }
}

impl TryFrom<v1::FetchFraudListResponse> for FetchAnswer {
    type Error = ConvertError;

    fn try_from(response: v1::FetchFraudListResponse) -> Result<Self, ConvertError> {
        optional_message(response.list, "list").map(Self::ListInForce)
    }
}

impl TryFrom<&FetchAnswer> for v1::CheckNameResponse {
    type Error = WrongAnswer;

    fn try_from(answer: &FetchAnswer) -> Result<Self, WrongAnswer> {
        match answer {
            FetchAnswer::Check(screening) => Ok(screening.into()),
            _ => Err(WrongAnswer),
        }
    }
}

impl TryFrom<v1::CheckNameResponse> for FetchAnswer {
    type Error = ConvertError;

    fn try_from(response: v1::CheckNameResponse) -> Result<Self, ConvertError> {
        response.try_into().map(Self::Check)
    }
}
