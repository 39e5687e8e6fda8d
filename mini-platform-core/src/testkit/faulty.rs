//! Ports that fail on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    AppendOutcome, BranchLink, ClientId, ClientQuery, DeadLetter, Edge, EventBatch, EventId, EventQuery,
    IngestOutcome, Interaction, LeaseRequest, LeasedParcel, ListInfo, ListVersion, LogRecord, LotStatus,
    NeighbourQuery, Page, Parcel, ParcelId, ParcelQuery, ParkedParcel, Screening, Settled, Settlement,
    StoredEvent, Timestamp,
};
use crate::error::{
    Fault, FaultKind, FetchError, IngestError, LogError, LotError, RegistryError, StoreError,
};
use crate::port::{
    AdjacencyStore, EntryStream, EventStore, FetchAnswer, FetchQuery, FraudList, FraudRegistry, LongTermLog,
    ParkingLot, ReplaceOutcome, WorkerNode,
};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes through.
    Pass,
    /// It fails before it has any effect.
    Fail(FaultKind),
    /// It takes effect, and then its answer is lost.
    LoseAnswer(FaultKind),
    /// It goes through after a pause.
    Delay(Duration),
    /// It takes effect and never answers.
    Hang,
}

/// A port around a port: calls meet the planned fates in order, and pass when the plan is used up.
#[derive(Debug)]
pub struct Faulty<P: ?Sized> {
    plan: Mutex<VecDeque<Fate>>,
    inner: Arc<P>,
}

impl<P: ?Sized> Faulty<P> {
    /// Wraps a port.
    pub fn new(inner: Arc<P>, plan: impl IntoIterator<Item = Fate>) -> Self {
        Self { plan: Mutex::new(plan.into_iter().collect()), inner }
    }

    async fn call<T, E: From<Fault>>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let fate = self.plan.lock().unwrap().pop_front().unwrap_or(Fate::Pass);
        let fault = |kind| E::from(Fault::new("faulty", "do as planned", kind));
        match fate {
            Fate::Pass => call.await,
            Fate::Fail(kind) => Err(fault(kind)),
            Fate::LoseAnswer(kind) => {
                call.await?;
                Err(fault(kind))
            }
            Fate::Delay(pause) => {
                tokio::time::sleep(pause).await;
                call.await
            }
            Fate::Hang => {
                call.await?;
                std::future::pending().await
            }
        }
    }
}

#[async_trait]
impl<P: EventStore + ?Sized> EventStore for Faulty<P> {
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        self.call(self.inner.append(batch, recorded_at)).await
    }

    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.call(self.inner.get(id)).await
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        self.call(self.inner.query(query)).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.call(self.inner.clients(query)).await
    }
}

#[async_trait]
impl<P: AdjacencyStore + ?Sized> AdjacencyStore for Faulty<P> {
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        self.call(self.inner.link(edges)).await
    }

    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
        self.call(self.inner.unlink(edges)).await
    }

    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
        self.call(self.inner.interactions(query)).await
    }

    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
        self.call(self.inner.branches(query)).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.call(self.inner.clients(query)).await
    }
}

#[async_trait]
impl<P: FraudRegistry + ?Sized> FraudRegistry for Faulty<P> {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        self.call(self.inner.screen(subjects)).await
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        self.call(self.inner.in_force()).await
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        self.call(self.inner.history()).await
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        self.call(self.inner.replace(list)).await
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        self.call(self.inner.rollback(version)).await
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        self.call(self.inner.confirm(version)).await
    }

    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        self.call(self.inner.entries(version)).await
    }
}

#[async_trait]
impl<P: WorkerNode + ?Sized> WorkerNode for Faulty<P> {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        self.call(self.inner.ingest(batch)).await
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.call(self.inner.fetch(query)).await
    }
}

#[async_trait]
impl<P: ParkingLot + ?Sized> ParkingLot for Faulty<P> {
    async fn park(&self, parcels: &[Parcel]) -> Result<(), LotError> {
        self.call(self.inner.park(parcels)).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
        self.call(self.inner.lease(request)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, LotError> {
        self.call(self.inner.settle(settlements)).await
    }

    async fn status(&self) -> Result<LotStatus, LotError> {
        self.call(self.inner.status()).await
    }

    async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
        self.call(self.inner.parked(query)).await
    }

    async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
        self.call(self.inner.dead_letters(query)).await
    }

    async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError> {
        self.call(self.inner.dead_letter(id)).await
    }

    async fn redrive(&self, id: ParcelId) -> Result<bool, LotError> {
        self.call(self.inner.redrive(id)).await
    }

    async fn discard(&self, id: ParcelId) -> Result<bool, LotError> {
        self.call(self.inner.discard(id)).await
    }
}

#[async_trait]
impl<P: LongTermLog + ?Sized> LongTermLog for Faulty<P> {
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
        self.call(self.inner.publish(records)).await
    }
}
