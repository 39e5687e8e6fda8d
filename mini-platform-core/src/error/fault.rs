//! The one error for "the outside failed".

use std::error::Error;
use std::time::Duration;

use super::Retry;

/// A boxed cause.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// What sort of failure a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The backend cannot be reached or is shutting down.
    Unavailable,
    /// The backend did not answer in time; whether it acted is unknown.
    Timeout,
    /// The backend asked for a pause.
    Throttled,
    /// The backend refused who we are or what we may do.
    Denied,
    /// The backend answered what cannot be right.
    Corrupt,
    /// Anything else, such as a bug of ours or a full disk.
    Internal,
}

impl FaultKind {
    /// Returns the kind as a log field.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }
}

/// A backend failed. Says which, at what, and whether a retry can help.
#[derive(Debug, thiserror::Error)]
#[error("{backend} failed to {operation}: {}", kind.as_str())]
pub struct Fault {
    backend: &'static str,
    operation: &'static str,
    kind: FaultKind,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

impl Fault {
    /// Makes a fault of a backend (`embedded`) at an operation (`append events`).
    #[must_use]
    pub fn new(backend: &'static str, operation: &'static str, kind: FaultKind) -> Self {
        Self { backend, operation, kind, retry_after: None, source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the pause that the backend asked for.
    #[must_use]
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Returns what sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Says whether a retry can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match (self.kind, self.retry_after) {
            (FaultKind::Denied | FaultKind::Corrupt | FaultKind::Internal, _) => Retry::Never,
            (_, Some(pause)) => Retry::After(pause),
            (_, None) => Retry::Backoff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_pass_is_retried() {
        let retry = |kind| Fault::new("b", "do", kind).retry();
        for kind in [FaultKind::Unavailable, FaultKind::Timeout, FaultKind::Throttled] {
            assert_eq!(retry(kind), Retry::Backoff, "{kind:?} can pass");
        }
        for kind in [FaultKind::Denied, FaultKind::Corrupt, FaultKind::Internal] {
            assert_eq!(retry(kind), Retry::Never, "{kind:?} cannot pass by itself");
        }
    }

    #[test]
    fn a_hint_of_the_backend_is_kept() {
        let pause = Duration::from_millis(250);
        let fault = Fault::new("b", "do", FaultKind::Throttled).with_retry_after(pause);
        assert_eq!(fault.retry(), Retry::After(pause));
    }

    #[test]
    fn the_message_leaves_the_cause_to_source() {
        let fault = Fault::new("embedded", "append events", FaultKind::Internal).with_source("disk full");
        assert_eq!(fault.to_string(), "embedded failed to append events: internal");
        assert_eq!(std::error::Error::source(&fault).map(ToString::to_string).as_deref(), Some("disk full"));
    }
}
