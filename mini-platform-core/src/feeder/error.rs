//! Why a refresh did not bring a new list into force.

use std::sync::Arc;
use std::time::Duration;

use super::{ListError, Refusal};
use crate::error::{RegistryError, Retry, SourceError};

/// A refresh failed. Whatever the reason, the list in force stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// What a source has is no list that may come into force.
    ///
    /// It stays out until its publisher changes it, or, if it may have been cut on its way, until it comes whole.
    #[error("the new fraud list is refused")]
    Refused(#[source] Arc<SourceError>),
    /// A source could not be read.
    #[error("the fraud source could not be read")]
    Source(#[source] SourceError),
    /// The registry did not answer or could not take the list in.
    #[error("the fraud registry failed")]
    Registry(#[source] RegistryError),
    /// The refresh took too long and was given up.
    #[error("the fraud list was not refreshed within {0:?}")]
    TimedOut(Duration),
}

impl RefreshError {
    /// Says whether a retry can help without a change at the source.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused(reason) if is_truncation(reason) => Retry::Backoff,
            Self::Refused(_) => Retry::Never,
            Self::Source(source) => source.retry(),
            Self::Registry(source) => source.retry(),
            Self::TimedOut(_) => Retry::Backoff,
        }
    }

    /// Returns why the list is kept out, if that is what failed.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(reason) => Some(Refusal::of_source(reason)),
            Self::Source(_) | Self::Registry(_) | Self::TimedOut(_) => None,
        }
    }
}

fn is_truncation(error: &SourceError) -> bool {
    let SourceError::Unacceptable { reason, .. } = error else { return false };
    reason.downcast_ref::<ListError>().is_some_and(ListError::is_truncation)
}

impl From<RegistryError> for RefreshError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Refused(source) => source.into(),
            other => Self::Registry(other),
        }
    }
}

impl From<SourceError> for RefreshError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Unacceptable { .. } => Self::Refused(Arc::new(error)),
            other => Self::Source(other),
        }
    }
}
