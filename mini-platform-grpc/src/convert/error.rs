//! Why a message is refused.

use std::time::Duration;

use mini_platform_core::domain::{
    InvalidBatch, InvalidId, InvalidListVersion, InvalidMoney, InvalidNodeAddress, InvalidPage,
    InvalidTimestamp, SameParty,
};

/// A message from elsewhere breaks a rule: which field, and what is wrong with it.
///
/// Sending the same message again cannot help. No client, branch, name or amount is in the text, so it can be
/// logged and answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConvertError {
    field: String,
    problem: Problem,
}

impl ConvertError {
    pub(super) fn new(field: &str, problem: impl Into<Problem>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }

    /// Puts the field of the outer message in front of the path.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        Self { field: format!("{parent}.{}", self.field), problem: self.problem }
    }

    /// Puts the field of the outer message and the place therein in front of the path.
    #[must_use]
    pub fn within_item(self, parent: &str, index: usize) -> Self {
        self.within(&format!("{parent}[{index}]"))
    }

    /// Returns the path of the field from the converted message on, such as `events[3].transaction.sender`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Returns what is wrong with the field.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is not set, or is set to a member of a oneof that is not known here.
    #[error("must be set to something that this version knows")]
    Missing,
    /// It has the enum's zero value.
    #[error("must not be unspecified")]
    Unspecified,
    /// It has a number that the enum does not have here.
    #[error("has the enum value {0}, which this version does not know")]
    UnknownEnumValue(i32),
    /// It is no event id, client id, branch id or list entry.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// It is no amount or currency.
    #[error(transparent)]
    Money(#[from] InvalidMoney),
    /// It is outside of the years 0001 to 9999.
    #[error("must be microseconds since 1970, in the years 0001 to 9999")]
    Timestamp,
    /// It is no etag.
    #[error("must be 1 to 128 bytes of printable ASCII without spaces")]
    Etag,
    /// The sender is the receiver.
    #[error(transparent)]
    SameParty(#[from] SameParty),
    /// The events make no batch.
    #[error(transparent)]
    Batch(#[from] InvalidBatch),
    /// It is no page size, or no token of this query.
    #[error(transparent)]
    Page(#[from] InvalidPage),
    /// It is no address of a dispatcher or worker.
    #[error(transparent)]
    Address(#[from] InvalidNodeAddress),
    /// It is zero, which numbers of this kind never are.
    #[error("must be at least 1")]
    Zero,
    /// It is no length of time, or too long a one.
    #[error("must be 1 to {} milliseconds", max.as_millis())]
    Duration {
        /// The longest.
        max: Duration,
    },
    /// Neither of the two times is set.
    #[error("must be set when there is no other time")]
    NoTime,
    /// There are more than may be.
    #[error("must have at most {max} items")]
    TooMany {
        /// The most.
        max: usize,
    },
    /// The text is longer than is taken.
    #[error("must be at most {max} bytes long")]
    TextTooLong {
        /// The limit, in bytes.
        max: usize,
    },
}

impl From<InvalidTimestamp> for Problem {
    fn from(_: InvalidTimestamp) -> Self {
        Self::Timestamp
    }
}

impl From<InvalidListVersion> for Problem {
    fn from(_: InvalidListVersion) -> Self {
        Self::Etag
    }
}
