//! Records of the long-term log.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::event_json::{event, optional_rfc3339, rfc3339, text};
use super::{DecodeError, schema_of};
use crate::domain::{
    Event, EventDetails, EventScreening, ListEntry, ListVersion, LogRecord, OperationType, Outcome,
    PartyRole, Timestamp, TraceContext, WorkerId,
};

/// The schema in which records are written.
pub const RECORD_SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordJson {
    schema: u32,
    #[serde(with = "event")]
    event: Event,
    outcome: OutcomeJson,
    screening: ScreeningJson,
    worker: WorkerId,
    #[serde(with = "rfc3339")]
    received_at: Timestamp,
    #[serde(with = "rfc3339")]
    finished_at: Timestamp,
    #[serde(with = "optional_rfc3339", skip_serializing_if = "Option::is_none", default)]
    recorded_at: Option<Timestamp>,
    #[serde(with = "text")]
    trace: TraceContext,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OutcomeJson {
    Stored,
    Duplicate,
    Fraudulent,
    Conflict,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScreeningJson {
    list_version: ListVersion,
    verdict: VerdictJson,
    /// The event's field that holds the party of a hit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    party: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    entry: Option<ListEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum VerdictJson {
    None,
    Clear,
    Hit,
}

impl From<&EventScreening> for ScreeningJson {
    fn from(screening: &EventScreening) -> Self {
        let (verdict, party, entry) = match screening {
            EventScreening::None { .. } => (VerdictJson::None, None, None),
            EventScreening::Clear { .. } => (VerdictJson::Clear, None, None),
            EventScreening::Hit { party, entry, .. } => {
                (VerdictJson::Hit, Some(SmolStr::new_static(party.field())), Some(entry.clone()))
            }
        };
        Self { list_version: screening.version().clone(), verdict, party, entry }
    }
}

impl ScreeningJson {
    fn into_screening(self, event: &Event) -> Option<EventScreening> {
        let Self { list_version: version, verdict, party, entry } = self;
        match (verdict, party, entry) {
            (VerdictJson::None, None, None) => Some(EventScreening::None { version }),
            (VerdictJson::Clear, None, None) => Some(EventScreening::Clear { version }),
            (VerdictJson::Hit, Some(field), Some(entry)) => {
                let party = party_in(event, &field)?;
                Some(EventScreening::Hit { version, party, entry })
            }
            _ => None,
        }
    }
}

/// Returns the part that the party in a field plays.
fn party_in(event: &Event, field: &str) -> Option<PartyRole> {
    let roles: &[PartyRole] = match event.details() {
        EventDetails::Transaction { .. } => &[PartyRole::Sender, PartyRole::Receiver],
        EventDetails::Operation { operation: OperationType::Deposit, .. } => &[PartyRole::Depositor],
        EventDetails::Operation { operation: OperationType::Withdraw, .. } => &[PartyRole::Withdrawer],
    };
    roles.iter().copied().find(|role| role.field() == field)
}

impl LogRecord {
    /// Writes the record as one line of JSON, without its end.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let json = RecordJson {
            schema: RECORD_SCHEMA,
            event: self.event.clone(),
            outcome: match self.outcome {
                Outcome::Stored => OutcomeJson::Stored,
                Outcome::Duplicate => OutcomeJson::Duplicate,
                Outcome::Fraudulent => OutcomeJson::Fraudulent,
                Outcome::Conflict => OutcomeJson::Conflict,
            },
            screening: (&self.screening).into(),
            worker: self.worker.clone(),
            received_at: self.received_at,
            finished_at: self.finished_at,
            recorded_at: self.recorded_at,
            trace: self.trace,
        };
        // Writing texts and numbers to memory does not fail.
        serde_json::to_vec(&json).unwrap_or_default()
    }

    /// Reads a record of any schema.
    ///
    /// # Errors
    /// It is no record, or one of a newer program.
    pub fn from_json(text: &[u8]) -> Result<Self, DecodeError> {
        schema_of(text, RECORD_SCHEMA)?;
        let json: RecordJson = serde_json::from_slice(text)?;
        let screening = json.screening.into_screening(&json.event);
        Ok(Self {
            screening: screening
                .ok_or_else(|| <serde_json::Error as serde::de::Error>::custom("screening"))?,
            event: json.event,
            outcome: match json.outcome {
                OutcomeJson::Stored => Outcome::Stored,
                OutcomeJson::Duplicate => Outcome::Duplicate,
                OutcomeJson::Fraudulent => Outcome::Fraudulent,
                OutcomeJson::Conflict => Outcome::Conflict,
            },
            worker: json.worker,
            received_at: json.received_at,
            finished_at: json.finished_at,
            recorded_at: json.recorded_at,
            trace: json.trace,
        })
    }
}
