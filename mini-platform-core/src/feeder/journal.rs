//! One log line a change of state, however often the feeder looks.

use std::time::Duration;

use super::{Refresh, RefreshError, Refusal};
use crate::domain::ListVersion;
use crate::error::Causes;

/// Remembers how the last refresh ended, so that the same news is told once.
#[derive(Debug, Default)]
pub(super) struct Journal {
    last: Option<State>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    UpToDate,
    Stale(ListVersion),
    Failing(String),
}

impl State {
    fn of(result: &Result<Refresh, RefreshError>) -> Self {
        match result {
            Ok(Refresh::Replaced { .. } | Refresh::Unchanged) => Self::UpToDate,
            Ok(Refresh::Stale { newest }) => Self::Stale(newest.clone()),
            Err(error) => Self::Failing(reason(error)),
        }
    }
}

impl Journal {
    /// Logs a result if it is news; returns whether it was.
    pub(super) fn note(&mut self, result: &Result<Refresh, RefreshError>, took: Duration) -> bool {
        let state = State::of(result);
        let is_news = matches!(result, Ok(Refresh::Replaced { .. })) || self.last.as_ref() != Some(&state);
        self.last = Some(state);
        if is_news {
            log(result, took);
        }
        is_news
    }
}

fn log(result: &Result<Refresh, RefreshError>, took: Duration) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let reason = Refusal::of(result).map(Refusal::as_str);
    match result {
        Ok(Refresh::Replaced { list, malformed }) => tracing::info!(
            list.version = %list.version,
            list.entries = list.entries,
            list.source = list.source,
            list.malformed = malformed,
            duration_ms,
            "a new fraud list is in force"
        ),
        Ok(Refresh::Unchanged) => tracing::info!("the fraud list is the newest of its source"),
        Ok(Refresh::Stale { newest }) => tracing::warn!(
            list.version = %newest,
            refusal.reason = reason,
            "the source has an older fraud list than was in force before, so it stays out until a newer one is published"
        ),
        Err(error @ RefreshError::Refused(_)) => tracing::warn!(
            refusal.reason = reason,
            error = %Causes(error),
            duration_ms,
            "a new fraud list is refused, and the list in force stays"
        ),
        Err(error) => tracing::warn!(
            error = %Causes(error),
            duration_ms,
            "the fraud list could not be refreshed, and the list in force stays"
        ),
    }
}

/// Returns what makes two failures the same news.
///
/// For a refusal the whole chain, which is the same for the same content. For a failure without the causes below
/// a fault: drivers put ports and times there, which are news every time.
fn reason(error: &RefreshError) -> String {
    match error {
        RefreshError::Refused(_) | RefreshError::TimedOut(_) => Causes(error).to_string(),
        RefreshError::Source(source) => format!("{error}: {source}"),
        RefreshError::Registry(source) => format!("{error}: {source}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Etag, ListInfo, Timestamp};
    use crate::error::{Fault, FaultKind, SourceError};
    use crate::feeder::ListError;

    fn version(etag: &str) -> ListVersion {
        ListVersion::new(Timestamp::UNIX_EPOCH, Etag::new(etag).unwrap())
    }

    fn refused(reason: ListError) -> Result<Refresh, RefreshError> {
        Err(SourceError::Unacceptable { place: "file:list".to_owned(), reason: reason.into() }.into())
    }

    fn fault(kind: FaultKind, cause: &'static str) -> Result<Refresh, RefreshError> {
        Err(SourceError::from(Fault::new("s3", "get an object", kind).with_source(cause)).into())
    }

    fn replaced() -> Result<Refresh, RefreshError> {
        let list = ListInfo {
            version: version("a"),
            entries: 1,
            source: "file:list".to_owned(),
            loaded_at: Timestamp::UNIX_EPOCH,
            confirmed_at: Timestamp::UNIX_EPOCH,
        };
        Ok(Refresh::Replaced { list, malformed: 0 })
    }

    #[test]
    fn the_same_state_is_told_once_and_every_replacement_is() {
        let stale = |etag| Ok(Refresh::Stale { newest: version(etag) });
        let mut journal = Journal::default();
        for (result, is_news) in [
            (Ok(Refresh::Unchanged), true),
            (Ok(Refresh::Unchanged), false),
            (replaced(), true),
            (replaced(), true),
            (Ok(Refresh::Unchanged), false),
            (refused(ListError::Empty), true),
            (refused(ListError::Empty), false),
            (refused(ListError::HtmlPage), true),
            (fault(FaultKind::Unavailable, "port 50001"), true),
            (fault(FaultKind::Unavailable, "port 50002"), false),
            (fault(FaultKind::Denied, "port 50003"), true),
            (Ok(Refresh::Unchanged), true),
            (stale("a"), true),
            (stale("a"), false),
            (stale("b"), true),
        ] {
            assert_eq!(journal.note(&result, Duration::ZERO), is_news, "{result:?}");
        }
    }

    #[test]
    fn the_logged_reason_holds_every_cause() {
        let error = refused(ListError::Empty).unwrap_err();
        assert_eq!(
            Causes(&error).to_string(),
            "the new fraud list is refused: file:list is no acceptable fraud list: \
             the list is empty; nobody would be stopped"
        );
    }
}
