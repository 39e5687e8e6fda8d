//! What is answered instead of a result: RFC 9457 problems with a stable code.
//!
//! A problem says which field or parameter is wrong and what to do, never what was sent: names of clients stay
//! out of problems and logs.

use std::borrow::Cow;

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use mini_platform_core::error::{
    DispatchError, FaultKind, FetchError, IngestError, LotError, RegistryError, Retry,
};
use serde::Serialize;
use warp::Reply;
use warp::reply::Response;

use super::render;

/// The seconds after which a client may try again when nothing better is known.
const DEFAULT_RETRY_SECONDS: u64 = 1;

/// Names a kind of problem. The set is closed and its names are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    InvalidJson,
    MissingField,
    InvalidField,
    UnknownField,
    DuplicateField,
    SameParty,
    InvalidParameter,
    BodyTooLarge,
    UnsupportedMediaType,
    RequestTimeout,
    NotFound,
    MethodNotAllowed,
    NoFraudList,
    NoParkingLot,
    Overloaded,
    NoWorkers,
    Unavailable,
    Timeout,
    Fraudulent,
    Conflict,
    Internal,
}

impl Code {
    /// Returns the wire name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::MissingField => "missing_field",
            Self::InvalidField => "invalid_field",
            Self::UnknownField => "unknown_field",
            Self::DuplicateField => "duplicate_field",
            Self::SameParty => "same_party",
            Self::InvalidParameter => "invalid_parameter",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RequestTimeout => "request_timeout",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NoFraudList => "no_fraud_list",
            Self::NoParkingLot => "no_parking_lot",
            Self::Overloaded => "overloaded",
            Self::NoWorkers => "no_workers",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Fraudulent => "fraudulent",
            Self::Conflict => "conflict",
            Self::Internal => "internal",
        }
    }

    /// Returns the status that goes with the code.
    ///
    /// 400 is for whatever breaks a rule by itself. 422 is for the one rule between fields that are each right:
    /// a transaction from a client to itself.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson
            | Self::MissingField
            | Self::InvalidField
            | Self::UnknownField
            | Self::DuplicateField
            | Self::InvalidParameter => StatusCode::BAD_REQUEST,
            Self::SameParty => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotFound | Self::NoParkingLot => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Fraudulent => StatusCode::FORBIDDEN,
            Self::Conflict => StatusCode::CONFLICT,
            Self::NoFraudList | Self::Overloaded | Self::NoWorkers | Self::Unavailable | Self::Timeout => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Says why what a client sent is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) code: Code,
    pub(crate) detail: Cow<'static, str>,
    /// A JSON pointer (RFC 6901) to the field.
    pub(crate) pointer: Option<String>,
}

impl Rejection {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), pointer: None }
    }

    #[must_use]
    pub(crate) fn at(mut self, pointer: String) -> Self {
        self.pointer = Some(pointer);
        self
    }
}

/// An answer that is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    rejection: Rejection,
    retry_seconds: Option<u64>,
    allow: Option<&'static str>,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Rejection::new(code, detail).into()
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("This path answers {allow}.");
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    pub(crate) fn not_found(detail: &'static str) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// A query parameter or a part of the path is wrong.
    pub(crate) fn parameter(name: &str, rule: impl std::fmt::Display) -> Self {
        Self::new(Code::InvalidParameter, format!("`{name}` {rule}."))
    }

    /// Answers under another status than the code's own, with nothing to wait for.
    #[must_use]
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, retry_seconds: None, ..self }
    }

    /// Waits for as long as whoever failed asks for, if there is something to wait for.
    #[must_use]
    fn after(mut self, retry: Retry) -> Self {
        if let (Some(seconds), Retry::After(pause)) = (&mut self.retry_seconds, retry) {
            *seconds = pause.as_secs().saturating_add(u64::from(pause.subsec_nanos() > 0)).max(1);
        }
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.rejection.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.rejection.detail
    }

    pub(crate) fn into_response(self) -> Response {
        let Rejection { code, detail, pointer } = &self.rejection;
        let body = render::json(&ProblemJson {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail,
            code: code.as_str(),
            pointer: pointer.as_deref(),
        });
        let mut response = http::Response::new(body).into_response();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let status = rejection.code.status();
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        Self { status, rejection, retry_seconds: unavailable.then_some(DEFAULT_RETRY_SECONDS), allow: None }
    }
}

impl From<&DispatchError> for Problem {
    fn from(error: &DispatchError) -> Self {
        let (code, detail) = dispatch_failure(error);
        Self::new(code, detail).after(error.retry())
    }
}

impl From<&LotError> for Problem {
    fn from(error: &LotError) -> Self {
        let (code, detail) = lot_failure(error);
        Self::new(code, detail).after(error.retry())
    }
}

impl From<DispatchError> for Problem {
    fn from(error: DispatchError) -> Self {
        Self::from(&error)
    }
}

const NO_LIST: &str =
    "No fraud list is loaded yet, and nothing is screened without one; load a list, then resend.";

/// The table from what a dispatcher can answer to what a client is told.
fn dispatch_failure(error: &DispatchError) -> (Code, &'static str) {
    match error {
        DispatchError::NoWorkers => (Code::NoWorkers, "No worker is ready; resend it in a moment."),
        DispatchError::Overloaded => {
            (Code::Overloaded, "Too many requests are waiting; slow down and resend it with the same id.")
        }
        DispatchError::Timeout(_) => (
            Code::Timeout,
            "No worker finished in time, and what was sent may still be stored; resend it with the same id to find out.",
        ),
        DispatchError::Ingest(IngestError::Screen(RegistryError::NoList))
        | DispatchError::Fetch(FetchError::Registry(RegistryError::NoList)) => (Code::NoFraudList, NO_LIST),
        DispatchError::Ingest(_) => (
            Code::Unavailable,
            "No worker could finish it, and nothing is promised; resend it with the same id in a moment.",
        ),
        DispatchError::Fetch(source) if source.retry() == Retry::Never => {
            (Code::Internal, "The data could not be read; the log of the service says why.")
        }
        DispatchError::Fetch(_) => (Code::Unavailable, "The data cannot be read now; ask again in a moment."),
        DispatchError::Log(_) => (
            Code::Unavailable,
            "It could not be logged, and nothing is promised; resend it with the same id in a moment.",
        ),
        DispatchError::Park(LotError::Full) => (
            Code::Overloaded,
            "It can be neither finished nor parked, because too much is parked already; resend it later with the same id.",
        ),
        DispatchError::Park(_) => (
            Code::Unavailable,
            "It could be neither finished nor parked, and nothing is promised; resend it with the same id in a moment.",
        ),
        DispatchError::Batch(source) => dispatch_failure(source),
        DispatchError::ShuttingDown => {
            (Code::Unavailable, "The service is shutting down; resend it with the same id in a moment.")
        }
        _ => (Code::Internal, "Something went wrong here; the log of the service says what."),
    }
}

/// The table from what a parking lot can answer to what a client who asks for parcels is told.
fn lot_failure(error: &LotError) -> (Code, &'static str) {
    match error {
        LotError::Fault(fault) if fault.kind() == FaultKind::Timeout => {
            (Code::Timeout, "The parking lot did not answer in time; ask again in a moment.")
        }
        _ => (Code::Unavailable, "The parking lot cannot be asked now; ask again in a moment."),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use mini_platform_core::error::{Fault, LogError, StoreError};

    use super::*;

    fn fault(kind: FaultKind) -> Fault {
        Fault::new("b", "do", kind)
    }

    fn answer(error: DispatchError) -> (u16, &'static str, Option<u64>) {
        let problem = Problem::from(error);
        (problem.status.as_u16(), problem.code().as_str(), problem.retry_seconds)
    }

    #[test]
    fn each_dispatch_error_has_its_row() {
        use DispatchError as E;
        let store = |kind| StoreError::Fault(fault(kind));
        for (error, expected) in [
            (E::NoWorkers, (503, "no_workers", Some(1))),
            (E::Overloaded, (503, "overloaded", Some(1))),
            (E::Timeout(Duration::from_secs(1)), (503, "timeout", Some(1))),
            (E::ShuttingDown, (503, "unavailable", Some(1))),
            (E::Batch(Arc::new(E::NoWorkers)), (503, "no_workers", Some(1))),
            (E::Ingest(IngestError::Screen(RegistryError::NoList)), (503, "no_fraud_list", Some(1))),
            (E::Ingest(IngestError::Append(store(FaultKind::Timeout))), (503, "unavailable", Some(1))),
            (E::Ingest(IngestError::Link(store(FaultKind::Internal))), (503, "unavailable", Some(1))),
            (E::Ingest(fault(FaultKind::Unavailable).into()), (503, "unavailable", Some(1))),
            (E::Log(LogError::Full), (503, "unavailable", Some(1))),
            (E::Park(LotError::Full), (503, "overloaded", Some(1))),
            (E::Park(fault(FaultKind::Internal).into()), (503, "unavailable", Some(1))),
            (E::BrokeDown, (500, "internal", None)),
            (E::Fetch(RegistryError::NoList.into()), (503, "no_fraud_list", Some(1))),
            (E::Fetch(store(FaultKind::Unavailable).into()), (503, "unavailable", Some(1))),
            (E::Fetch(store(FaultKind::Corrupt).into()), (500, "internal", None)),
        ] {
            let name = format!("{error:?}");
            assert_eq!(answer(error), expected, "{name}");
        }
    }

    #[test]
    fn whatever_the_parking_lot_lacks_is_worth_another_try() {
        let answer = |error: LotError| {
            let problem = Problem::from(&error);
            (problem.status.as_u16(), problem.code().as_str(), problem.retry_seconds)
        };
        assert_eq!(answer(fault(FaultKind::Timeout).into()), (503, "timeout", Some(1)));
        assert_eq!(answer(fault(FaultKind::Internal).into()), (503, "unavailable", Some(1)));
        let throttled = fault(FaultKind::Throttled).with_retry_after(Duration::from_secs(7));
        assert_eq!(answer(throttled.into()), (503, "unavailable", Some(7)));
    }

    #[test]
    fn a_pause_that_a_backend_asks_for_is_rounded_up_to_seconds() {
        let throttled = |pause| fault(FaultKind::Throttled).with_retry_after(Duration::from_millis(pause));
        let seconds = |pause| answer(DispatchError::Ingest(throttled(pause).into())).2;
        assert_eq!([seconds(1), seconds(1_000), seconds(2_001)], [Some(1), Some(1), Some(3)]);
    }
}
