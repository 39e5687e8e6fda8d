//! A worker, near or far.

use async_trait::async_trait;

use crate::domain::{
    BranchLink, ClientId, EventBatch, EventId, EventQuery, IngestOutcome, Interaction, ListInfo,
    NeighbourQuery, Page, Screening, StoredEvent,
};
use crate::error::{FetchError, IngestError};

/// What can be read through a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchQuery {
    /// One page of a client's events.
    Events(EventQuery),
    /// One page of a client's interactions.
    Interactions(NeighbourQuery),
    /// One page of a client's branches.
    Branches(NeighbourQuery),
    /// The first page of everything that is known of a client.
    Overview(ClientId),
    /// One event.
    Event(EventId),
    /// The fraud list in force.
    ListInForce,
    /// The verdict on one name.
    Check(ClientId),
}

impl FetchQuery {
    /// Returns the client whose data is asked for, if it is one client's.
    #[must_use]
    pub fn client(&self) -> Option<&ClientId> {
        match self {
            Self::Events(query) => Some(query.client()),
            Self::Interactions(query) | Self::Branches(query) => Some(query.client()),
            Self::Overview(client) => Some(client),
            Self::Event(_) | Self::ListInForce | Self::Check(_) => None,
        }
    }
}

/// The first page of everything that is known of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOverview {
    /// Transactions in both directions.
    pub transactions: Page<StoredEvent>,
    /// Deposits and withdrawals.
    pub operations: Page<StoredEvent>,
    /// With whom money was exchanged.
    pub interactions: Page<Interaction>,
    /// Which branches were used.
    pub branches: Page<BranchLink>,
}

/// The answer to a [`FetchQuery`], of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchAnswer {
    /// Answers [`FetchQuery::Events`].
    Events(Page<StoredEvent>),
    /// Answers [`FetchQuery::Interactions`].
    Interactions(Page<Interaction>),
    /// Answers [`FetchQuery::Branches`].
    Branches(Page<BranchLink>),
    /// Answers [`FetchQuery::Overview`].
    Overview(Box<ClientOverview>),
    /// Answers [`FetchQuery::Event`]; `None` when there is no such event.
    Event(Option<Box<StoredEvent>>),
    /// Answers [`FetchQuery::ListInForce`]; `None` before the first list.
    ListInForce(Option<ListInfo>),
    /// Answers [`FetchQuery::Check`], with one verdict.
    Check(Screening),
}

/// Takes batches in and answers fetches: the pipeline itself, or a client of one elsewhere.
///
/// # Contract
/// - **WN-1** `ingest` answers one outcome an event, in batch order, after everything that the outcome says is
///   durable. Outcomes of stored events and duplicates carry the times under which the event is stored.
/// - **WN-2** An event with a subject on the fraud list leaves no event and no link.
/// - **WN-3** Sending a batch again is safe: what was stored is `Duplicate`, and its links are repaired.
/// - **WN-4** `Err` means that nothing is promised; the whole batch may be sent again, to any worker.
/// - **WN-5** `fetch` answers the variant that was asked for.
///
/// Cancelling `ingest` may still apply it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WorkerNode: Send + Sync + 'static {
    /// Screens, stores and links a batch.
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError>;

    /// Reads.
    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError>;
}
