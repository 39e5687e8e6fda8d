//! What can go wrong with S3, and the one table that turns it into a port's error.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use mini_platform_core::error::{BoxError, Fault, FaultKind, SourceError};

const BACKEND: &str = "s3 source";
const OPERATION: &str = "read a fraud list";

/// The longest pause that a server may ask for; a feeder that never looks again would be of no use.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// How much of an error code is shown. The codes of S3 are shorter.
const MAX_CODE_BYTES: usize = 64;

/// The configuration cannot be right. Says what, and never shows a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No region can have this name.
    #[error("the region is no name of a region, such as us-east-1")]
    Region,
    /// The endpoint is not the address of a server.
    #[error("the endpoint is wrong, because {reason}; write it as http://127.0.0.1:9000")]
    Endpoint {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// One half of the access key is set and the other is not.
    #[error(
        "the {missing} is missing; set both halves of the access key, or neither to use the environment's"
    )]
    HalfKey {
        /// Which half.
        missing: &'static str,
    },
    /// The access key id cannot be sent.
    #[error("the access key id holds other than printable ASCII characters")]
    KeyId,
    /// Nothing can be answered in no time.
    #[error("the timeout must be longer than zero")]
    Timeout,
}

/// Why an object gave no content. The messages say what to do and repeat nothing that the server wrote, save codes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the bucket does not exist")]
    NoSuchBucket,
    #[error("the object does not exist")]
    NoSuchKey,
    #[error("the object changed while it was read")]
    Changed,
    #[error(
        "there are no credentials: set the access key in the configuration, or give the process a role, a profile or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials(#[source] BoxError),
    #[error("the server does not know the access key id; check it, and that it is one of this server")]
    UnknownKey,
    #[error("the signature is wrong; check the secret access key")]
    WrongSecret,
    #[error("the session token is invalid or has expired; renew the credentials")]
    ExpiredToken,
    #[error("the clock of this machine differs too much from the server's; synchronise it")]
    ClockSkew,
    #[error(
        "access is denied; allow these credentials s3:GetObject and s3:GetObjectVersion on the object, s3:ListBucket on its bucket, and its KMS key if it has one"
    )]
    AccessDenied,
    #[error("the bucket is not in the configured region{}", Hint(region.as_deref()))]
    WrongRegion { region: Option<String> },
    #[error("the object is archived; restore it, or keep the list in another storage class")]
    Archived,
    #[error("the server asks for a pause")]
    Throttled { pause: Option<Duration> },
    #[error("the server cannot be reached; check the endpoint and the network")]
    Unreachable(#[source] BoxError),
    #[error("the server did not answer in time")]
    TimedOut,
    #[error("the server fails with status {status}{}", Hint(code.as_deref()))]
    ServerError { status: u16, code: Option<String>, pause: Option<Duration> },
    #[error("the server refuses the request with status {status}{}", Hint(code.as_deref()))]
    Refused { status: u16, code: Option<String> },
    #[error("the answer cannot be understood; check that the endpoint is an S3 server")]
    Unreadable,
    #[error(
        "the answer has no {0} header, or one that cannot be right; check what is between here and the server"
    )]
    Header(&'static str),
    #[error("the connection broke after {received} of {announced} bytes")]
    Cut {
        received: u64,
        announced: u64,
        #[source]
        cause: Option<BoxError>,
    },
    #[error("the server fell silent after {received} of {announced} bytes")]
    Stalled { received: u64, announced: u64 },
    #[error("the server sent more than the {announced} bytes that it announced")]
    TooLong { announced: u64 },
    #[error("the server did not continue where it was asked to")]
    WrongRange,
    #[error("the content does not match its {0}; it was damaged on its way, or where it is stored")]
    WrongChecksum(&'static str),
    #[error("the request cannot be made")]
    Request(#[source] BoxError),
}

/// A detail in brackets, if there is one.
struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// A problem with one object.
#[derive(Debug)]
struct Failure {
    place: String,
    problem: Problem,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be read: {}", self.place, self.problem)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

impl Problem {
    /// Says at which object, as the port's error.
    pub(crate) fn at(self, place: &str) -> SourceError {
        let place = place.to_owned();
        let kind = match &self {
            Self::NoSuchBucket => return SourceError::NotFound { place: format!("the bucket of {place}") },
            Self::NoSuchKey => return SourceError::NotFound { place },
            Self::Changed => return SourceError::ChangedWhileReading { place },
            Self::NoCredentials(_)
            | Self::UnknownKey
            | Self::WrongSecret
            | Self::ExpiredToken
            | Self::ClockSkew
            | Self::AccessDenied => FaultKind::Denied,
            Self::Throttled { .. } => FaultKind::Throttled,
            Self::Unreachable(_) | Self::ServerError { .. } | Self::Cut { .. } => FaultKind::Unavailable,
            Self::TimedOut | Self::Stalled { .. } => FaultKind::Timeout,
            Self::Unreadable
            | Self::Header(_)
            | Self::TooLong { .. }
            | Self::WrongRange
            | Self::WrongChecksum(_) => FaultKind::Corrupt,
            Self::WrongRegion { .. } | Self::Archived | Self::Refused { .. } | Self::Request(_) => {
                FaultKind::Internal
            }
        };
        let mut fault = Fault::new(BACKEND, OPERATION, kind);
        if let Some(pause) = self.pause() {
            fault = fault.with_retry_after(pause);
        }
        fault.with_source(Failure { place, problem: self }).into()
    }

    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Throttled { pause } | Self::ServerError { pause, .. } => *pause,
            _ => None,
        }
    }

    /// Finds out why a request failed.
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                Refusal::new(service.err().meta().code(), service.raw()).problem()
            }
            SdkError::ResponseError(response) => Refusal::new(None, response.raw()).problem(),
            SdkError::TimeoutError(_) => Self::TimedOut,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::TimedOut,
            other => Self::of_unsent(other),
        }
    }

    /// Finds out why there is no answer.
    fn of_unsent<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: Error + Send + Sync + 'static,
    {
        let reached_network = matches!(&error, SdkError::DispatchFailure(failure) if !failure.is_user());
        let cause = error.into_source().unwrap_or_else(Into::into);
        if is_caused_by_credentials(&*cause) {
            return Self::NoCredentials(cause);
        }
        if reached_network { Self::Unreachable(cause) } else { Self::Request(cause) }
    }
}

fn is_caused_by_credentials(error: &(dyn Error + 'static)) -> bool {
    error.is::<CredentialsError>() || error.source().is_some_and(is_caused_by_credentials)
}

/// What a server says instead of the content.
#[derive(Debug, Clone, Copy)]
struct Refusal<'a> {
    status: u16,
    code: Option<&'a str>,
    retry_after: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Refusal<'a> {
    fn new(code: Option<&'a str>, response: &'a HttpResponse) -> Self {
        let header = |name| response.headers().get(name);
        Self {
            status: response.status().as_u16(),
            code: code.filter(|code| is_plain(code)),
            retry_after: header("retry-after"),
            region: header("x-amz-bucket-region").filter(|region| is_plain(region)),
        }
    }

    /// The table: the code says more than the status, which is all that some servers answer.
    fn problem(self) -> Problem {
        match self.code.unwrap_or_default() {
            "NoSuchBucket" => Problem::NoSuchBucket,
            "NoSuchKey" | "NoSuchVersion" => Problem::NoSuchKey,
            "PreconditionFailed" | "InvalidRange" => Problem::Changed,
            "InvalidAccessKeyId" | "NotSignedUp" => Problem::UnknownKey,
            "SignatureDoesNotMatch" => Problem::WrongSecret,
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => Problem::ExpiredToken,
            "RequestTimeTooSkewed" => Problem::ClockSkew,
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Problem::AccessDenied,
            "InvalidObjectState" => Problem::Archived,
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => self.wrong_region(),
            "SlowDown"
            | "SlowDownRead"
            | "Throttling"
            | "ThrottlingException"
            | "RequestThrottled"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "TooManyRequests" => self.throttled(),
            "RequestTimeout" => Problem::TimedOut,
            _ => self.problem_of_status(),
        }
    }

    fn problem_of_status(self) -> Problem {
        let code = self.code.map(ToOwned::to_owned);
        match self.status {
            200..=299 => Problem::Unreadable,
            301 | 302 | 307 | 308 => self.wrong_region(),
            401 | 403 => Problem::AccessDenied,
            404 | 410 => Problem::NoSuchKey,
            408 | 504 => Problem::TimedOut,
            412 | 416 => Problem::Changed,
            429 => self.throttled(),
            500 | 502 | 503 => Problem::ServerError { status: self.status, code, pause: self.pause() },
            status => Problem::Refused { status, code },
        }
    }

    fn wrong_region(self) -> Problem {
        Problem::WrongRegion { region: self.region.map(|region| format!("it is in {region}")) }
    }

    fn throttled(self) -> Problem {
        Problem::Throttled { pause: self.pause() }
    }

    fn pause(self) -> Option<Duration> {
        let seconds = self.retry_after?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
    }
}

/// Whether what a server wrote can be shown: a word, as codes and regions are.
fn is_plain(text: &str) -> bool {
    (1..=MAX_CODE_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "s3://bucket/key";

    fn refusal(status: u16, code: &'static str) -> Refusal<'static> {
        Refusal { status, code: Some(code).filter(|code| !code.is_empty()), retry_after: None, region: None }
    }

    fn kind(error: &SourceError) -> Option<FaultKind> {
        match error {
            SourceError::Fault(fault) => Some(fault.kind()),
            _ => None,
        }
    }

    fn told(error: &dyn Error) -> String {
        let cause = error.source().map(told).unwrap_or_default();
        format!("{error}; {cause}")
    }

    #[test]
    fn every_refusal_has_its_error() {
        for (status, code, expected, says) in [
            (403, "InvalidAccessKeyId", FaultKind::Denied, "does not know the access key id"),
            (403, "SignatureDoesNotMatch", FaultKind::Denied, "check the secret access key"),
            (400, "ExpiredToken", FaultKind::Denied, "has expired; renew"),
            (400, "InvalidToken", FaultKind::Denied, "session token is invalid"),
            (400, "TokenRefreshRequired", FaultKind::Denied, "renew the credentials"),
            (403, "RequestTimeTooSkewed", FaultKind::Denied, "clock of this machine"),
            (403, "AccessDenied", FaultKind::Denied, "allow these credentials s3:GetObject"),
            (403, "AllAccessDisabled", FaultKind::Denied, "access is denied"),
            (403, "AccountProblem", FaultKind::Denied, "access is denied"),
            (403, "NotSignedUp", FaultKind::Denied, "does not know the access key id"),
            (403, "", FaultKind::Denied, "access is denied"),
            (401, "", FaultKind::Denied, "access is denied"),
            (403, "InvalidObjectState", FaultKind::Internal, "archived"),
            (301, "PermanentRedirect", FaultKind::Internal, "configured region"),
            (307, "TemporaryRedirect", FaultKind::Internal, "configured region"),
            (301, "", FaultKind::Internal, "configured region"),
            (302, "", FaultKind::Internal, "configured region"),
            (307, "", FaultKind::Internal, "configured region"),
            (308, "", FaultKind::Internal, "configured region"),
            (400, "AuthorizationHeaderMalformed", FaultKind::Internal, "configured region"),
            (400, "IllegalLocationConstraintException", FaultKind::Internal, "configured region"),
            (503, "SlowDown", FaultKind::Throttled, "asks for a pause"),
            (503, "SlowDownRead", FaultKind::Throttled, "asks for a pause"),
            (400, "Throttling", FaultKind::Throttled, "asks for a pause"),
            (400, "ThrottlingException", FaultKind::Throttled, "asks for a pause"),
            (400, "RequestThrottled", FaultKind::Throttled, "asks for a pause"),
            (503, "RequestLimitExceeded", FaultKind::Throttled, "asks for a pause"),
            (509, "BandwidthLimitExceeded", FaultKind::Throttled, "asks for a pause"),
            (429, "TooManyRequests", FaultKind::Throttled, "asks for a pause"),
            (429, "", FaultKind::Throttled, "asks for a pause"),
            (400, "RequestTimeout", FaultKind::Timeout, "did not answer in time"),
            (408, "", FaultKind::Timeout, "did not answer in time"),
            (504, "", FaultKind::Timeout, "did not answer in time"),
            (500, "InternalError", FaultKind::Unavailable, "status 500 (InternalError)"),
            (502, "", FaultKind::Unavailable, "status 502"),
            (503, "ServiceUnavailable", FaultKind::Unavailable, "status 503 (ServiceUnavailable)"),
            (501, "NotImplemented", FaultKind::Internal, "status 501 (NotImplemented)"),
            (405, "MethodNotAllowed", FaultKind::Internal, "status 405 (MethodNotAllowed)"),
            (400, "InvalidRequest", FaultKind::Internal, "status 400 (InvalidRequest)"),
            (200, "", FaultKind::Corrupt, "cannot be understood"),
        ] {
            let error = refusal(status, code).problem().at(PLACE);
            assert_eq!(kind(&error), Some(expected), "{status} {code}");
            let told = told(&error);
            assert!(told.contains(says) && told.contains(PLACE), "{status} {code}: {told}");
        }
    }

    #[test]
    fn every_other_problem_has_its_kind() {
        let cause = || BoxError::from("cause");
        for (problem, expected) in [
            (Problem::NoCredentials(cause()), FaultKind::Denied),
            (Problem::Unreachable(cause()), FaultKind::Unavailable),
            (Problem::Cut { received: 1, announced: 2, cause: Some(cause()) }, FaultKind::Unavailable),
            (Problem::Stalled { received: 1, announced: 2 }, FaultKind::Timeout),
            (Problem::Header("ETag"), FaultKind::Corrupt),
            (Problem::TooLong { announced: 2 }, FaultKind::Corrupt),
            (Problem::WrongRange, FaultKind::Corrupt),
            (Problem::WrongChecksum("CRC-32"), FaultKind::Corrupt),
            (Problem::Request(cause()), FaultKind::Internal),
        ] {
            let said = problem.to_string();
            let error = problem.at(PLACE);
            assert_eq!(kind(&error), Some(expected), "{said}");
            assert!(told(&error).contains(&format!("{PLACE} cannot be read: {said}")), "{}", told(&error));
        }
    }

    #[test]
    fn what_is_missing_or_moving_is_told_apart_from_a_fault() {
        for (status, code, expected) in [
            (404, "NoSuchBucket", "the bucket of s3://bucket/key does not exist"),
            (404, "NoSuchKey", "s3://bucket/key does not exist"),
            (404, "NoSuchVersion", "s3://bucket/key does not exist"),
            (404, "", "s3://bucket/key does not exist"),
            (410, "", "s3://bucket/key does not exist"),
            (412, "PreconditionFailed", "s3://bucket/key changed while it was read"),
            (416, "InvalidRange", "s3://bucket/key changed while it was read"),
            (412, "", "s3://bucket/key changed while it was read"),
            (416, "", "s3://bucket/key changed while it was read"),
        ] {
            assert_eq!(refusal(status, code).problem().at(PLACE).to_string(), expected, "{status} {code}");
        }
    }

    #[test]
    fn a_hint_of_the_server_is_kept_within_bounds() {
        let pause = |retry_after| Refusal { retry_after, ..refusal(503, "SlowDown") }.problem().pause();
        assert_eq!(pause(Some("7")), Some(Duration::from_secs(7)));
        assert_eq!(pause(Some("86400")), Some(MAX_RETRY_AFTER));
        assert_eq!(pause(Some("Fri, 31 Dec 1999 23:59:59 GMT")), None);
        assert_eq!(pause(None), None);
        let unavailable = Refusal { retry_after: Some("7"), ..refusal(503, "") }.problem().at(PLACE);
        assert_eq!(unavailable.retry(), mini_platform_core::error::Retry::After(Duration::from_secs(7)));
    }

    #[test]
    fn the_right_region_is_named() {
        let moved = Refusal { region: Some("eu-west-1"), ..refusal(301, "PermanentRedirect") }.problem();
        assert_eq!(moved.to_string(), "the bucket is not in the configured region (it is in eu-west-1)");
    }

    #[test]
    fn only_a_plain_word_of_the_server_is_shown() {
        assert!(is_plain("KMS.DisabledException"));
        for text in [
            "",
            "two words",
            "line
break",
            &"x".repeat(65),
        ] {
            assert!(!is_plain(text), "{text}");
        }
    }
}
