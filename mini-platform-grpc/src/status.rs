//! Errors to gRPC statuses and back: one table, which `worker.proto` and `ingest.proto` promise.
//!
//! The code says how something failed, and is one for one the kind of a fault. The reason, in `google.rpc.ErrorInfo`,
//! says what failed. A pause that the other side asked for is in `google.rpc.RetryInfo`.
//!
//! A status without our reason comes from what is in between: a proxy, the transport, or tonic itself. Its code alone
//! decides.

mod clients;
mod details;
mod foreign;
mod reason;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use mini_platform_core::error::{
    Fault, FaultKind, FetchError, IngestError, RegistryError, Retry, StoreError,
};
use tonic::{Code, Status};

pub(crate) use self::clients::{
    broke_down_failure, convert_error_to_failure, dispatch_error_to_failure, dispatch_error_to_status,
    dispatcher_broke_down, idle, shutting_down, time_is_up_for_client,
};
use self::details::{Details, MAX_RETRY_AFTER};
use self::foreign::{Remote, foreign_kind};
use self::reason::Reason;
use crate::convert::{ConvertError, WrongAnswer};
use crate::text;

/// What a status says, apart from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    reason: Reason,
    kind: FaultKind,
    retry_after: Option<Duration>,
}

impl Row {
    fn new(reason: Reason, kind: FaultKind) -> Self {
        Self { reason, kind, retry_after: None }
    }

    fn of_fault(reason: Reason, fault: &Fault) -> Self {
        Self { reason, kind: fault.kind(), retry_after: pause(fault.retry()) }
    }

    /// The row of an error that is not expected here: its retry class is kept.
    fn of_class(reason: Reason, retry: Retry) -> Self {
        let kind = match retry {
            Retry::Never => FaultKind::Internal,
            Retry::Backoff | Retry::After(_) => FaultKind::Unavailable,
        };
        Self { reason, kind, retry_after: pause(retry) }
    }

    fn into_status(self, message: &str) -> Status {
        details::status(code_of(self.kind), message, self.reason, self.retry_after)
    }
}

fn pause(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::After(pause) => Some(pause),
        Retry::Never | Retry::Backoff => None,
    }
}

/// The table of codes; [`kind_of`] is its way back.
fn code_of(kind: FaultKind) -> Code {
    match kind {
        FaultKind::Unavailable => Code::Unavailable,
        FaultKind::Timeout => Code::DeadlineExceeded,
        FaultKind::Throttled => Code::ResourceExhausted,
        FaultKind::Denied => Code::PermissionDenied,
        FaultKind::Corrupt => Code::DataLoss,
        _ => Code::Internal,
    }
}

/// The way back of [`code_of`], for a status that has our reason.
fn kind_of(code: Code) -> FaultKind {
    match code {
        Code::Unavailable => FaultKind::Unavailable,
        Code::DeadlineExceeded => FaultKind::Timeout,
        Code::ResourceExhausted => FaultKind::Throttled,
        Code::PermissionDenied => FaultKind::Denied,
        Code::DataLoss => FaultKind::Corrupt,
        _ => FaultKind::Internal,
    }
}

/// Says an error and its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause.filter(|_| text.len() < text::MAX_TEXT_BYTES) {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The table of what a worker answers when it could not take a batch in.
fn ingest_row(error: &IngestError) -> Row {
    match error {
        IngestError::Screen(source) => registry_row(Reason::ScreeningFailed, source),
        IngestError::Append(source) => store_row(Reason::StoreFailed, source),
        IngestError::Link(source) => store_row(Reason::LinkingFailed, source),
        IngestError::Fault(fault) => Row::of_fault(Reason::WorkerFailed, fault),
        other => Row::of_class(Reason::WorkerFailed, other.retry()),
    }
}

/// The table of what a worker answers when it could not read.
fn fetch_row(error: &FetchError) -> Row {
    match error {
        FetchError::Store(source) => store_row(Reason::StoreFailed, source),
        FetchError::Registry(source) => registry_row(Reason::RegistryFailed, source),
        FetchError::Fault(fault) => Row::of_fault(Reason::WorkerFailed, fault),
        other => Row::of_class(Reason::WorkerFailed, other.retry()),
    }
}

fn registry_row(reason: Reason, error: &RegistryError) -> Row {
    match error {
        RegistryError::NoList => Row::new(Reason::NoFraudList, FaultKind::Unavailable),
        RegistryError::Fault(fault) => Row::of_fault(reason, fault),
        other => Row::of_class(reason, other.retry()),
    }
}

fn store_row(reason: Reason, error: &StoreError) -> Row {
    match error {
        StoreError::Fault(fault) => Row::of_fault(reason, fault),
        other => Row::of_class(reason, other.retry()),
    }
}

pub(crate) fn ingest_error_to_status(error: &IngestError) -> Status {
    ingest_row(error).into_status(&chain(error))
}

pub(crate) fn fetch_error_to_status(error: &FetchError) -> Status {
    fetch_row(error).into_status(&chain(error))
}

/// For what a dispatcher answers to workers when it could not ask its own cluster.
pub(crate) fn fault_to_status(fault: &Fault) -> Status {
    Row::of_fault(Reason::DispatcherFailed, fault).into_status(&chain(fault))
}

/// Refuses a message. The field is in the metadata of the reason, too.
pub(crate) fn convert_error_to_status(error: &ConvertError) -> Status {
    details::invalid(error.field(), &error.to_string())
}

/// Answers that more calls are under way than may be. Nothing was done.
pub(crate) fn overloaded(retry_after: Duration) -> Status {
    let row = Row { retry_after: Some(retry_after), ..Row::new(Reason::Overloaded, FaultKind::Throttled) };
    row.into_status("too many calls are under way; send it again after the pause, or to another")
}

/// Answers that the time of a call to a worker is up. It may have been done.
pub(crate) fn time_is_up() -> Status {
    Row::new(Reason::Timeout, FaultKind::Timeout).into_status(TIME_IS_UP)
}

const TIME_IS_UP: &str = "the time of the call is up, and it may have been done";

/// Answers that the code of a worker panicked.
pub(crate) fn worker_broke_down() -> Status {
    let fault = Fault::new(WORKER, "answer the request", FaultKind::Internal);
    Row::of_fault(Reason::WorkerFailed, &fault).into_status(&chain(&fault))
}

/// Answers that a worker has something else than was asked for.
pub(crate) fn wrong_answer(error: &WrongAnswer) -> Status {
    Row::new(Reason::WorkerFailed, FaultKind::Corrupt).into_status(&error.to_string())
}

/// The way back of [`ingest_error_to_status`].
pub(crate) fn status_to_ingest_error(status: &Status) -> IngestError {
    let read = Read::new(status);
    match read.reason {
        Some(Reason::NoFraudList) => IngestError::Screen(RegistryError::NoList),
        Some(Reason::ScreeningFailed) => {
            IngestError::Screen(read.into_fault("registry", "screen events").into())
        }
        Some(Reason::StoreFailed) => {
            IngestError::Append(read.into_fault("event store", "append events").into())
        }
        Some(Reason::LinkingFailed) => IngestError::Link(read.into_fault("adjacency", "link events").into()),
        _ => read.into_fault(WORKER, "take a batch in").into(),
    }
}

/// The way back of [`fetch_error_to_status`].
pub(crate) fn status_to_fetch_error(status: &Status) -> FetchError {
    let read = Read::new(status);
    match read.reason {
        Some(Reason::NoFraudList) => RegistryError::NoList.into(),
        Some(Reason::RegistryFailed) => RegistryError::from(read.into_fault("registry", "answer")).into(),
        Some(Reason::StoreFailed) => StoreError::from(read.into_fault("store", "read")).into(),
        _ => read.into_fault(WORKER, "answer a fetch").into(),
    }
}

/// The backend of a fault of the worker itself.
const WORKER: &str = "worker";

/// Makes a fault of any status: `backend` is who was called, `operation` what for.
pub(crate) fn status_to_fault(status: &Status, backend: &'static str, operation: &'static str) -> Fault {
    Read::new(status).into_fault(backend, operation)
}

/// Makes a fault of an answer that cannot be right.
pub(crate) fn answer_to_fault(error: ConvertError, backend: &'static str, operation: &'static str) -> Fault {
    Fault::new(backend, operation, FaultKind::Corrupt).with_source(error)
}

/// What was read of a status.
struct Read {
    reason: Option<Reason>,
    kind: FaultKind,
    retry_after: Option<Duration>,
    remote: Remote,
}

impl Read {
    fn new(status: &Status) -> Self {
        let Details { ours, reason, retry_after } = Details::of(status);
        let kind = if ours { kind_of(status.code()) } else { foreign_kind(status) };
        Self { reason, kind, retry_after, remote: Remote::new(status, ours) }
    }

    fn into_fault(self, backend: &'static str, operation: &'static str) -> Fault {
        let fault = Fault::new(backend, operation, self.kind).with_source(self.remote);
        match self.retry_after {
            Some(pause) => fault.with_retry_after(pause.min(MAX_RETRY_AFTER)),
            None => fault,
        }
    }
}
