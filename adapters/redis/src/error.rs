//! What can go wrong, and the one table that turns it into a [`Fault`].

use mini_platform_core::error::{BoxError, Fault, FaultKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

pub(crate) const BACKEND: &str = "redis";

/// Redis cannot be used as it is set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is wrong; it is not shown because it may hold a password.
    #[error("the Redis URL is wrong: {reason}")]
    InvalidUrl {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key prefix would not survive as a part of keys and patterns.
    #[error("the Redis key prefix must be 1 to 64 letters, digits or _ - . :")]
    InvalidKeyPrefix,
    /// The text that should hold certificate authorities holds none.
    #[error("the certificate authority for Redis is no PEM certificate")]
    InvalidCaCertificate,
    /// Nobody answers: start the server, or correct the address or the firewall.
    #[error("Redis cannot be reached at {address}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// The user or password is wrong or missing.
    #[error("Redis at {address} refuses the user or password; correct them in the URL")]
    Denied {
        /// Where it is.
        address: String,
    },
    /// The user may log in but lacks rights that are needed.
    #[error(
        "Redis at {address} denies the user a command or key that is needed; see \"Access rights\" in the adapter's README"
    )]
    Forbidden {
        /// Where it is.
        address: String,
    },
    /// The server is older than what is needed.
    #[error("Redis at {address} is version {found}, and at least {needed} is needed", needed = crate::connect::OLDEST_SERVER)]
    TooOld {
        /// Where it is.
        address: String,
        /// The version that it says it is.
        found: String,
    },
    /// The Sentinels answer, but know no healthy master by this name.
    #[error("the Sentinels at {address} know no healthy master named {master}; compare `SENTINEL MASTERS`")]
    UnknownMaster {
        /// Where the Sentinels are.
        address: String,
        /// The name in the URL.
        master: String,
    },
    /// The TLS handshake failed: wrong port, wrong certificate authority, or a name that is not in the certificate.
    #[error(
        "no TLS connection to Redis at {address}; check the port, its certificate's names and the authority"
    )]
    Tls {
        /// Where it is.
        address: String,
        /// What the handshake ended with.
        #[source]
        source: BoxError,
    },
    /// The server is a node of a cluster, or is none, against what the URL says.
    #[error("Redis at {address} {found}; {instead}")]
    WrongMode {
        /// Where it is.
        address: String,
        /// What it is.
        found: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// It may lose what it acknowledged, so no events are parked in it.
    #[error("Redis at {address} {found}, so parked events could be lost; set `{needed}`")]
    NotDurable {
        /// Where it is.
        address: String,
        /// How it is set up.
        found: &'static str,
        /// How it should be.
        needed: &'static str,
    },
    /// It answers, but not as a server that is ready.
    #[error("Redis at {address} cannot be used now")]
    NotReady {
        /// Where it is.
        address: String,
        /// What it answers.
        #[source]
        source: BoxError,
    },
}

/// Why a call failed. Names the sort of failure and never quotes the server, whose messages can quote arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection failed or broke. Whether the server acted is unknown.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// No answer in time. Whether the server acted is unknown.
    #[error("no answer in time")]
    Timeout,
    /// The server answered an error, of which this is the code.
    #[error("the server answered {0}")]
    Server(String),
    /// The server holds or answers what this program does not write or expect.
    #[error("{0}")]
    Corrupt(&'static str),
    /// What was written a moment ago is gone.
    #[error("{0}")]
    Lost(&'static str),
    /// A bug of ours or of the driver.
    #[error("{0}")]
    Internal(&'static str),
}

impl Failure {
    /// The one table: what can pass by itself, or by a person's doing, is retried by the caller.
    pub(crate) fn kind(&self) -> FaultKind {
        match self {
            Self::Connection(_) | Self::Lost(_) => FaultKind::Unavailable,
            Self::Timeout => FaultKind::Timeout,
            Self::Server(code) => kind_of_code(code),
            Self::Corrupt(_) => FaultKind::Corrupt,
            Self::Internal(_) => FaultKind::Internal,
        }
    }

    /// Says at what Redis failed.
    pub(crate) fn during(self, operation: &'static str) -> Fault {
        Fault::new(BACKEND, operation, self.kind()).with_source(self)
    }

    /// Whether the connection is of no more use: it is broken or hangs, it leads to a server that is not (or no
    /// longer) the one to ask, or that wants to be logged in to anew.
    pub(crate) fn ends_connection(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Timeout => true,
            Self::Server(code) => matches!(code.as_str(), "READONLY" | "MASTERDOWN" | "MOVED" | "NOAUTH"),
            Self::Corrupt(_) | Self::Lost(_) | Self::Internal(_) => false,
        }
    }
}

fn kind_of_code(code: &str) -> FaultKind {
    match code {
        // Starting, failing over, moving slots: the same call succeeds when that is done.
        "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK"
        | "UNBLOCKED" | "NOREPLICAS" | "MISCONF" | "EXECABORT" | "NOSCRIPT" | "NOMASTERLINK" => {
            FaultKind::Unavailable
        }
        // A long script runs, or memory is full: a person or time mends it, and asking more makes it worse.
        "BUSY" | "OOM" => FaultKind::Throttled,
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => FaultKind::Denied,
        // A key of ours holds another sort of value, or not all that a script of ours put there.
        "WRONGTYPE" | "DAMAGED" => FaultKind::Corrupt,
        _ => FaultKind::Internal,
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(_) if is_denied_in_script(&error) => Self::Server("NOPERM".to_owned()),
            ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort)
            | ErrorKind::Extension => Self::Server(code_of(&error)),
            ErrorKind::Server(_) => Self::Server(error.code().unwrap_or("ERR").to_owned()),
            ErrorKind::AuthenticationFailed => Self::Server("WRONGPASS".to_owned()),
            ErrorKind::Io if error.is_timeout() => Self::Timeout,
            ErrorKind::Io => Self::Connection(what_broke(&error)),
            ErrorKind::ClusterConnectionNotFound => {
                Self::Connection("no node of the cluster is connected".to_owned())
            }
            ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => {
                Self::Connection("the Sentinels know no healthy master".to_owned())
            }
            ErrorKind::Parse => Self::Connection("the server answered what is no reply".to_owned()),
            ErrorKind::UnexpectedReturnType => {
                Self::Corrupt("the server answered another type than is right")
            }
            ErrorKind::InvalidClientConfig => Self::Internal("the driver refuses its settings"),
            _ => Self::Internal("the driver failed"),
        }
    }
}

/// Whether a script asked for what its user may not do: until Redis 7.2 this has no code of its own.
fn is_denied_in_script(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("The user executing the script can't"))
}

/// The code of an error that the driver does not know, or that is that of a command in a pipeline or transaction.
fn code_of(error: &RedisError) -> String {
    let inner = error.clone().into_server_errors();
    let inner = inner.as_deref().and_then(<[_]>::first).map(|(_, error)| {
        error.details().and_then(code_in_script).unwrap_or_else(|| error.code()).to_owned()
    });
    inner.or_else(|| error.code().map(str::to_owned)).unwrap_or_else(|| "ERR".to_owned())
}

/// The code of an error that ended a script, which until Redis 7.0 stands behind its place in the script:
/// `Error running script (call to f_…): @user_script:50: @user_script: 50: -OOM command not allowed …`.
fn code_in_script(detail: &str) -> Option<&str> {
    let (_, place) = detail.strip_prefix("Error running script")?.rsplit_once("@user_script:")?;
    let (_line, error) = place.split_once(": ")?;
    let code = error.trim_start_matches('-').split(' ').next()?;
    // Others are the words of the script's language.
    code.bytes().all(|byte| byte.is_ascii_uppercase()).then_some(code)
}

fn what_broke(error: &RedisError) -> String {
    // The operating system's words name no secret; the driver's may name an address.
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<BoxedCause>());
    let io = io.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    io.map_or_else(|| "it is closed".to_owned(), |io| io.kind().to_string())
}

/// How the driver keeps a cause.
type BoxedCause = std::sync::Arc<dyn std::error::Error + Send + Sync>;

/// Returns what a TLS handshake ended with, if that is what failed.
pub(crate) fn tls_failure(error: &RedisError) -> Option<rustls::Error> {
    let cause = std::error::Error::source(error)?.downcast_ref::<BoxedCause>()?;
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(tls.clone());
    }
    cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>().cloned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// What a reply of the server ends in.
    fn answered(reply: &str) -> Failure {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err().into()
    }

    #[test]
    fn every_answer_has_its_kind() {
        for (reply, kind) in [
            ("LOADING Redis is loading the dataset in memory", FaultKind::Unavailable),
            ("READONLY You can't write against a read only replica.", FaultKind::Unavailable),
            ("MASTERDOWN Link with MASTER is down", FaultKind::Unavailable),
            ("CLUSTERDOWN The cluster is down", FaultKind::Unavailable),
            ("TRYAGAIN Multiple keys request during rehashing of slot", FaultKind::Unavailable),
            ("MOVED 1 127.0.0.1:1", FaultKind::Unavailable),
            ("ASK 1 127.0.0.1:1", FaultKind::Unavailable),
            ("UNBLOCKED the server is now a replica", FaultKind::Unavailable),
            ("NOREPLICAS Not enough good replicas to write.", FaultKind::Unavailable),
            ("MISCONF Redis is configured to save RDB snapshots", FaultKind::Unavailable),
            ("EXECABORT Transaction discarded", FaultKind::Unavailable),
            ("NOSCRIPT No matching script.", FaultKind::Unavailable),
            ("NOMASTERLINK Can't SYNC", FaultKind::Unavailable),
            ("BUSY Redis is busy running a script.", FaultKind::Throttled),
            ("OOM command not allowed when used memory > 'maxmemory'.", FaultKind::Throttled),
            ("NOAUTH Authentication required.", FaultKind::Denied),
            ("WRONGPASS invalid username-password pair", FaultKind::Denied),
            ("NOPERM this user has no permissions", FaultKind::Denied),
            ("DENIED Redis is running in protected mode", FaultKind::Denied),
            ("ERR The user executing the script can't run this command or subcommand", FaultKind::Denied),
            (
                "ERR Error running script (call to f_0a): @user_script:50: @user_script: 50: -READONLY You can't write",
                FaultKind::Unavailable,
            ),
            (
                "ERR Error running script (call to f_0a): @user_script:50: @user_script: 50: -OOM command not allowed",
                FaultKind::Throttled,
            ),
            (
                "ERR Error running script (call to f_0a): @user_script:7: WRONGTYPE Operation against a key",
                FaultKind::Corrupt,
            ),
            (
                "ERR Error running script (call to f_0a): @user_script:7: attempt to index a nil value",
                FaultKind::Internal,
            ),
            ("WRONGTYPE Operation against a key", FaultKind::Corrupt),
            ("DAMAGED the parking lot lost a part of what it holds", FaultKind::Corrupt),
            ("CROSSSLOT Keys in request don't hash to the same slot", FaultKind::Internal),
            ("ERR unknown command", FaultKind::Internal),
            ("NEWCODE of a later server", FaultKind::Internal),
        ] {
            assert_eq!(answered(reply).kind(), kind, "{reply}");
        }
    }

    #[test]
    fn every_failure_of_the_driver_has_its_kind() {
        let io = |kind| Failure::from(RedisError::from(io::Error::from(kind))).kind();
        let own = |kind: ErrorKind| Failure::from(RedisError::from((kind, "text"))).kind();
        for (actual, expected) in [
            (io(io::ErrorKind::ConnectionReset), FaultKind::Unavailable),
            (io(io::ErrorKind::ConnectionRefused), FaultKind::Unavailable),
            (io(io::ErrorKind::UnexpectedEof), FaultKind::Unavailable),
            (io(io::ErrorKind::TimedOut), FaultKind::Timeout),
            (own(ErrorKind::Parse), FaultKind::Unavailable),
            (own(ErrorKind::ClusterConnectionNotFound), FaultKind::Unavailable),
            (own(ErrorKind::MasterNameNotFoundBySentinel), FaultKind::Unavailable),
            (own(ErrorKind::NoValidReplicasFoundBySentinel), FaultKind::Unavailable),
            (own(ErrorKind::AuthenticationFailed), FaultKind::Denied),
            (own(ErrorKind::UnexpectedReturnType), FaultKind::Corrupt),
            (own(ErrorKind::InvalidClientConfig), FaultKind::Internal),
            (own(ErrorKind::Client), FaultKind::Internal),
            (own(ErrorKind::EmptySentinelList), FaultKind::Internal),
            (own(ErrorKind::RESP3NotSupported), FaultKind::Internal),
            (Failure::Timeout.kind(), FaultKind::Timeout),
            (Failure::Lost("x").kind(), FaultKind::Unavailable),
            (Failure::Corrupt("x").kind(), FaultKind::Corrupt),
            (Failure::Internal("x").kind(), FaultKind::Internal),
        ] {
            assert_eq!(actual, expected);
        }
    }

    #[test]
    fn a_failure_never_quotes_the_server() {
        for reply in [
            "ERR unknown command 'X', with args beginning with: 'Ann' ",
            "NOPERM user Ann may not",
            "ANN x",
            "ERR Error running script (call to f_0a): @user_script:5: Ann x",
        ] {
            let failure = answered(reply);
            assert!(!format!("{failure} {failure:?}").contains("Ann"), "{failure}");
        }
    }

    #[test]
    fn a_connection_is_left_when_it_leads_to_the_wrong_server_or_nowhere() {
        let in_script =
            "ERR Error running script (call to f_0a): @user_script:5: @user_script: 5: -READONLY x";
        for reply in ["READONLY x", "MASTERDOWN x", "MOVED 1 h:1", "NOAUTH x", in_script] {
            assert!(answered(reply).ends_connection(), "{reply}");
        }
        for reply in ["OOM x", "BUSY x", "LOADING x", "NOPERM x", "ERR x", "CLUSTERDOWN x"] {
            assert!(!answered(reply).ends_connection(), "{reply}");
        }
        assert!(Failure::Timeout.ends_connection() && Failure::Connection(String::new()).ends_connection());
    }
}
