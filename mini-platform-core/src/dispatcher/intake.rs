//! What becomes of a batch: it is forwarded and logged, or it is parked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Ingested;
use super::forward::{Finished, Forwarder};
use super::outage::Outage;
use super::parking::{Parking, park_reason};
use super::request::{Origin, Request, Requests};
use crate::deadline;
use crate::domain::{
    Event, EventBatch, IngestOutcome, LogRecord, OccurredAt, Outcome, ParkReason, Timestamp, WorkerId,
};
use crate::error::{DispatchError, Fault, FaultKind, LogError};
use crate::port::LongTermLog;
use crate::telemetry::{PARKING_PARKED, PARKING_REFUSED};

/// Takes batches in.
pub(super) struct Intake {
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) log: Option<Arc<dyn LongTermLog>>,
    pub(super) parking: Option<Parking>,
    pub(super) outage: Outage,
    pub(super) origin: Origin,
    pub(super) timeout: Duration,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("parking", &self.parking).finish_non_exhaustive()
    }
}

impl Intake {
    /// Finishes a batch or parks it.
    pub(super) async fn take_in(
        &self,
        batch: &EventBatch,
        requests: &Requests,
    ) -> Result<Ingested<Vec<IngestOutcome>>, DispatchError> {
        let Some(parking) = &self.parking else {
            return self.finish(batch, requests).await.map(Ingested::Finished);
        };
        // The batch of a caller in a hurry shows nothing about who was to finish it.
        let is_telling = deadline::remaining().is_none_or(|left| left >= self.forwarder.fair_share());
        let is_diverted = if is_telling { self.outage.diverts(Instant::now()) } else { self.outage.is_on() };
        if is_diverted {
            return self.park(parking, batch, requests, ParkReason::Outage).await;
        }
        let error = match self.finish(batch, requests).await {
            Ok(outcomes) => return Ok(Ingested::Finished(outcomes)),
            Err(error) => error,
        };
        if is_telling {
            self.missed(&error);
        }
        match park_reason(&error) {
            Some(reason) => self.park(parking, batch, requests, reason).await,
            None => Err(error),
        }
    }

    /// Forwards a batch and logs what became of it.
    pub(super) async fn finish(
        &self,
        batch: &EventBatch,
        requests: &Requests,
    ) -> Result<Vec<IngestOutcome>, DispatchError> {
        let Finished { outcomes, worker } = self.forwarder.ingest(batch).await?;
        if let Some(log) = &self.log {
            let records = records(batch, requests, &outcomes, &worker, self.origin.now());
            self.publish(&**log, &records).await.map_err(DispatchError::Log)?;
        }
        // Who is on the fraud list is refused without the stores.
        if outcomes.iter().any(|finished| finished.outcome != Outcome::Fraudulent) {
            self.outage.finished(Instant::now());
        }
        Ok(outcomes)
    }

    /// Takes in that a batch which may well be finished was not.
    pub(super) fn missed(&self, error: &DispatchError) {
        if park_reason(error).is_some() {
            self.outage.failed(Instant::now());
        }
    }

    async fn publish(&self, log: &dyn LongTermLog, records: &[LogRecord]) -> Result<(), LogError> {
        match tokio::time::timeout(self.timeout, log.publish(records)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::new("long-term log", "take records in time", FaultKind::Timeout).into()),
        }
    }

    async fn park(
        &self,
        parking: &Parking,
        batch: &EventBatch,
        requests: &Requests,
        reason: ParkReason,
    ) -> Result<Ingested<Vec<IngestOutcome>>, DispatchError> {
        let events = u64::try_from(batch.len()).unwrap_or_default();
        match parking.park(batch, requests, reason, || self.origin.fresh_parcel_id()).await {
            Ok(()) => {
                metrics::counter!(PARKING_PARKED, "reason" => reason.as_str()).increment(events);
                Ok(Ingested::Parked)
            }
            Err(error) => {
                metrics::counter!(PARKING_REFUSED).increment(events);
                Err(DispatchError::Park(error))
            }
        }
    }
}

/// Makes the records of a batch that a worker finished.
fn records(
    batch: &EventBatch,
    requests: &Requests,
    outcomes: &[IngestOutcome],
    worker: &WorkerId,
    finished_at: Timestamp,
) -> Vec<LogRecord> {
    let record = |(place, (event, finished)): (usize, (&Event, &IngestOutcome))| {
        let Request { at: received_at, trace } = requests.of(place);
        let event = match finished.recording {
            Some(recording) => event.clone().happened(OccurredAt::Given(recording.occurred_at)),
            None => event.clone(),
        };
        LogRecord {
            event,
            outcome: finished.outcome,
            screening: finished.screening.clone(),
            recorded_at: finished.recording.map(|recording| recording.recorded_at),
            worker: worker.clone(),
            received_at,
            finished_at,
            trace,
        }
    };
    batch.events().iter().zip(outcomes).enumerate().map(record).collect()
}
