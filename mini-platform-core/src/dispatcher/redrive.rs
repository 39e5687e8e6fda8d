//! Parked events go through the ordinary path again.
//!
//! A round leases parcels, sends them in batches and settles each batch as it ends. The parcels of a client come in the
//! order in which they were parked, and its later ones are not sent when an earlier one failed. Parcels that failed
//! before travel in smaller batches, at last alone, so that one that can never be finished takes nobody along. While
//! nothing is finished at all, a few parcels are tried now and then, and it does not count against them.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use super::parking::{Parking, park_reason};
use super::request::{Request, Requests};
use crate::codec::ParkedEvent;
use crate::domain::{
    ClientId, DeathCause, EventBatch, EventBatchBuilder, LeaseRequest, LeasedParcel, MAX_PARCELS,
    ParcelVerdict, ParkReason, ParkedParcel, Settled, Settlement,
};
use crate::error::{Causes, DispatchError, LotError};
use crate::telemetry::{PARKING_DEAD, PARKING_OLDEST_AGE, PARKING_REDRIVEN, PARKING_WAITING};

/// How many parcels a round tries while nothing is finished.
const PROBE: usize = 16;

/// By how many powers of two a batch shrinks with each attempt of its parcels: 512, 64, 8, 1.
const SHRINK: u32 = 3;

/// Redrives the parcels of a parking lot. Several, in one process or in many, share one lot.
#[derive(Debug, Clone)]
pub struct Redriver {
    intake: Arc<Intake>,
    parking: Parking,
    max_batch: usize,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// There was nothing to do, or nothing could be done.
    Idle,
    /// It settled parcels for good: there may be more that can be.
    Progress,
}

/// A leased parcel and its event.
struct Ready {
    leased: LeasedParcel,
    event: ParkedEvent,
}

impl Ready {
    fn client(&self) -> &ClientId {
        &self.leased.parked().parcel.client
    }

    fn attempts(&self) -> u32 {
        self.leased.parked().attempts
    }
}

impl Redriver {
    pub(super) fn new(intake: Arc<Intake>, parking: Parking, max_batch: usize) -> Self {
        Self { intake, parking, max_batch }
    }

    /// Redrives until it is told to stop, and then ends the batches that are under way.
    ///
    /// Dropping the future leaves parcels to the end of their lease.
    pub async fn run(&self, stop: CancellationToken) {
        let rounds = (0..self.parking.config.rounds).map(|_| self.run_rounds(&stop));
        tokio::join!(join_all(rounds), self.watch(&stop));
    }

    async fn run_rounds(&self, stop: &CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            let round = self.round(stop).await;
            match &round {
                Ok(_) if mem::take(&mut failing) => tracing::info!("the parking lot answers again"),
                Err(error) if !mem::replace(&mut failing, true) => {
                    tracing::warn!("the parking lot cannot be redriven, trying on: {}", Causes(error));
                }
                _ => {}
            }
            if !matches!(round, Ok(Round::Progress)) {
                let part = self.intake.origin.random(|random| 0.5 + random.f64() / 2.0);
                let _ = stop.run_until_cancelled(sleep(self.parking.config.interval.mul_f64(part))).await;
            }
        }
    }

    /// Keeps the gauges of the lot.
    async fn watch(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Ok(status) = self.parking.within_time(self.parking.lot.status()).await {
                let age = status.oldest_parked_at.map(|at| self.intake.origin.now().since(at));
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                for (name, count) in [(PARKING_WAITING, status.parked), (PARKING_DEAD, status.dead)] {
                    metrics::gauge!(name).set(count as f64);
                }
                metrics::gauge!(PARKING_OLDEST_AGE).set(age.unwrap_or_default().as_secs_f64());
            }
            let _ = stop.run_until_cancelled(sleep(self.parking.config.interval)).await;
        }
    }

    /// Leases parcels once, and settles all of them.
    async fn round(&self, stop: &CancellationToken) -> Result<Round, LotError> {
        let until = Instant::now() + self.parking.config.lease / 2;
        let max = if self.intake.outage.is_on() { PROBE } else { MAX_PARCELS };
        let request = LeaseRequest::new(max, self.parking.config.lease);
        let leased = self.parking.within_time(self.parking.lot.lease(request)).await?;
        let (ready, unreadable) = read(leased);
        // First of all, because their lanes go on behind them.
        let mut round = self.settle(unreadable).await?;
        let levels =
            by_attempts(ready).into_iter().map(|(attempts, ready)| self.send(attempts, ready, until, stop));
        for ended in join_all(levels).await {
            if ended? == Round::Progress {
                round = Round::Progress;
            }
        }
        Ok(round)
    }

    /// Sends parcels whose lanes begin with as many attempts, lane by lane, one batch after the other. Gives back what
    /// it does not get to.
    async fn send(
        &self,
        attempts: u32,
        mut waiting: VecDeque<Ready>,
        until: Instant,
        stop: &CancellationToken,
    ) -> Result<Round, LotError> {
        let mut round = Round::Idle;
        while !waiting.is_empty() {
            let settlements = if stop.is_cancelled() || Instant::now() >= until {
                waiting.drain(..).map(|ready| give_back(ready, Duration::ZERO)).collect()
            } else {
                self.send_batch(attempts, &mut waiting).await
            };
            if self.settle(settlements).await? == Round::Progress {
                round = Round::Progress;
            }
        }
        Ok(round)
    }

    /// Sends the next batch and says what became of it.
    async fn send_batch(&self, attempts: u32, waiting: &mut VecDeque<Ready>) -> Vec<Settlement> {
        let Some((parcels, batch, requests)) = self.next_batch(attempts, waiting) else { return Vec::new() };
        let error = match self.intake.finish(&batch, &requests).await {
            Ok(_) => return parcels.into_iter().map(|ready| ready.leased.done()).collect(),
            Err(error) => error,
        };
        if attempts == 0 {
            self.intake.missed(&error);
        }
        self.failed(&error, parcels, waiting)
    }

    /// Takes a batch from the front: as many parcels as may travel together, with different ids.
    fn next_batch(
        &self,
        attempts: u32,
        waiting: &mut VecDeque<Ready>,
    ) -> Option<(Vec<Ready>, EventBatch, Requests)> {
        let most = self.max_batch.checked_shr(SHRINK.saturating_mul(attempts)).unwrap_or(0).max(1);
        let (mut builder, mut parcels, mut requests) = (EventBatchBuilder::default(), Vec::new(), Vec::new());
        while parcels.len() < most
            && let Some(next) = waiting.front()
            && builder.push(next.event.event.clone()).is_ok()
            && let Some(next) = waiting.pop_front()
        {
            let trace = next.event.trace.unwrap_or_else(|| self.intake.origin.fresh_trace());
            requests.push(Request { at: next.event.received_at, trace });
            parcels.push(next);
        }
        Some((parcels, builder.build()?, Requests::each(requests)?))
    }

    /// Says what becomes of the parcels of a batch that failed. The later ones of a lane that was cut are given back.
    fn failed(
        &self,
        error: &DispatchError,
        parcels: Vec<Ready>,
        waiting: &mut VecDeque<Ready>,
    ) -> Vec<Settlement> {
        let reason = park_reason(error);
        // That nobody could be asked, or that the log is stuck, is not about the parcel.
        let counts = !self.intake.outage.is_on()
            && reason.is_some_and(|reason| !matches!(reason, ParkReason::NoWorkers | ParkReason::Logging));
        let mut settlements = Vec::with_capacity(parcels.len());
        let mut lane: Option<(ClientId, Duration)> = None;
        for ready in parcels {
            let after = match &lane {
                Some((client, after)) if client == ready.client() => *after,
                _ => self.pause(ready.attempts()),
            };
            lane = Some((ready.client().clone(), after));
            let spent = ready.attempts().saturating_add(1) >= self.parking.config.max_attempts;
            settlements.push(match reason {
                None => give_back(ready, after),
                Some(reason) if !counts => ready.leased.postpone(reason, after),
                Some(reason) if spent => ready.leased.bury(DeathCause::AttemptsSpent, Some(reason)),
                Some(reason) => ready.leased.retry(reason, after),
            });
        }
        if let Some((client, after)) = lane {
            while let Some(behind) = waiting.pop_front_if(|ready| *ready.client() == client) {
                settlements.push(give_back(behind, after));
            }
        }
        settlements
    }

    /// Draws the pause of a lane whose first parcel had so many attempts before: between nothing and a limit that
    /// doubles up to the cap (full jitter).
    fn pause(&self, attempts: u32) -> Duration {
        let config = &self.parking.config;
        let limit = config.base.saturating_mul(2_u32.saturating_pow(attempts)).min(config.cap);
        limit.mul_f64(self.intake.origin.random(fastrand::Rng::f64))
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Round, LotError> {
        if settlements.is_empty() {
            return Ok(Round::Idle);
        }
        let settled = self.parking.within_time(self.parking.lot.settle(&settlements)).await?;
        let mut round = Round::Idle;
        for (settlement, settled) in settlements.iter().zip(settled) {
            let result = match (settled, settlement.verdict()) {
                (Settled::LeaseLost, _) => "lease_lost",
                (Settled::Yes, ParcelVerdict::Done) => "done",
                (Settled::Yes, ParcelVerdict::Dead { .. }) => "dead",
                (Settled::Yes, ParcelVerdict::Retry { counts: true, .. }) => "retried",
                (Settled::Yes, ParcelVerdict::Retry { counts: false, .. }) => "postponed",
            };
            if matches!(result, "done" | "dead") {
                round = Round::Progress;
            }
            metrics::counter!(PARKING_REDRIVEN, "result" => result).increment(1);
        }
        Ok(round)
    }
}

fn give_back(ready: Ready, after: Duration) -> Settlement {
    let reason = ready.leased.parked().parcel.reason;
    ready.leased.postpone(reason, after)
}

/// Reads the events of parcels, and buries those that cannot be read.
fn read(leased: Vec<LeasedParcel>) -> (Vec<Ready>, Vec<Settlement>) {
    let (mut ready, mut unreadable) = (Vec::with_capacity(leased.len()), Vec::new());
    for leased in leased {
        let ParkedParcel { parcel, .. } = leased.parked();
        match ParkedEvent::decode(&parcel.content) {
            Ok(event) => ready.push(Ready { leased, event }),
            Err(error) => {
                let causes = Causes(&error);
                tracing::warn!(parcel.id = %parcel.id, "a parcel cannot be read, it is a dead letter now: {causes}");
                unreadable.push(leased.bury(DeathCause::Undecodable, None));
            }
        }
    }
    (ready, unreadable)
}

/// Sorts lanes, which come one behind the other, by the attempts of their first parcel.
fn by_attempts(ready: Vec<Ready>) -> BTreeMap<u32, VecDeque<Ready>> {
    let mut levels: BTreeMap<u32, VecDeque<Ready>> = BTreeMap::new();
    let mut lane: Option<(ClientId, u32)> = None;
    for ready in ready {
        let level = match &lane {
            Some((client, level)) if client == ready.client() => *level,
            _ => ready.attempts(),
        };
        lane = Some((ready.client().clone(), level));
        levels.entry(level).or_default().push_back(ready);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::{Dispatcher, DispatcherConfig, ParkingConfig, RoundRobin};
    use crate::domain::LotLimits;
    use crate::memory::MemoryParkingLot;
    use crate::port::SystemClock;

    #[tokio::test]
    async fn pauses_are_anywhere_below_a_limit_that_doubles_up_to_the_cap() {
        let lot = Arc::new(MemoryParkingLot::new(LotLimits::default(), Arc::new(SystemClock)));
        let config = ParkingConfig::default().with_pauses(Duration::from_secs(1), Duration::from_secs(60));
        let dispatcher = Dispatcher::builder(DispatcherConfig::default(), Arc::new(RoundRobin::default()))
            .with_parking(lot, config)
            .with_seed(1)
            .build();
        let redriver = dispatcher.redriver().expect("it parks");
        for (attempts, limit) in [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (7, 60), (40, 60), (u32::MAX, 60)]
        {
            let tenth = Duration::from_secs(limit) / 10;
            let mut tenths = [0; 10];
            for _ in 0..1_000 {
                let pause = redriver.pause(attempts);
                let place = usize::try_from(pause.as_nanos() / tenth.as_nanos()).expect("it is short");
                *tenths.get_mut(place).expect("it is below the limit") += 1;
            }
            assert!(tenths.iter().all(|count| (50..150).contains(count)), "{attempts} attempts: {tenths:?}");
        }
    }
}
