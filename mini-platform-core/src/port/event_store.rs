//! Where events are kept.

use async_trait::async_trait;

use crate::domain::{
    AppendOutcome, ClientId, ClientQuery, EventBatch, EventId, EventQuery, Page, StoredEvent, Timestamp,
};
use crate::error::StoreError;

/// Keeps events, each once, and gives them back by id or by client.
///
/// # Contract
/// - **ES-1** `append` answers one outcome an event, in batch order.
/// - **ES-2** The first append of an id is `Stored`. Again with the same content
///   ([`Event::is_resend_of`](crate::domain::Event::is_resend_of)) it is `Duplicate`, with the times under
///   which it was stored, whatever the times of the resend; with other content it is `Conflict`, and the stored
///   event stays as it was.
/// - **ES-3** Of racing appends of one id, exactly one is `Stored`.
/// - **ES-4** When `append` answers, the stored events are durable and visible to every reader.
/// - **ES-5** `Err` means that the fate of every event of the batch is unknown. Sending the whole batch again is
///   safe and finds out. A batch is not atomic: part of it may be stored.
/// - **ES-6** `get` answers the event as it was stored, with the `recorded_at` of its append.
/// - **ES-7** `query` answers a client's events newest first, those of the same instant by descending id, with
///   each matching event once, whichever of its roles match.
/// - **ES-8** Pages of one query, followed by their tokens, hold every event that was stored before the first
///   page was asked for, once, whatever is appended meanwhile. The last page has no token.
/// - **ES-9** A range holds its start and not its end.
/// - **ES-10** Ids are compared byte by byte; one client's events never show up under another's name.
/// - **ES-11** `clients` answers every client that is a party to a stored event, once, in ascending byte order.
///   Pages, followed by their tokens, hold every client that had an event before the first page was asked for.
///
/// Cancelling `append` (dropping its future) may still apply it; cancelling a read has no effect.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Stores the events of a batch that are new.
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError>;

    /// Returns one stored event, or `None`.
    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError>;

    /// Returns one page of a client's events; empty for a client that has none.
    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError>;

    /// Returns one page of the clients that have events: what a check of the whole store starts from.
    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError>;
}
