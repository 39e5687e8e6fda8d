//! Reading the links of a client, and what its events imply.

use foldhash::fast::RandomState;
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hashbrown::HashMap;

use super::difference::Neighbour;
use super::largest_page;
use crate::domain::{
    ClientId, Edge, EventFilter, EventQuery, InvalidPage, NeighbourQuery, Page, PageSize, PageToken, Side,
    StoredEvent, Timestamp,
};
use crate::error::{Fault, FaultKind, StoreError};
use crate::port::{AdjacencyStore, EventStore};

/// The links of a client, by what they lead to.
pub(super) type Links = HashMap<Neighbour, Timestamp, RandomState>;

/// A link that events imply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Implied {
    /// The time of the latest event.
    pub(super) at: Timestamp,
    /// When that event was stored.
    pub(super) recorded_at: Timestamp,
}

/// What the events of a client imply.
#[derive(Debug, Default)]
pub(super) struct ImpliedLinks {
    pub(super) links: HashMap<Neighbour, Implied, RandomState>,
    pub(super) events: u64,
}

impl ImpliedLinks {
    fn add(&mut self, client: &ClientId, stored: &StoredEvent) {
        self.events += 1;
        let at = stored.event.occurred_at().timestamp();
        for edge in Edge::implied_by(&stored.event, at) {
            let Some(neighbour) = neighbour_of(client, edge) else { continue };
            let new = Implied { at, recorded_at: stored.recorded_at };
            let implied = self.links.entry(neighbour).or_insert(new);
            if new.at > implied.at {
                *implied = new;
            } else if new.at == implied.at {
                // Two events imply it, and the one that was stored first should have been linked by now.
                implied.recorded_at = implied.recorded_at.min(new.recorded_at);
            }
        }
    }
}

/// Returns what an edge leads to, or `None` when it is the edge of another client.
fn neighbour_of(owner: &ClientId, edge: Edge) -> Option<Neighbour> {
    match edge {
        Edge::Interaction { client, counterparty, side, .. } => {
            (client == *owner).then_some(Neighbour::Client { counterparty, side })
        }
        Edge::Branch { client, branch, .. } => (client == *owner).then_some(Neighbour::Branch(branch)),
    }
}

/// Reads all links of a client.
pub(super) async fn links(adjacency: &dyn AdjacencyStore, client: &ClientId) -> Result<Links, StoreError> {
    let first = || NeighbourQuery::new(client.clone()).with_size(largest_page());
    let interactions = pages(move |token| async move {
        let query = continued(first(), NeighbourQuery::with_token, token.as_ref())?;
        adjacency.interactions(&query).await
    });
    let branches = pages(move |token| async move {
        let query = continued(first(), NeighbourQuery::with_token, token.as_ref())?;
        adjacency.branches(&query).await
    });
    let sides = interactions.try_fold(Links::default(), async |mut links, interaction| {
        for side in [Side::Sent, Side::Received] {
            if let Some(at) = interaction.last_at_on(side) {
                let counterparty = interaction.counterparty.clone();
                links.insert(Neighbour::Client { counterparty, side }, at);
            }
        }
        Ok(links)
    });
    let used = branches.try_fold(Links::default(), async |mut links, link| {
        links.insert(Neighbour::Branch(link.branch), link.last_at);
        Ok(links)
    });
    let (mut links, used) = futures_util::try_join!(sides, used)?;
    links.extend(used);
    Ok(links)
}

/// Reads all events of a client and derives the links that they imply.
pub(super) async fn implied(events: &dyn EventStore, client: &ClientId) -> Result<ImpliedLinks, StoreError> {
    let of = |filter| {
        let first = move || EventQuery::new(client.clone(), filter).with_size(largest_page());
        pages(move |token| async move {
            let query = continued(first(), EventQuery::with_token, token.as_ref())?;
            events.query(&query).await
        })
    };
    let both = stream::select(Box::pin(of(EventFilter::Transactions)), Box::pin(of(EventFilter::Operations)));
    both.try_fold(ImpliedLinks::default(), async |mut implied, stored| {
        implied.add(client, &stored);
        Ok(implied)
    })
    .await
}

/// Whether a client is a party to any stored event.
pub(super) async fn has_events(events: &dyn EventStore, client: &ClientId) -> Result<bool, StoreError> {
    for filter in [EventFilter::Transactions, EventFilter::Operations] {
        let query = EventQuery::new(client.clone(), filter).with_size(PageSize::new(1).unwrap_or_default());
        if !events.query(&query).await?.items.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns a query for the page of a token, or the first.
pub(super) fn continued<Q>(
    first: Q,
    with_token: impl FnOnce(Q, &PageToken) -> Result<Q, InvalidPage>,
    token: Option<&PageToken>,
) -> Result<Q, StoreError> {
    let Some(token) = token else { return Ok(first) };
    with_token(first, token).map_err(|invalid| {
        Fault::new("store", "answer a token for its own query", FaultKind::Corrupt)
            .with_source(invalid)
            .into()
    })
}

/// Where in its pages a stream is.
enum Next {
    First,
    After(PageToken),
    End,
}

/// Streams the items of all pages; `fetch` gets the token of the page, `None` for the first. Holds one page.
pub(super) fn pages<T: Send + 'static, F>(
    fetch: impl Fn(Option<PageToken>) -> F + Clone + Send,
) -> impl Stream<Item = Result<T, StoreError>> + Send
where
    F: Future<Output = Result<Page<T>, StoreError>> + Send,
{
    stream::try_unfold(Next::First, move |next| {
        let fetch = fetch.clone();
        async move {
            let token = match next {
                Next::First => None,
                Next::After(token) => Some(token),
                Next::End => return Ok(None),
            };
            let page = fetch(token).await?;
            Ok::<_, StoreError>(Some((page.items, page.next.map_or(Next::End, Next::After))))
        }
    })
    .map_ok(|items| stream::iter(items).map(Ok))
    .try_flatten()
}
