//! How events are parked and redriven.

use std::sync::Arc;
use std::time::Duration;

use super::request::Requests;
use crate::codec::ParkedEvent;
use crate::domain::{Event, EventBatch, Parcel, ParcelId, ParkReason};
use crate::error::{DispatchError, Fault, FaultKind, IngestError, LotError};
use crate::port::ParkingLot;

/// How events that cannot be finished are parked and redriven; start from the default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ParkingConfig {
    /// How long the lot may take to answer. Default 1 s: a client waits for it after the timeout of its request.
    pub timeout: Duration,
    /// How often the lot is looked at when there was nothing to redrive. Default 1 s: parcels of an outage come back
    /// about as soon as it ends.
    pub interval: Duration,
    /// How long a redriver has parcels for itself. Default 30 s: many times what a round takes; after a crash
    /// its parcels wait for so long.
    pub lease: Duration,
    /// How often a parcel is tried before it becomes a dead letter. Default 10: with the pauses below about five
    /// minutes.
    pub max_attempts: u32,
    /// The longest first pause of a parcel that failed; it doubles with each attempt. Default 1 s.
    pub base: Duration,
    /// The longest pause. Default 1 min: nobody waits longer than that after the cause is gone.
    pub cap: Duration,
    /// How many rounds are under way at once. Default 4: three go on while one is held up by parcels that hang.
    pub rounds: usize,
}

impl Default for ParkingConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            interval: Duration::from_secs(1),
            lease: Duration::from_secs(30),
            max_attempts: 10,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            rounds: 4,
        }
    }
}

impl ParkingConfig {
    /// Sets how long the lot may take to answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how often the lot is looked at when there was nothing to redrive.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets how long a redriver has parcels for itself.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how often a parcel is tried, at least once.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Sets the longest first pause and the longest pause.
    #[must_use]
    pub fn with_pauses(mut self, base: Duration, cap: Duration) -> Self {
        (self.base, self.cap) = (base, cap);
        self
    }

    /// Sets how many rounds are under way at once, at least 1.
    #[must_use]
    pub fn with_rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds.max(1);
        self
    }
}

/// A parking lot, and how it is used.
#[derive(Clone)]
pub(super) struct Parking {
    pub(super) lot: Arc<dyn ParkingLot>,
    pub(super) config: ParkingConfig,
}

impl std::fmt::Debug for Parking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parking").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Parking {
    /// Parks all events of a batch or none.
    pub(super) async fn park(
        &self,
        batch: &EventBatch,
        requests: &Requests,
        reason: ParkReason,
        fresh_id: impl FnMut() -> ParcelId,
    ) -> Result<(), LotError> {
        let parcels = parcels(batch, requests, reason, fresh_id)?;
        self.within_time(self.lot.park(&parcels)).await
    }

    /// Waits for the lot for as long as it may take.
    pub(super) async fn within_time<T>(
        &self,
        call: impl Future<Output = Result<T, LotError>>,
    ) -> Result<T, LotError> {
        match tokio::time::timeout(self.config.timeout, call).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::new("parking lot", "answer in time", FaultKind::Timeout).into()),
        }
    }
}

fn parcels(
    batch: &EventBatch,
    requests: &Requests,
    reason: ParkReason,
    mut fresh_id: impl FnMut() -> ParcelId,
) -> Result<Vec<Parcel>, LotError> {
    // Whoever walks through the lot by id meets the events of a client in their order.
    let mut ids: Vec<_> = batch.events().iter().map(|_| fresh_id()).collect();
    ids.sort_unstable();
    let parcel = |(place, (event, id)): (usize, (&Event, ParcelId))| {
        let request = requests.of(place);
        let parked =
            ParkedEvent { event: event.clone(), received_at: request.at, trace: Some(request.trace) };
        let content = parked.encode().map_err(|error| {
            Fault::new("parking lot", "take an event of this size", FaultKind::Internal).with_source(error)
        })?;
        Ok(Parcel { id, client: event.client().clone(), content, reason })
    };
    batch.events().iter().zip(ids).enumerate().map(parcel).collect()
}

/// Returns why a batch is to be parked that failed so, or `None` when it is not: there is too much already, or this
/// dispatcher is about to end.
pub(super) fn park_reason(error: &DispatchError) -> Option<ParkReason> {
    Some(match error {
        DispatchError::NoWorkers => ParkReason::NoWorkers,
        DispatchError::Timeout(_) => ParkReason::Timeout,
        DispatchError::Ingest(IngestError::Screen(_)) => ParkReason::Screening,
        DispatchError::Ingest(IngestError::Append(_)) => ParkReason::Storing,
        DispatchError::Ingest(IngestError::Link(_)) => ParkReason::Linking,
        DispatchError::Ingest(IngestError::Fault(_)) => ParkReason::Worker,
        DispatchError::Log(_) => ParkReason::Logging,
        DispatchError::Batch(source) => return park_reason(source),
        DispatchError::Overloaded
        | DispatchError::ShuttingDown
        | DispatchError::BrokeDown
        | DispatchError::Park(_)
        | DispatchError::Fetch(_) => return None,
    })
}
