//! What the feeder remembers of its last refresh, so that the same is not done again.

use std::sync::Arc;

use super::{Refresh, RefreshError};
use crate::domain::ListVersion;
use crate::error::{Retry, SourceError};

/// What the registry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) in_force: Option<ListVersion>,
    pub(super) newest: Option<ListVersion>,
}

/// How the last refresh ended. It ends so again as long as neither the sources nor the registry change.
#[derive(Debug)]
pub(super) struct Memory {
    /// The version of each source.
    pub(super) parts: Vec<ListVersion>,
    pub(super) held: Held,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    UpToDate,
    Stale(ListVersion),
    Refused(Arc<SourceError>),
}

impl Memory {
    /// Returns what to remember of a refresh; what can pass by itself says nothing of the list.
    pub(super) fn of(
        parts: Vec<ListVersion>,
        before: Held,
        result: &Result<Refresh, RefreshError>,
    ) -> Option<Self> {
        let (held, verdict) = match result {
            Ok(Refresh::Unchanged) => (before, Verdict::UpToDate),
            Ok(Refresh::Replaced { list, .. }) => {
                let version = Some(list.version.clone());
                (Held { in_force: version.clone(), newest: version }, Verdict::UpToDate)
            }
            Ok(Refresh::Stale { newest }) => (before, Verdict::Stale(newest.clone())),
            Err(error) if error.retry() != Retry::Never => return None,
            Err(RefreshError::Refused(reason)) => (before, Verdict::Refused(Arc::clone(reason))),
            Err(_) => return None,
        };
        Some(Self { parts, held, verdict })
    }

    /// Ends a refresh as the last one ended.
    pub(super) fn repeat(&self) -> Result<Refresh, RefreshError> {
        match &self.verdict {
            Verdict::UpToDate => Ok(Refresh::Unchanged),
            Verdict::Stale(newest) => Ok(Refresh::Stale { newest: newest.clone() }),
            Verdict::Refused(reason) => Err(RefreshError::Refused(Arc::clone(reason))),
        }
    }
}
