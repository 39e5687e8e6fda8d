//! Ids for events that come without one.

use uuid::{NoContext, Uuid};

use crate::domain::{EventId, Timestamp};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Makes the id of an event that was received at a time: a UUIDv7, so that ids order by time of receipt.
#[must_use]
pub fn fresh_id(received_at: Timestamp) -> Option<EventId> {
    let micros = received_at.as_micros().max(0);
    let seconds = u64::try_from(micros / MICROS_PER_SECOND).ok()?;
    let nanos = u32::try_from(micros % MICROS_PER_SECOND).ok()?.saturating_mul(1_000);
    let id = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos));
    EventId::new(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).ok()
}
