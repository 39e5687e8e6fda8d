//! What became of events.

use mini_platform_core::domain::{IngestOutcome, Outcome};

use super::{ConvertError, InField, Problem, enum_value, message};
use crate::v1;

impl From<&IngestOutcome> for v1::EventResult {
    fn from(result: &IngestOutcome) -> Self {
        Self {
            outcome: v1::Outcome::from(result.outcome).into(),
            screening: Some((&result.screening).into()),
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
        Ok(Self {
            outcome: outcome(result.outcome).in_field("outcome")?,
            screening: message(result.screening, "screening")?,
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
