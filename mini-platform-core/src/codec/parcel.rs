//! Parked events.

use serde::{Deserialize, Serialize};

use super::event_json::{event, rfc3339, text};
use super::{DecodeError, schema_of};
use crate::domain::{Event, ParcelContent, ParcelTooLarge, Timestamp, TraceContext};

/// The schema in which events are parked.
///
/// - 1: event and time of receipt.
/// - 2: the trace as well.
pub const PARCEL_SCHEMA: u32 = 2;

/// An event that waits, and what is known of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    /// The event.
    pub event: Event,
    /// When the dispatcher received it.
    pub received_at: Timestamp,
    /// Which trace it belongs to; unknown of those that were parked under schema 1.
    pub trace: Option<TraceContext>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstJson {
    schema: u32,
    #[serde(with = "event")]
    event: Event,
    #[serde(with = "rfc3339")]
    received_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecondJson {
    schema: u32,
    #[serde(with = "event")]
    event: Event,
    #[serde(with = "rfc3339")]
    received_at: Timestamp,
    #[serde(with = "text")]
    trace: TraceContext,
}

impl ParkedEvent {
    /// Writes the event in the newest schema that has room for all that is known.
    ///
    /// # Errors
    /// It does not fit into a parcel, which no event comes near to.
    pub fn encode(&self) -> Result<ParcelContent, ParcelTooLarge> {
        let Self { event, received_at, trace } = self.clone();
        let text = match trace {
            Some(trace) => serde_json::to_vec(&SecondJson { schema: 2, event, received_at, trace }),
            None => serde_json::to_vec(&FirstJson { schema: 1, event, received_at }),
        };
        // Writing texts and numbers to memory does not fail.
        ParcelContent::new(text.unwrap_or_default())
    }

    /// Reads an event of any schema.
    ///
    /// # Errors
    /// It is no parked event, or one of a newer program.
    pub fn decode(content: &ParcelContent) -> Result<Self, DecodeError> {
        let text = content.as_bytes();
        if schema_of(text, PARCEL_SCHEMA)? == 1 {
            let FirstJson { event, received_at, .. } = serde_json::from_slice(text)?;
            return Ok(Self { event, received_at, trace: None });
        }
        let SecondJson { event, received_at, trace, .. } = serde_json::from_slice(text)?;
        Ok(Self { event, received_at, trace: Some(trace) })
    }
}
