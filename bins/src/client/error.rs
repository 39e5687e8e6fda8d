//! What can go wrong between a sub-command and the platform.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

/// Says why a call to the platform failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address of the platform cannot be used.
    #[error("`{url}` {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The request could not be put together.
    #[error("cannot build the request")]
    Request {
        /// What the HTTP library says.
        source: http::Error,
    },
    /// Nobody answers at the address.
    #[error("cannot connect to {base}: is the platform running?")]
    Connect {
        /// The address of the platform.
        base: String,
        /// What the network says.
        source: hyper_util::client::legacy::Error,
    },
    /// The connection broke before the answer's head arrived.
    #[error("the platform closed the connection without an answer")]
    Unanswered {
        /// What the network says.
        source: hyper_util::client::legacy::Error,
    },
    /// The connection broke in the middle of an answer.
    #[error("the connection broke in the middle of the answer")]
    Broken {
        /// What the network says.
        source: hyper::Error,
    },
    /// Neither side moved a byte for too long.
    #[error("the platform did not answer anything for {} s", after.as_secs())]
    Stalled {
        /// How long.
        after: Duration,
    },
    /// The platform refused the request.
    #[error("the platform refused the request: {0}")]
    Problem(Problem),
    /// The answer is not what the API promises.
    #[error("the answer is not one of this platform's: {0}")]
    Protocol(String),
}

/// Why the platform refused a whole request (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code, such as `overloaded`; absent when something else than the platform answered.
    pub code: Option<String>,
    /// What a person can act on.
    pub detail: Option<String>,
    /// Which field of the body is meant.
    pub pointer: Option<String>,
}

/// The members of a problem document that matter here.
#[derive(Debug, Default, Deserialize)]
struct Document {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    pointer: Option<String>,
}

impl Problem {
    /// Reads a problem document, or makes do with the status when the body is none.
    #[must_use]
    pub fn read(status: StatusCode, body: &[u8]) -> Self {
        let document: Document = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status,
            code: document.code,
            detail: document.detail.or(document.title),
            pointer: document.pointer,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code} ({})", self.status.as_u16())?,
            None => write!(f, "{}", self.status)?,
        }
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(pointer) = &self.pointer {
            write!(f, " (at {pointer})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_code_its_detail_and_the_field() {
        let body = br#"{"type":"about:blank","title":"Bad Request","status":400,"code":"invalid_field",
            "detail":"amount must be at least 1","pointer":"/amount"}"#;
        let problem = Problem::read(StatusCode::BAD_REQUEST, body);
        assert_eq!(problem.to_string(), "invalid_field (400): amount must be at least 1 (at /amount)");
    }

    #[test]
    fn an_answer_that_is_no_problem_document_still_shows_its_status() {
        let problem = Problem::read(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(problem.to_string(), "502 Bad Gateway");
    }
}
