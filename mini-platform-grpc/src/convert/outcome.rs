//! What became of events.

use mini_platform_core::domain::{IngestOutcome, Outcome, Recording};

use super::{ConvertError, InField, Problem, enum_value, message, optional_message, timestamp};
use crate::v1;

impl From<&IngestOutcome> for v1::EventResult {
    fn from(result: &IngestOutcome) -> Self {
        Self {
            outcome: v1::Outcome::from(result.outcome).into(),
            screening: Some((&result.screening).into()),
            recording: result.recording.map(Into::into),
        }
    }
}

impl From<Recording> for v1::Recording {
    fn from(recording: Recording) -> Self {
        Self {
            occurred_at_micros: Some(recording.occurred_at.as_micros()),
            recorded_at_micros: Some(recording.recorded_at.as_micros()),
        }
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Stored => Self::Stored,
            Outcome::Duplicate => Self::Duplicate,
            Outcome::Fraudulent => Self::Fraudulent,
            Outcome::Conflict => Self::Conflict,
        }
    }
}

impl TryFrom<v1::EventResult> for IngestOutcome {
    type Error = ConvertError;

    fn try_from(result: v1::EventResult) -> Result<Self, ConvertError> {
        let outcome = outcome(result.outcome).in_field("outcome")?;
        let screening = message(result.screening, "screening")?;
        let recording = || optional_message::<_, Recording>(result.recording, "recording");
        Ok(match outcome {
            Outcome::Stored => Self::stored(screening, recording()?),
            Outcome::Duplicate => Self::duplicate(screening, recording()?),
            Outcome::Fraudulent => Self::fraudulent(screening),
            Outcome::Conflict => Self::conflict(screening),
        })
    }
}

impl TryFrom<v1::Recording> for Recording {
    type Error = ConvertError;

    fn try_from(recording: v1::Recording) -> Result<Self, ConvertError> {
        Ok(Self {
            occurred_at: timestamp(recording.occurred_at_micros, "occurred_at_micros")?,
            recorded_at: timestamp(recording.recorded_at_micros, "recorded_at_micros")?,
        })
    }
}

fn outcome(number: i32) -> Result<Outcome, Problem> {
    match enum_value(number)? {
        v1::Outcome::Unspecified => Err(Problem::Unspecified),
        v1::Outcome::Stored => Ok(Outcome::Stored),
        v1::Outcome::Duplicate => Ok(Outcome::Duplicate),
        v1::Outcome::Fraudulent => Ok(Outcome::Fraudulent),
        v1::Outcome::Conflict => Ok(Outcome::Conflict),
    }
}
