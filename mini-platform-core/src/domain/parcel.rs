//! Events that wait in the parking lot.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{ClientId, Timestamp};

/// The longest content of a parcel, in bytes.
///
/// An event has at most 4 KiB in its parked form, with every letter of the longest names escaped.
pub const MAX_PARCEL_BYTES: usize = 16 * 1024;

/// The most parcels that are parked, leased or settled at once: those of the largest batch.
pub const MAX_PARCELS: usize = super::MAX_BATCH;

/// A text is no id of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of a parcel, such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidParcelId;

/// Names a parcel: a UUIDv7, so that parcels order by the time at which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParcelId(Uuid);

impl ParcelId {
    /// Makes the id of a parcel that is made at a time, of ten random bytes.
    #[must_use]
    pub fn new(made_at: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(made_at.as_micros().max(0) / 1_000).unwrap_or_default();
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// Makes the id of its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns its bytes, which order as ids do.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl fmt::Display for ParcelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ParcelId {
    type Err = InvalidParcelId;

    /// Takes the form that [`ParcelId`] is shown in, and no other.
    fn from_str(text: &str) -> Result<Self, InvalidParcelId> {
        let id = Uuid::try_parse(text).map(Self).map_err(|_| InvalidParcelId)?;
        if id.to_string() == text { Ok(id) } else { Err(InvalidParcelId) }
    }
}

/// Says that a content is longer than [`MAX_PARCEL_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a parcel holds at most {MAX_PARCEL_BYTES} bytes, got {0}")]
pub struct ParcelTooLarge(pub usize);

/// What a parcel holds: an event in its parked form, which a parking lot need not understand.
///
/// See [`codec`](crate::codec) for the form.
#[derive(Clone, PartialEq, Eq)]
pub struct ParcelContent(Bytes);

impl ParcelContent {
    /// Checks the length of a content.
    ///
    /// # Errors
    /// More than [`MAX_PARCEL_BYTES`].
    pub fn new(content: impl Into<Bytes>) -> Result<Self, ParcelTooLarge> {
        let content = content.into();
        if content.len() > MAX_PARCEL_BYTES { Err(ParcelTooLarge(content.len())) } else { Ok(Self(content)) }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ParcelContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParcelContent({} bytes)", self.0.len())
    }
}

/// Why an event is not finished yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParkReason {
    /// There was no worker.
    NoWorkers,
    /// No worker finished in time; what was sent may be stored.
    Timeout,
    /// The fraud list did not answer.
    Screening,
    /// The event store did not answer.
    Storing,
    /// The adjacency store did not answer.
    Linking,
    /// Workers could not be reached, or broke their promise.
    Worker,
    /// It was finished, and the long-term log did not take the record.
    Logging,
    /// Nothing is finished at the moment, so it was not tried.
    Outage,
}

impl ParkReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::NoWorkers,
        Self::Timeout,
        Self::Screening,
        Self::Storing,
        Self::Linking,
        Self::Worker,
        Self::Logging,
        Self::Outage,
    ];

    /// Returns the wire name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoWorkers => "no_workers",
            Self::Timeout => "timeout",
            Self::Screening => "screening",
            Self::Storing => "storing",
            Self::Linking => "linking",
            Self::Worker => "worker",
            Self::Logging => "logging",
            Self::Outage => "outage",
        }
    }

    /// Returns the reason of a wire name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// One event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Its name; parking it again changes nothing.
    pub id: ParcelId,
    /// Whose it is: the parcels of one client leave in the order in which they were parked.
    pub client: ClientId,
    /// The event.
    pub content: ParcelContent,
    /// Why it is parked.
    pub reason: ParkReason,
}

/// A parcel in the parking lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedParcel {
    /// The parcel, with the reason of its last failure.
    pub parcel: Parcel,
    /// How often it was tried since it was parked.
    pub attempts: u32,
    /// When it was parked.
    pub parked_at: Timestamp,
}

/// A parcel that is tried no more, until a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The parcel, as it was last.
    pub parked: ParkedParcel,
    /// Why it is tried no more.
    pub cause: DeathCause,
    /// When that was decided.
    pub died_at: Timestamp,
}

/// Why a parcel is tried no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeathCause {
    /// It was tried as often as it may be.
    AttemptsSpent,
    /// Its content cannot be read.
    Undecodable,
}

impl DeathCause {
    /// Returns the wire name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsSpent => "attempts_spent",
            Self::Undecodable => "undecodable",
        }
    }

    /// Returns the cause of a wire name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::AttemptsSpent, Self::Undecodable].into_iter().find(|cause| cause.as_str() == name)
    }
}

/// Tells one leasing of a parcel from the next: who settles with an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

/// Asks for parcels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRequest {
    max: NonZeroU32,
    ttl: Duration,
}

impl LeaseRequest {
    /// Asks for up to `max` parcels (held to 1 to [`MAX_PARCELS`]) for as long as `ttl`.
    #[must_use]
    pub fn new(max: usize, ttl: Duration) -> Self {
        let max = u32::try_from(max.clamp(1, MAX_PARCELS)).ok().and_then(NonZeroU32::new);
        Self { max: max.unwrap_or(NonZeroU32::MIN), ttl }
    }

    /// Returns how many parcels are asked for.
    #[must_use]
    pub fn max(&self) -> usize {
        usize::try_from(self.max.get()).unwrap_or(MAX_PARCELS)
    }

    /// Returns for how long.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}

/// The right to try a parcel, for as long as its lease lasts. What became of it is said by settling it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a leased parcel is settled, or it waits for its lease to end"]
pub struct LeasedParcel {
    lease: LeaseId,
    parked: ParkedParcel,
}

impl LeasedParcel {
    /// Leases a parcel; for parking lots.
    pub fn new(lease: LeaseId, parked: ParkedParcel) -> Self {
        Self { lease, parked }
    }

    /// Returns the parcel.
    #[must_use]
    pub fn parked(&self) -> &ParkedParcel {
        &self.parked
    }

    /// It is finished, and is to be forgotten.
    pub fn done(self) -> Settlement {
        self.settle(ParcelVerdict::Done)
    }

    /// It failed, and is to be tried again after a pause; this attempt counts.
    pub fn retry(self, reason: ParkReason, after: Duration) -> Settlement {
        self.settle(ParcelVerdict::Retry { reason, after, counts: true })
    }

    /// It was no fault of the parcel, which is to be tried again after a pause; this attempt does not count.
    pub fn postpone(self, reason: ParkReason, after: Duration) -> Settlement {
        self.settle(ParcelVerdict::Retry { reason, after, counts: false })
    }

    /// It is tried no more, until a person decides; an attempt that failed counts.
    pub fn bury(self, cause: DeathCause, last: Option<ParkReason>) -> Settlement {
        self.settle(ParcelVerdict::Dead { cause, last })
    }

    fn settle(self, verdict: ParcelVerdict) -> Settlement {
        Settlement { lease: self.lease, parcel: self.parked.parcel.id, verdict }
    }
}

/// What became of a leased parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a settlement has to be told to the parking lot"]
pub struct Settlement {
    lease: LeaseId,
    parcel: ParcelId,
    verdict: ParcelVerdict,
}

impl Settlement {
    /// Returns the lease under which it was tried.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Returns which parcel it is about.
    #[must_use]
    pub fn parcel(&self) -> ParcelId {
        self.parcel
    }

    /// Returns what to do with the parcel.
    #[must_use]
    pub fn verdict(&self) -> ParcelVerdict {
        self.verdict
    }
}

/// What to do with a parcel that was leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParcelVerdict {
    /// Forget it.
    Done,
    /// Keep it for another try.
    Retry {
        /// Why it is not finished.
        reason: ParkReason,
        /// How long to wait.
        after: Duration,
        /// Whether the attempt counts.
        counts: bool,
    },
    /// Put it with the dead letters.
    Dead {
        /// Why.
        cause: DeathCause,
        /// Why it is not finished, if it was tried: then the attempt counts.
        last: Option<ParkReason>,
    },
}

/// What a parking lot made of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was done.
    Yes,
    /// The lease had ended, and the parcel is somebody else's or gone; nothing was changed.
    LeaseLost,
}

/// How much a parking lot may hold, parked and dead together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LotLimits {
    /// The most parcels.
    pub parcels: u64,
    /// The most bytes of their contents.
    pub bytes: u64,
}

impl Default for LotLimits {
    /// A million parcels: eight minutes of 2,000 events a second. 256 MiB hold them at the usual 250 bytes each.
    fn default() -> Self {
        Self { parcels: 1_000_000, bytes: 256 * 1024 * 1024 }
    }
}

/// How full a parking lot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LotStatus {
    /// Parcels that wait or are tried at the moment.
    pub parked: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of the contents of both.
    pub bytes: u64,
    /// When the parcel that waits for the longest time was parked.
    pub oldest_parked_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_order_by_time_and_survive_their_text_form() {
        let id = |millis: i64, random| ParcelId::new(Timestamp::from_micros(millis * 1_000).unwrap(), random);
        assert!(id(1, [255; 10]) < id(2, [0; 10]));
        let text = id(1_700_000_000_000, [7; 10]).to_string();
        assert_eq!(text.parse::<ParcelId>().map(|id| id.to_string()), Ok(text.clone()));
        for other in ["", "x", &text.to_uppercase(), &text.replace('-', ""), &format!("{{{text}}}")] {
            assert_eq!(other.parse::<ParcelId>(), Err(InvalidParcelId), "{other} must be refused");
        }
    }

    #[test]
    fn a_content_is_bounded_and_hidden() {
        assert!(ParcelContent::new(vec![0; MAX_PARCEL_BYTES]).is_ok());
        let long = MAX_PARCEL_BYTES + 1;
        assert_eq!(ParcelContent::new(vec![0; long]), Err(ParcelTooLarge(long)));
        let content = ParcelContent::new(&b"Ann"[..]).unwrap();
        assert!(!format!("{content:?}").contains("Ann"));
    }

    #[test]
    fn names_lead_back_to_their_reasons() {
        for reason in ParkReason::ALL {
            assert_eq!(ParkReason::from_name(reason.as_str()), Some(reason));
        }
        for cause in [DeathCause::AttemptsSpent, DeathCause::Undecodable] {
            assert_eq!(DeathCause::from_name(cause.as_str()), Some(cause));
        }
        assert_eq!(ParkReason::from_name(""), None);
    }
}
