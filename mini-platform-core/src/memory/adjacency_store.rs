//! Links in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use async_trait::async_trait;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{lock, page_of_clients};
use crate::domain::{
    BranchId, BranchLink, ClientId, ClientQuery, Edge, Interaction, NeighbourQuery, Page, Side, Timestamp,
};
use crate::error::StoreError;
use crate::port::AdjacencyStore;

/// An [`AdjacencyStore`] in memory.
#[derive(Debug, Default)]
pub struct MemoryAdjacencyStore {
    state: Mutex<HashMap<ClientId, Links, RandomState>>,
}

#[derive(Debug, Default)]
struct Links {
    interactions: BTreeMap<ClientId, LastTimes>,
    branches: BTreeMap<BranchId, Timestamp>,
}

#[derive(Debug, Default, Clone, Copy)]
struct LastTimes {
    sent_at: Option<Timestamp>,
    received_at: Option<Timestamp>,
}

fn link(state: &mut HashMap<ClientId, Links, RandomState>, edge: &Edge) {
    match edge {
        Edge::Interaction { client, counterparty, side, at } => {
            let interactions = &mut state.entry_ref(client).or_default().interactions;
            let times = interactions.entry(counterparty.clone()).or_default();
            let last = match side {
                Side::Sent => &mut times.sent_at,
                Side::Received => &mut times.received_at,
            };
            *last = (*last).max(Some(*at));
        }
        Edge::Branch { client, branch, at } => {
            let branches = &mut state.entry_ref(client).or_default().branches;
            branches.entry(branch.clone()).and_modify(|last| *last = (*last).max(*at)).or_insert(*at);
        }
    }
}

/// Removes a link that holds exactly the edge's time.
fn unlink(state: &mut HashMap<ClientId, Links, RandomState>, edge: &Edge) {
    match edge {
        Edge::Interaction { client, counterparty, side, at } => {
            let Some(links) = state.get_mut(client) else { return };
            let Some(times) = links.interactions.get_mut(counterparty) else { return };
            let last = match side {
                Side::Sent => &mut times.sent_at,
                Side::Received => &mut times.received_at,
            };
            if *last == Some(*at) {
                *last = None;
            }
            if times.sent_at.max(times.received_at).is_none() {
                links.interactions.remove(counterparty);
            }
        }
        Edge::Branch { client, branch, at } => {
            let Some(links) = state.get_mut(client) else { return };
            if links.branches.get(branch) == Some(at) {
                links.branches.remove(branch);
            }
        }
    }
}

/// Returns the neighbours behind the query's position: one more than fits on the page, to see whether there is
/// another page.
fn behind<'a, K: Ord + std::str::FromStr, V>(
    neighbours: &'a BTreeMap<K, V>,
    query: &NeighbourQuery,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let after: Option<K> = query.after().and_then(|id| id.parse().ok());
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    neighbours.range((start, Bound::Unbounded)).take(query.size().get() + 1)
}

#[async_trait]
impl AdjacencyStore for MemoryAdjacencyStore {
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        edges.iter().for_each(|edge| link(&mut state, edge));
        Ok(())
    }

    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        edges.iter().for_each(|edge| unlink(&mut state, edge));
        Ok(())
    }

    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
        let state = lock(&self.state);
        let links = state.get(query.client()).map(|links| &links.interactions);
        let items = links
            .into_iter()
            .flat_map(|links| behind(links, query))
            .filter_map(|(id, times)| Interaction::new(id.clone(), times.sent_at, times.received_at))
            .collect();
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.counterparty.as_str())))
    }

    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
        let state = lock(&self.state);
        let links = state.get(query.client()).map(|links| &links.branches);
        let items = links
            .into_iter()
            .flat_map(|links| behind(links, query))
            .map(|(branch, last_at)| BranchLink { branch: branch.clone(), last_at: *last_at })
            .collect();
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.branch.as_str())))
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        let state = lock(&self.state);
        let linked = |links: &Links| !links.interactions.is_empty() || !links.branches.is_empty();
        let clients = state.iter().filter(|(_, links)| linked(links)).map(|(client, _)| client);
        Ok(page_of_clients(clients, query))
    }
}
