//! Making a call again that failed in passing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use fastrand::Rng;
use futures_core::future::BoxFuture;

use super::RetryPolicy;
use crate::domain::{
    AppendOutcome, BranchLink, ClientId, ClientQuery, DeadLetter, Edge, EventBatch, EventId, EventQuery,
    Interaction, LeaseRequest, LeasedParcel, ListInfo, ListVersion, LotStatus, NeighbourQuery, Page, Parcel,
    ParcelId, ParcelQuery, ParkedParcel, Screening, Settled, Settlement, StoredEvent, Timestamp,
};
use crate::error::{LotError, RegistryError, Retry, StoreError};
use crate::port::{
    AdjacencyStore, EntryStream, EventStore, FraudList, FraudRegistry, ParkingLot, ReplaceOutcome,
};
use crate::retry::Backoff;
use crate::telemetry::{PORT_RETRIES, PORT_RETRIES_EXHAUSTED};

/// An [`EventStore`], [`AdjacencyStore`], [`FraudRegistry`] or [`ParkingLot`] that makes a call again when it failed
/// in passing.
///
/// The one layer that retries: it sits around the adapter, and nothing above it or below it makes a call again.
/// Every call that it repeats may be made again by its port's contract, also when the answer was lost. Not repeated:
/// [`FraudRegistry::replace`], whose stream is used up by then (the feeder comes again by itself), a screening
/// without a list and a parking lot that is full, which no pause within one call mends.
///
/// A [`ParkingLot`] does nothing twice, but its second answer need not be the one that was lost: what was settled or
/// redriven or discarded by then is answered as `LeaseLost` or as gone, and parcels whose lease was not heard of wait
/// for its end.
///
/// Cancelling a call cancels the attempt that is under way, or the pause.
///
/// ```
/// use std::sync::Arc;
/// use mini_platform_core::decorate::{RetryPolicy, Retrying};
/// use mini_platform_core::memory::MemoryEventStore;
/// use mini_platform_core::port::EventStore;
///
/// let seed = 42; // different in every process
/// let events: Arc<dyn EventStore> =
///     Arc::new(Retrying::new(Arc::new(MemoryEventStore::default()), RetryPolicy::default(), seed));
/// # let _ = events;
/// ```
pub struct Retrying<P: ?Sized> {
    policy: RetryPolicy,
    jitter: Mutex<Rng>,
    inner: Arc<P>,
}

impl<P: ?Sized> fmt::Debug for Retrying<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retrying").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl<P: ?Sized> Retrying<P> {
    /// Wraps a port. The seed makes the pauses; give every process its own.
    #[must_use]
    pub fn new(inner: Arc<P>, policy: RetryPolicy, seed: u64) -> Self {
        Self { policy, jitter: Mutex::new(Rng::with_seed(seed)), inner }
    }

    async fn retry<'a, T, E: Passing>(
        &self,
        port: &'static str,
        call: impl Fn() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        let mut backoff = Backoff::start(self.policy);
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let retry = error.retry();
            let Some(pause) =
                backoff.pause(retry, &mut self.jitter.lock().unwrap_or_else(PoisonError::into_inner))
            else {
                if retry != Retry::Never {
                    metrics::counter!(PORT_RETRIES_EXHAUSTED, "port" => port).increment(1);
                }
                return Err(error);
            };
            metrics::counter!(PORT_RETRIES, "port" => port).increment(1);
            tokio::time::sleep(pause).await;
        }
    }
}

/// An error that says whether it can pass while a caller waits.
trait Passing {
    fn retry(&self) -> Retry;
}

impl Passing for StoreError {
    fn retry(&self) -> Retry {
        self.retry()
    }
}

impl Passing for RegistryError {
    fn retry(&self) -> Retry {
        match self {
            Self::NoList => Retry::Never,
            other => other.retry(),
        }
    }
}

impl Passing for LotError {
    fn retry(&self) -> Retry {
        match self {
            Self::Full => Retry::Never,
            Self::Fault(fault) => fault.retry(),
        }
    }
}

const EVENT_STORE: &str = "event_store";
const ADJACENCY_STORE: &str = "adjacency_store";
const FRAUD_REGISTRY: &str = "fraud_registry";
const PARKING_LOT: &str = "parking_lot";

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: EventStore + ?Sized> EventStore for Retrying<P> {
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        self.retry(EVENT_STORE, || self.inner.append(batch, recorded_at)).await
    }

    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.retry(EVENT_STORE, || self.inner.get(id)).await
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        self.retry(EVENT_STORE, || self.inner.query(query)).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.retry(EVENT_STORE, || self.inner.clients(query)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: AdjacencyStore + ?Sized> AdjacencyStore for Retrying<P> {
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        self.retry(ADJACENCY_STORE, || self.inner.link(edges)).await
    }

    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
        self.retry(ADJACENCY_STORE, || self.inner.unlink(edges)).await
    }

    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
        self.retry(ADJACENCY_STORE, || self.inner.interactions(query)).await
    }

    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
        self.retry(ADJACENCY_STORE, || self.inner.branches(query)).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.retry(ADJACENCY_STORE, || self.inner.clients(query)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: FraudRegistry + ?Sized> FraudRegistry for Retrying<P> {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        self.retry(FRAUD_REGISTRY, || self.inner.screen(subjects)).await
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        self.retry(FRAUD_REGISTRY, || self.inner.in_force()).await
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        self.retry(FRAUD_REGISTRY, || self.inner.history()).await
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        self.inner.replace(list).await
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        self.retry(FRAUD_REGISTRY, || self.inner.rollback(version)).await
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        self.retry(FRAUD_REGISTRY, || self.inner.confirm(version)).await
    }

    /// Opens the stream again when that fails; a stream that breaks off later says so to its reader.
    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        self.retry(FRAUD_REGISTRY, || self.inner.entries(version)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: ParkingLot + ?Sized> ParkingLot for Retrying<P> {
    async fn park(&self, parcels: &[Parcel]) -> Result<(), LotError> {
        self.retry(PARKING_LOT, || self.inner.park(parcels)).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
        self.retry(PARKING_LOT, || self.inner.lease(request)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, LotError> {
        self.retry(PARKING_LOT, || self.inner.settle(settlements)).await
    }

    async fn status(&self) -> Result<LotStatus, LotError> {
        self.retry(PARKING_LOT, || self.inner.status()).await
    }

    async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
        self.retry(PARKING_LOT, || self.inner.parked(query)).await
    }

    async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
        self.retry(PARKING_LOT, || self.inner.dead_letters(query)).await
    }

    async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError> {
        self.retry(PARKING_LOT, || self.inner.dead_letter(id)).await
    }

    async fn redrive(&self, id: ParcelId) -> Result<bool, LotError> {
        self.retry(PARKING_LOT, || self.inner.redrive(id)).await
    }

    async fn discard(&self, id: ParcelId) -> Result<bool, LotError> {
        self.retry(PARKING_LOT, || self.inner.discard(id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FaultKind;
    use crate::memory::MemoryEventStore;
    use crate::telemetry::probe::Metrics;
    use crate::testkit::{Fate, Faulty, id};

    #[tokio::test(start_paused = true)]
    async fn retries_and_giving_up_are_counted() {
        let metrics = Metrics::default();
        let _recording = metrics::set_default_local_recorder(&metrics);
        let get = async |fates: &[Fate]| {
            let faulty = Faulty::new(Arc::new(MemoryEventStore::default()), fates.iter().copied());
            let _ = Retrying::new(Arc::new(faulty), RetryPolicy::default(), 1).get(&id("e")).await;
            let count = |name| metrics.labelled(name, "port", EVENT_STORE);
            (count(PORT_RETRIES), count(PORT_RETRIES_EXHAUSTED))
        };
        let down = Fate::Fail(FaultKind::Unavailable);
        assert_eq!(get(&[]).await, (0.0, 0.0));
        assert_eq!(get(&[down; 2]).await, (2.0, 0.0));
        assert_eq!(
            get(&[Fate::Fail(FaultKind::Denied)]).await,
            (2.0, 0.0),
            "nothing to retry is no giving up"
        );
        assert_eq!(get(&[down; 5]).await, (6.0, 1.0));
    }
}
