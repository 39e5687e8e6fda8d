//! What a seed decides before anything happens.

use std::time::Duration;

use mini_platform_core::dispatcher::{DispatcherConfig, ParkingConfig};
use mini_platform_core::domain::LotLimits;

use super::chance::Chance;

/// How long a lease of a membership lasts.
pub(crate) const MEMBERSHIP: Duration = Duration::from_secs(2);

/// How long a relay waits for the log.
pub(crate) const RELAY_TIMEOUT: Duration = Duration::from_secs(3);

/// How much an outbox must hold for each event of the largest batch: a record has half of that.
const RECORD_BYTES: u64 = 1_024;

pub(crate) struct Plan {
    pub(crate) dispatchers: usize,
    pub(crate) workers: usize,
    pub(crate) clients: usize,
    /// How many sends a client has in mind.
    pub(crate) sends: usize,
    /// The longest pause of a client between two of them.
    pub(crate) pause: Duration,
    /// For how long things go wrong.
    pub(crate) length: Duration,
    pub(crate) troubles: usize,
    pub(crate) dispatching: DispatcherConfig,
    pub(crate) parking: ParkingConfig,
    pub(crate) limits: LotLimits,
    pub(crate) outbox_bytes: u64,
    pub(crate) balancer: u64,
    /// Whether there are events that no worker ever finishes.
    pub(crate) has_poison: bool,
    /// Whether the dead letters are tried again at the end.
    pub(crate) is_redriven_by_hand: bool,
}

fn choose(chance: &Chance, choices: &[u64]) -> Duration {
    Duration::from_millis(chance.pick(choices))
}

impl Plan {
    pub(crate) fn choose(chance: &Chance) -> Self {
        let count = |choices: &[usize]| chance.pick(choices);
        let max_batch = count(&[1, 3, 16, 512]);
        let dispatching = DispatcherConfig::default()
            .with_timeout(choose(chance, &[200, 500, 1_000]))
            .with_max_batch(max_batch)
            .with_concurrent_batches(count(&[1, 2, 4]))
            .with_queue(count(&[4, 64, 8_192]))
            .with_max_in_flight(count(&[2, 16, 1_024]));
        let parking = ParkingConfig::default()
            .with_timeout(choose(chance, &[200, 500, 1_000]))
            .with_interval(choose(chance, &[200, 500, 1_000]))
            // The shortest ends before a batch that takes its whole time.
            .with_lease(choose(chance, &[1_000, 3_000, 20_000]))
            .with_max_attempts(chance.pick(&[4, 6, 10]))
            .with_pauses(choose(chance, &[100, 500]), choose(chance, &[1_000, 4_000]))
            .with_rounds(count(&[1, 2, 4]));
        let parcels = chance.pick(&[1_000_000, 1_000_000, 12, 30]);
        // An outbox that has no room for the largest batch would never take it.
        let room = if max_batch > 16 { 4_096 } else { chance.pick(&[2, 8, 4_096]) };
        Self {
            dispatchers: count(&[1, 2, 3]),
            workers: count(&[1, 2, 3, 4]),
            clients: count(&[1, 2, 3, 4]),
            sends: count(&[6, 12, 20]),
            pause: choose(chance, &[50, 500, 2_000]),
            length: Duration::from_secs(chance.pick(&[8, 15, 25])),
            troubles: count(&[0, 2, 4, 8]),
            dispatching,
            parking,
            limits: LotLimits { parcels, ..LotLimits::default() },
            outbox_bytes: room * RECORD_BYTES * (max_batch.min(16) as u64),
            balancer: chance.between(0..=3),
            has_poison: chance.hits(0.3),
            is_redriven_by_hand: chance.hits(0.5),
        }
    }

    /// Within what time a dispatcher answers a batch: a worker is waited for, the log, and the lot.
    pub(crate) fn batch_limit(&self) -> Duration {
        2 * self.dispatching.timeout + self.parking.timeout
    }

    /// Within what time it answers a single event: that of the batch that it makes, and it may wait for one timeout.
    pub(crate) fn single_limit(&self) -> Duration {
        self.batch_limit() + self.dispatching.timeout
    }

    /// Within what time everything is finished once nothing goes wrong any more: what was leased at the crash of its
    /// redriver is free, and what cannot be finished has made all of its attempts.
    pub(crate) fn recovery(&self) -> Duration {
        let attempts = self.parking.cap + 4 * self.dispatching.timeout;
        2 * self.parking.lease + attempts * self.parking.max_attempts + Duration::from_secs(60)
    }
}
