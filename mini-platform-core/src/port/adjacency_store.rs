//! Where the links of clients are kept.

use async_trait::async_trait;

use crate::domain::{BranchLink, ClientId, ClientQuery, Edge, Interaction, NeighbourQuery, Page};
use crate::error::StoreError;

/// Keeps with whom each client exchanged money and which branches it used.
///
/// A projection of the event store: it can be rebuilt from there.
///
/// # Contract
/// - **AS-1** A link holds the latest time that was linked, per side of an interaction and per branch, in
///   whatever order the edges came.
/// - **AS-2** Linking an edge again changes nothing.
/// - **AS-3** When `link` answers, its edges are durable and visible to every reader. `Err` means that any of
///   them may be missing; linking again is safe.
/// - **AS-4** An interaction that was linked on both sides is answered once, as `Both`.
/// - **AS-5** Neighbours come in ascending byte order of their id. Pages, followed by their tokens, hold every
///   neighbour that was linked before the first page was asked for, once. The last page has no token.
/// - **AS-6** Interactions and branches are apart, and so are clients: a branch that is named like a client is
///   no interaction.
/// - **AS-7** `unlink` removes the link of an edge if it holds exactly the edge's time, and leaves any other link
///   as it is, so that a link that was renewed meanwhile stays. When it answers, the removal is durable.
/// - **AS-8** `clients` answers every client that has a link, in no order. A client that had one before the first
///   page was asked for is on one of the pages, maybe on several; a page with a token may be empty.
///
/// Cancelling `link` or `unlink` may still apply it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait AdjacencyStore: Send + Sync + 'static {
    /// Adds edges.
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError>;

    /// Removes links that no event implies.
    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError>;

    /// Returns one page of the clients with whom a client exchanged money.
    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError>;

    /// Returns one page of the branches that a client used.
    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError>;

    /// Returns one page of the clients that have links.
    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError>;
}
