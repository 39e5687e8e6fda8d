//! The stores of a worker, and its registry: shared by all workers, reached by wire.

use std::sync::Arc;

use async_trait::async_trait;
use mini_platform_core::domain::{
    AppendOutcome, BranchLink, ClientId, ClientQuery, Edge, EventBatch, EventId, EventQuery, Interaction,
    ListInfo, ListVersion, NeighbourQuery, Page, Screening, StoredEvent, Timestamp,
};
use mini_platform_core::error::{RegistryError, StoreError};
use mini_platform_core::port::{
    AdjacencyStore, EntryStream, EventStore, FraudList, FraudRegistry, ReplaceOutcome,
};

use super::weather::Place;
use super::wire::{Extent, Wire};
use super::worker::current_call;

/// A worker's way to everything that is kept.
pub(crate) struct Stores(pub(crate) Wire);

pub(crate) fn ids(batch: &EventBatch) -> String {
    let ids: Vec<&str> = batch.events().iter().map(|event| event.id().as_str()).collect();
    format!("[{}]", ids.join(" "))
}

#[async_trait]
impl EventStore for Stores {
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let (world, call, batch) = (Arc::clone(&self.0.world), current_call(), batch.clone());
        let about = format!("call {call} {}", ids(&batch));
        let effect = move |extent| {
            let (world, mut batch) = (Arc::clone(&world), batch.clone());
            async move {
                if extent == Extent::Part {
                    let some = |_: &_| world.chance.hits(0.5);
                    let part: Vec<_> = batch.events().iter().filter(|event| some(event)).cloned().collect();
                    let Ok(part) = EventBatch::new(part) else { return Ok(Vec::new()) };
                    batch = part;
                }
                let outcomes = world.events.append(&batch, recorded_at).await?;
                for (event, outcome) in batch.events().iter().zip(&outcomes) {
                    let word = match outcome {
                        AppendOutcome::Stored => "stored",
                        AppendOutcome::Duplicate(_) => "duplicate",
                        AppendOutcome::Conflict => "conflict",
                    };
                    world.note(format_args!("events call {call} {} {word}", event.id()));
                }
                world.ledger().append(call, &batch, &outcomes, recorded_at);
                Ok(outcomes)
            }
        };
        self.0.call(Place::Append, about, effect).await
    }

    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.0.world.events.get(id).await
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        self.0.world.events.query(query).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.0.world.events.clients(query).await
    }
}

#[async_trait]
impl AdjacencyStore for Stores {
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        let (world, call, edges) = (Arc::clone(&self.0.world), current_call(), edges.to_vec());
        let about = format!("call {call}");
        let effect = move |extent| {
            let (world, mut edges) = (Arc::clone(&world), edges.clone());
            async move {
                if extent == Extent::Part {
                    edges.retain(|_| world.chance.hits(0.5));
                }
                world.adjacency.link(&edges).await?;
                world.note(format_args!("links call {call} {} edges", edges.len()));
                world.ledger().link(call, &edges);
                Ok(())
            }
        };
        self.0.call(Place::Link, about, effect).await
    }

    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
        self.0.world.adjacency.unlink(edges).await
    }

    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
        self.0.world.adjacency.interactions(query).await
    }

    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
        self.0.world.adjacency.branches(query).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.0.world.adjacency.clients(query).await
    }
}

#[async_trait]
impl FraudRegistry for Stores {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        let (world, call, subjects) = (Arc::clone(&self.0.world), current_call(), subjects.to_vec());
        let about = format!("call {call}");
        let effect = move |_| {
            let (world, subjects) = (Arc::clone(&world), subjects.clone());
            async move {
                let screening = world.registry.screen(&subjects).await?;
                world.ledger().screen(call, &subjects, &screening.verdicts);
                if !subjects.is_empty() {
                    world.screened.notify_waiters();
                }
                Ok(screening)
            }
        };
        self.0.call(Place::Screen, about, effect).await
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        self.0.world.registry.in_force().await
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        self.0.world.registry.history().await
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        self.0.world.registry.replace(list).await
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        self.0.world.registry.rollback(version).await
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        self.0.world.registry.confirm(version).await
    }

    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        self.0.world.registry.entries(version).await
    }
}
