//! Answering reads.

use futures_util::future::try_join4;

use super::Worker;
use crate::domain::{ClientId, EventFilter, EventQuery, NeighbourQuery};
use crate::error::FetchError;
use crate::port::{ClientOverview, FetchAnswer, FetchQuery};

pub(super) async fn fetch(worker: &Worker, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
    Ok(match query {
        FetchQuery::Events(query) => FetchAnswer::Events(worker.events.query(query).await?),
        FetchQuery::Interactions(query) => {
            FetchAnswer::Interactions(worker.adjacency.interactions(query).await?)
        }
        FetchQuery::Branches(query) => FetchAnswer::Branches(worker.adjacency.branches(query).await?),
        FetchQuery::Overview(client) => FetchAnswer::Overview(Box::new(overview(worker, client).await?)),
        FetchQuery::Event(id) => FetchAnswer::Event(worker.events.get(id).await?.map(Box::new)),
        FetchQuery::ListInForce => FetchAnswer::ListInForce(worker.registry.in_force().await?),
        FetchQuery::Check(name) => {
            FetchAnswer::Check(worker.registry.screen(std::slice::from_ref(name)).await?)
        }
    })
}

async fn overview(worker: &Worker, client: &ClientId) -> Result<ClientOverview, FetchError> {
    let transactions = EventQuery::new(client.clone(), EventFilter::Transactions);
    let operations = EventQuery::new(client.clone(), EventFilter::Operations);
    let neighbours = NeighbourQuery::new(client.clone());
    let (transactions, operations, interactions, branches) = try_join4(
        worker.events.query(&transactions),
        worker.events.query(&operations),
        worker.adjacency.interactions(&neighbours),
        worker.adjacency.branches(&neighbours),
    )
    .await?;
    Ok(ClientOverview { transactions, operations, interactions, branches })
}
