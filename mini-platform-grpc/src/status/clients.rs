//! What a dispatcher answers to clients that submit events.

use std::time::Duration;

use mini_platform_core::error::{DispatchError, FaultKind, LotError, Retry};
use tonic::Status;

use super::reason::Reason;
use super::{Row, fetch_row, ingest_row};
use crate::convert::ConvertError;
use crate::text;
use crate::v1::ingest_stream_response::Failure;

/// When a client may send again what the dispatcher could not finish, if nothing better is known. As over HTTP.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The table, with what they can do. Causes stay inside: the log has them.
fn dispatch_row(error: &DispatchError) -> (Row, &'static str) {
    match error {
        DispatchError::NoWorkers => (
            Row::new(Reason::NoWorkers, FaultKind::Unavailable),
            "no worker is ready; send it again in a moment",
        ),
        DispatchError::Overloaded => (
            Row::new(Reason::Overloaded, FaultKind::Throttled),
            "too many requests are waiting; slow down and send it again with the same ids",
        ),
        DispatchError::Timeout(_) => (
            Row::new(Reason::Timeout, FaultKind::Timeout),
            "no worker finished in time, and what was sent may still be stored; send it again with the same ids to find out",
        ),
        DispatchError::Ingest(source) => (for_clients(ingest_row(source)), INGEST_FAILED),
        DispatchError::Fetch(source) => {
            (for_clients(fetch_row(source)), "the data cannot be read now; the log of the service says why")
        }
        DispatchError::Log(_) => (Row::new(Reason::LogFailed, FaultKind::Unavailable), LOG_FAILED),
        DispatchError::Park(LotError::Full) => (
            Row::new(Reason::Overloaded, FaultKind::Throttled),
            "it can be neither finished nor parked, because too much is parked already; send it again later with the \
             same ids",
        ),
        DispatchError::Park(_) => (Row::new(Reason::ParkFailed, FaultKind::Unavailable), PARK_FAILED),
        DispatchError::Batch(source) => dispatch_row(source),
        DispatchError::ShuttingDown => (
            Row::new(Reason::ShuttingDown, FaultKind::Unavailable),
            "the service is shutting down; send it again with the same ids in a moment",
        ),
        other => (Row::of_class(Reason::DispatcherFailed, other.retry()), BROKE_DOWN),
    }
}

const INGEST_FAILED: &str = "no worker could finish it, and nothing is promised; send it again with the same ids in a \
     moment; the log of the service says why";

const LOG_FAILED: &str =
    "it could not be logged, and nothing is promised; send it again with the same ids in a moment";

const PARK_FAILED: &str = "it could be neither finished nor parked, and nothing is promised; send it again with the same ids in a moment";

/// A client has nothing to do with what a backend denies to a worker: to the client it is a fault in here.
fn for_clients(row: Row) -> Row {
    match row.kind {
        FaultKind::Denied | FaultKind::Corrupt => Row { kind: FaultKind::Internal, ..row },
        _ => row,
    }
}

/// When a client may send it again; `None` when that cannot help.
fn client_pause(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::Never => None,
        Retry::Backoff => Some(DEFAULT_RETRY_AFTER),
        Retry::After(pause) => Some(pause),
    }
}

pub(crate) fn dispatch_error_to_status(error: &DispatchError) -> Status {
    let (row, detail) = dispatch_row(error);
    Row { retry_after: client_pause(error.retry()), ..row }.into_status(detail)
}

/// The same as [`dispatch_error_to_status`], for one request of a stream that goes on.
pub(crate) fn dispatch_error_to_failure(error: &DispatchError) -> Failure {
    let (row, detail) = dispatch_row(error);
    failure(Row { retry_after: client_pause(error.retry()), ..row }, detail)
}

fn failure(row: Row, detail: &str) -> Failure {
    Failure {
        reason: row.reason.as_str().to_owned(),
        detail: detail.to_owned(),
        retry_after_millis: row
            .retry_after
            .map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(1)),
    }
}

/// Answers that the code of a dispatcher panicked.
pub(crate) fn dispatcher_broke_down() -> Status {
    Row::new(Reason::DispatcherFailed, FaultKind::Internal).into_status(BROKE_DOWN)
}

/// The same as [`dispatcher_broke_down`], for one request of a stream that goes on.
pub(crate) fn broke_down_failure() -> Failure {
    failure(Row::new(Reason::DispatcherFailed, FaultKind::Internal), BROKE_DOWN)
}

const BROKE_DOWN: &str = "something went wrong here; the log of the service says what";

/// Answers that the program is about to stop. Nothing was done.
pub(crate) fn shutting_down() -> Status {
    dispatch_error_to_status(&DispatchError::ShuttingDown)
}

/// Answers that the time of a call is up. It may have been done.
pub(crate) fn time_is_up_for_client() -> Status {
    Row { retry_after: Some(DEFAULT_RETRY_AFTER), ..Row::new(Reason::Timeout, FaultKind::Timeout) }
        .into_status(super::TIME_IS_UP)
}

/// Ends a stream whose client says nothing. All that was answered holds.
pub(crate) fn idle() -> Status {
    Row { retry_after: Some(DEFAULT_RETRY_AFTER), ..Row::new(Reason::Idle, FaultKind::Unavailable) }
        .into_status("the stream was silent for too long; begin another when there is something to send")
}

/// The same as [`super::convert_error_to_status`], for one request of a stream that goes on.
pub(crate) fn convert_error_to_failure(error: &ConvertError) -> Failure {
    Failure {
        reason: Reason::InvalidMessage.as_str().to_owned(),
        detail: text::cut(&error.to_string()),
        retry_after_millis: None,
    }
}
