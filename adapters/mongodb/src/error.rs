//! What can go wrong, and the one table that turns it into a [`Fault`].
//!
//! The driver's own messages can quote documents, so no error of ours has one as its source: they say the code,
//! the name of the code, or the sort of connection failure.

use std::fmt;
use std::io;
use std::time::Duration;

use mini_platform_core::error::{BoxError, Fault, FaultKind};
use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};

use crate::connect::OLDEST_VERSION;
use crate::document::BadDocument;

const BACKEND: &str = "mongodb";

/// The part of a connection string that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriPart {
    /// What stands before `://`.
    Scheme,
    /// User name and password.
    Credentials,
    /// The servers.
    Hosts,
    /// The database behind the slash.
    Database,
    /// What stands behind the question mark.
    Options,
}

impl fmt::Display for UriPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the scheme must be mongodb:// or mongodb+srv://",
            Self::Credentials => {
                "the user name or password has a special character, which must be percent-encoded"
            }
            Self::Hosts => {
                "the hosts must be host:port, with commas between them; a special character in the password must be percent-encoded"
            }
            Self::Database => "the database behind the hosts has a character that no database name has",
            Self::Options => "an option has a wrong value, or does not go with another one",
        })
    }
}

/// The event store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connection string cannot be used. It is not shown, because it may hold a password.
    #[error("the MongoDB connection string cannot be used: {part}")]
    InvalidUri {
        /// What is wrong with it.
        part: UriPart,
    },
    /// No database can have this name.
    #[error(
        "{name:?} is no name for a MongoDB database: use 1 to 63 bytes without white space and without any of /\\.\"$*<>:|?"
    )]
    InvalidDatabaseName {
        /// The name.
        name: String,
    },
    /// No server answered in time.
    #[error("MongoDB cannot be reached; check the hosts and the network, and that the server is running")]
    Unreachable {
        /// What the driver tried.
        #[source]
        source: BoxError,
    },
    /// The server refused our credentials, or what we may do is not enough.
    #[error(
        "MongoDB refused us; check user, password and authSource, and that the user has the role readWrite on the database"
    )]
    Denied {
        /// What the server said.
        #[source]
        source: BoxError,
    },
    /// The server is older than what the driver speaks with.
    #[error("the server is MongoDB {found}; at least {needed} is needed")]
    TooOld {
        /// The version of the server, as far as it is known.
        found: String,
        /// The oldest version that will do.
        needed: &'static str,
    },
    /// The server stands alone. Retries of writes need a replica set, and so does a promise that a failed
    /// disk cannot break.
    #[error(
        "the server is not a member of a replica set; start it with --replSet NAME and call rs.initiate() once, which one server alone can do too"
    )]
    NotReplicaSet,
    /// There is an index under one of our names, or on our fields, that is another one.
    #[error(
        "the index {index} of the collection {collection} is not what the event store needs; drop it, and it is made anew at the next start"
    )]
    WrongIndex {
        /// The collection.
        collection: &'static str,
        /// The index.
        index: &'static str,
    },
    /// Anything else.
    #[error("the event store on MongoDB cannot be opened")]
    Failed {
        /// What failed.
        #[source]
        source: BoxError,
    },
}

impl ConnectError {
    pub(crate) fn of(failure: Failure) -> Self {
        match &failure {
            Failure::Driver(Driver { finding: Some(Finding::WireVersion(found)), .. }) => {
                let found = format!("of wire version {found}");
                return Self::TooOld { found, needed: OLDEST_VERSION };
            }
            Failure::Driver(Driver { finding: Some(Finding::NoSet), .. }) => return Self::NotReplicaSet,
            _ => {}
        }
        let kind = failure.kind();
        let source = failure.into();
        match kind {
            FaultKind::Unavailable | FaultKind::Timeout | FaultKind::Throttled => {
                Self::Unreachable { source }
            }
            FaultKind::Denied => Self::Denied { source },
            _ => Self::Failed { source },
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Driver(Driver),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    BadDocument(#[from] BadDocument),
    #[error("an id of the collection {0} is taken, and then by no document; the next attempt finds out")]
    Vanished(&'static str),
}

impl Failure {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Driver(driver) => driver.kind,
            Self::TimedOut(_) => FaultKind::Timeout,
            Self::BadDocument(_) => FaultKind::Corrupt,
            Self::Vanished(_) => FaultKind::Unavailable,
        }
    }

    /// Says at what the store failed.
    pub(crate) fn during(self, operation: &'static str) -> Fault {
        let fault = Fault::new(BACKEND, operation, self.kind());
        match self {
            Self::Driver(Driver { pause: Some(pause), .. }) => {
                fault.with_retry_after(pause).with_source(self)
            }
            _ => fault.with_source(self),
        }
    }

    /// Returns the server's code of an error, if it came from the server.
    pub(crate) fn code_of(error: &DriverError) -> Option<i32> {
        match &*error.kind {
            ErrorKind::Command(command) => Some(command.code),
            ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
            ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
            ErrorKind::InsertMany(insert) => {
                let concern = insert.write_concern_error.as_ref().map(|concern| concern.code);
                let mut writes = insert.write_errors.iter().flatten().map(|write| write.code);
                concern.or_else(|| writes.find(|code| *code != DUPLICATE_KEY)).or(Some(DUPLICATE_KEY))
            }
            _ => None,
        }
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Driver(Driver {
            kind: kind_of(&error),
            what: describe(&error),
            pause: pause_of(&error),
            finding: finding_of(&error),
        })
    }
}

/// What the driver answered, without what it may quote.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Driver {
    kind: FaultKind,
    what: String,
    pause: Option<Duration>,
    finding: Option<Finding>,
}

/// Why no server can be used although one answers.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// It is too old, and speaks only this version of the protocol.
    WireVersion(String),
    /// It was told to be in a replica set, and nobody has made that set.
    NoSet,
}

/// The server's own code for "another document has this key".
pub(crate) const DUPLICATE_KEY: i32 = 11000;

/// The driver's label for a write that it may send again.
const RETRYABLE_WRITE: &str = "RetryableWriteError";

/// The server's label for "too much to do".
const OVERLOADED: &str = "SystemOverloadedError";

fn kind_of(error: &DriverError) -> FaultKind {
    if error.contains_label(OVERLOADED) || pause_of(error).is_some() {
        return FaultKind::Throttled;
    }
    match (&*error.kind, Failure::code_of(error)) {
        (_, Some(code)) => kind_of_code(
            code,
            error.contains_label(RETRYABLE_WRITE) || error.contains_label("TransientTransactionError"),
        ),
        (ErrorKind::Io(error), _) => kind_of_io(error),
        (
            ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Shutdown,
            _,
        ) => FaultKind::Unavailable,
        (ErrorKind::Authentication { .. }, _) => FaultKind::Denied,
        (ErrorKind::InvalidResponse { .. } | ErrorKind::Bson(_), _) => FaultKind::Corrupt,
        _ => FaultKind::Internal,
    }
}

fn kind_of_io(error: &io::Error) -> FaultKind {
    match error.kind() {
        io::ErrorKind::TimedOut => FaultKind::Timeout,
        _ => FaultKind::Unavailable,
    }
}

/// The table of the server's codes.
fn kind_of_code(code: i32, retryable: bool) -> FaultKind {
    match code {
        // LockTimeout, MaxTimeMSExpired, WriteConcernFailed, NetworkTimeout, NetworkInterfaceExceededTimeLimit,
        // ExceededTimeLimit
        24 | 50 | 64 | 89 | 202 | 262 => FaultKind::Timeout,
        // HostUnreachable, HostNotFound, ShutdownInProgress, FailedToSatisfyReadPreference,
        // ReadConcernMajorityNotAvailableYet, PrimarySteppedDown, SocketException, NotWritablePrimary
        // (two codes), Interrupted (three codes), NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary
        6 | 7 | 91 | 133 | 134 | 189 | 9001 | 10058 | 10107 | 11600 | 11601 | 11602 | 13435 | 13436 => {
            FaultKind::Unavailable
        }
        // CursorNotFound, StaleShardVersion, WriteConflict, StaleEpoch, QueryPlanKilled, CursorKilled,
        // SnapshotUnavailable, NoSuchTransaction, StaleConfig: the server asks for another attempt
        43 | 63 | 112 | 150 | 175 | 237 | 246 | 251 | 13388 => FaultKind::Unavailable,
        // TemporarilyUnavailable, IngressRequestRateLimitExceeded, TooManyRequests
        365 | 462 | 16500 => FaultKind::Throttled,
        // UserNotFound, Unauthorized, AuthenticationFailed, ReauthenticationRequired, AtlasError
        11 | 13 | 18 | 391 | 8000 => FaultKind::Denied,
        _ if retryable => FaultKind::Unavailable,
        // OutOfDiskSpace (14031), IllegalOperation (20), DocumentValidationFailure (121) and all others
        _ => FaultKind::Internal,
    }
}

fn pause_of(error: &DriverError) -> Option<Duration> {
    match &*error.kind {
        ErrorKind::Command(command) => command.base_backoff,
        _ => None,
    }
}

fn finding_of(error: &DriverError) -> Option<Finding> {
    match &*error.kind {
        ErrorKind::ServerSelection { message, .. } | ErrorKind::IncompatibleServer { message, .. } => {
            finding_in(message)
        }
        _ => None,
    }
}

/// Reads what the driver tells only in words.
fn finding_in(message: &str) -> Option<Finding> {
    if let Some((_, version)) = message.split_once("reports wire version ") {
        return Some(Finding::WireVersion(version.chars().take_while(char::is_ascii_digit).collect()));
    }
    message.contains("Type: RsGhost").then_some(Finding::NoSet)
}

/// Says what happened in words that hold no data.
fn describe(error: &DriverError) -> String {
    if let Some(code) = Failure::code_of(error) {
        return format!("the server answered code {code}{}", name_of(error));
    }
    match &*error.kind {
        ErrorKind::Io(error) => format!("the connection failed: {}", error.kind()),
        // Tells which servers were tried and how each failed.
        ErrorKind::ServerSelection { message, .. } => message.clone(),
        ErrorKind::ConnectionPoolCleared { .. } => "the connection failed beside another call".to_owned(),
        ErrorKind::DnsResolve { .. } => "the host names cannot be resolved".to_owned(),
        ErrorKind::Shutdown => "the store is closed".to_owned(),
        ErrorKind::Authentication { .. } => "the server refused the credentials".to_owned(),
        ErrorKind::InvalidResponse { .. } | ErrorKind::Bson(_) => {
            "the server's answer cannot be read".to_owned()
        }
        ErrorKind::InvalidTlsConfig { .. } => "the TLS settings cannot be used".to_owned(),
        ErrorKind::IncompatibleServer { .. } | ErrorKind::SessionsNotSupported => {
            "the server cannot do what is asked".to_owned()
        }
        _ => "the driver failed".to_owned(),
    }
}

fn name_of(error: &DriverError) -> String {
    let name = match &*error.kind {
        ErrorKind::Command(command) => command.code_name.as_str(),
        ErrorKind::InsertMany(insert) => {
            insert.write_concern_error.as_ref().map_or("", |concern| concern.code_name.as_str())
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => concern.code_name.as_str(),
        _ => "",
    };
    if name.is_empty() { String::new() } else { format!(" ({name})") }
}

/// Says which part of a connection string the driver did not take.
pub(crate) fn uri_part(uri: &str, error: &DriverError) -> UriPart {
    let known = uri.starts_with("mongodb://") || uri.starts_with("mongodb+srv://");
    let message = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match () {
        () if !known => UriPart::Scheme,
        () if has(&["username", "password"]) => UriPart::Credentials,
        () if has(&["database name"]) => UriPart::Database,
        () if has(&["server address", "port", "host", "unix"]) => UriPart::Hosts,
        () => UriPart::Options,
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{self, Document, doc};
    use mongodb::error::{CommandError, InsertManyError, WriteConcernError};

    use super::*;

    fn command(code: i32) -> DriverError {
        let error = doc! { "code": code, "codeName": "Name", "errmsg": "dup key: { sender: \"ann\" }" };
        ErrorKind::Command(bson::deserialize_from_document::<CommandError>(error).unwrap()).into()
    }

    fn insert_many(error: Document) -> DriverError {
        ErrorKind::InsertMany(bson::deserialize_from_document::<InsertManyError>(error).unwrap()).into()
    }

    fn kind(error: DriverError) -> FaultKind {
        Failure::from(error).during("do").kind()
    }

    #[test]
    fn every_code_of_the_server_has_its_kind() {
        for (codes, expected) in [
            (&[24, 50, 64, 89, 202, 262][..], FaultKind::Timeout),
            (&[6, 7, 91, 133, 134, 189, 9001, 10058, 10107], FaultKind::Unavailable),
            (&[11600, 11601, 11602, 13435, 13436], FaultKind::Unavailable),
            (&[43, 63, 112, 150, 175, 237, 246, 251, 13388], FaultKind::Unavailable),
            (&[365, 462, 16500], FaultKind::Throttled),
            (&[11, 13, 18, 391, 8000], FaultKind::Denied),
            (&[2, 20, 121, 10334, 11000, 14031, 99999], FaultKind::Internal),
        ] {
            for code in codes {
                assert_eq!(kind(command(*code)), expected, "code {code}");
            }
        }
    }

    #[test]
    fn an_unknown_code_that_may_be_tried_again_is_unavailable() {
        assert_eq!(kind_of_code(99999, true), FaultKind::Unavailable);
        assert_eq!(kind_of_code(13, true), FaultKind::Denied, "a known code goes by the table");
    }

    #[test]
    fn what_does_not_come_from_the_server_has_its_kind() {
        let bad = Document::new().get_str("x").unwrap_err();
        for (error, expected) in [
            (io::Error::from(io::ErrorKind::TimedOut).into(), FaultKind::Timeout),
            (io::Error::from(io::ErrorKind::ConnectionReset).into(), FaultKind::Unavailable),
            (io::Error::from(io::ErrorKind::UnexpectedEof).into(), FaultKind::Unavailable),
            (ErrorKind::Shutdown.into(), FaultKind::Unavailable),
            (bad.into(), FaultKind::Corrupt),
            (ErrorKind::SessionsNotSupported.into(), FaultKind::Internal),
            (ErrorKind::MissingResumeToken.into(), FaultKind::Internal),
        ] {
            assert_eq!(kind(error), expected);
        }
    }

    #[test]
    fn a_write_goes_by_its_write_concern_and_then_by_its_worst_error() {
        let duplicate = doc! { "index": 0, "code": 11000, "errmsg": "E11000" };
        let full = doc! { "index": 1, "code": 14031, "errmsg": "no space" };
        let late = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting" };
        let errors = vec![duplicate, full];
        assert_eq!(kind(insert_many(doc! { "writeErrors": errors.clone() })), FaultKind::Internal);
        let both = doc! { "writeErrors": errors, "writeConcernError": late.clone() };
        assert_eq!(kind(insert_many(both)), FaultKind::Timeout);
        let concern: WriteConcernError = bson::deserialize_from_document(late).unwrap();
        let error = ErrorKind::Write(WriteFailure::WriteConcernError(concern));
        assert_eq!(kind(error.into()), FaultKind::Timeout);
    }

    #[test]
    fn our_own_failures_have_their_kind() {
        let bad = BadDocument { collection: "transactions", field: "amount" };
        for (failure, expected) in [
            (Failure::TimedOut(Duration::from_secs(1)), FaultKind::Timeout),
            (Failure::BadDocument(bad), FaultKind::Corrupt),
            (Failure::Vanished("transactions"), FaultKind::Unavailable),
        ] {
            assert_eq!(failure.during("do").kind(), expected);
        }
    }

    #[test]
    fn a_pause_that_the_server_asks_for_is_kept() {
        let error = doc! { "code": 462, "codeName": "Name", "errmsg": "", "baseBackoffMS": 250_i64 };
        let error: CommandError = bson::deserialize_from_document(error).unwrap();
        let fault = Failure::from(DriverError::from(ErrorKind::Command(error))).during("do");
        let pause = Duration::from_millis(250);
        assert_eq!(fault.retry(), mini_platform_core::error::Retry::After(pause));
    }

    #[test]
    fn a_server_that_is_too_old_is_told_from_one_that_is_away() {
        let message = "Server at db:1 reports wire version 7, but this version of the MongoDB Rust driver requires at least 9 (MongoDB 4.4).";
        assert_eq!(finding_in(message), Some(Finding::WireVersion("7".to_owned())));
        let ghost = "Topology: { Type: Unknown, Servers: [ { Address: db:1, Type: RsGhost } ] }";
        assert_eq!(finding_in(ghost), Some(Finding::NoSet));
        assert_eq!(finding_in("Server selection timeout: No available servers."), None);
    }

    #[test]
    fn no_message_quotes_a_document() {
        let failure = Failure::from(command(121));
        assert_eq!(failure.to_string(), "the server answered code 121 (Name)");
        let errors = vec![doc! { "index": 1, "code": 121, "errmsg": "sender: \"ann\"" }];
        let failure = Failure::from(insert_many(doc! { "writeErrors": errors }));
        assert!(!format!("{failure} {failure:?}").contains("ann"), "{failure:?}");
    }
}
