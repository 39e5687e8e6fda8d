//! Statuses without our reason, and the texts of all that arrive.

use mini_platform_core::error::FaultKind;
use tonic::{Code, Status, TimeoutExpired};

use crate::text;

/// What the code of a status without our reason means.
///
/// An answer that breaks off or is no gRPC shows as `UNKNOWN` or `INTERNAL`, and a connection that breaks while a call
/// waits for it as `CANCELLED`: another worker, or the same one later, can do better.
pub(super) fn foreign_kind(status: &Status) -> FaultKind {
    match status.code() {
        Code::Cancelled if is_timeout(status) => FaultKind::Timeout,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::Unavailable | Code::Aborted => {
            FaultKind::Unavailable
        }
        Code::DeadlineExceeded => FaultKind::Timeout,
        Code::ResourceExhausted => FaultKind::Throttled,
        Code::PermissionDenied | Code::Unauthenticated => FaultKind::Denied,
        Code::Ok | Code::DataLoss => FaultKind::Corrupt,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => FaultKind::Internal,
    }
}

/// Whether tonic gave up at the deadline, here or at the other side: it says `CANCELLED` in both cases.
fn is_timeout(status: &Status) -> bool {
    status.message() == TimeoutExpired(()).to_string()
}

/// What a person should know besides the text of a status without our reason.
fn advice(code: Code) -> Option<&'static str> {
    match code {
        Code::Unimplemented => Some("the other program is older and does not know this call; update it"),
        Code::OutOfRange => Some("a message is larger than the limit"),
        Code::InvalidArgument => Some("the other program refuses the message; update the older of the two"),
        _ => None,
    }
}

/// What the other program, or something on the way to it, said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Remote(String);

impl Remote {
    pub(super) fn new(status: &Status, ours: bool) -> Self {
        let code = status.code().description();
        let (said, advice) = (status.message(), advice(status.code()).filter(|_| !ours));
        Self(text::cut(&match (said.is_empty(), advice) {
            (_, Some(advice)) => format!("{advice}: {code}: {said}"),
            (true, None) => code.to_owned(),
            (false, None) => said.to_owned(),
        }))
    }
}
