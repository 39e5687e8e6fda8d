//! What can be set.

use std::fmt;
use std::time::Duration;

/// The most connections to one server, when nothing else is asked for: 16.
///
/// A worker has a handful of batches in flight, each with two calls at a time; more only queue in the server.
pub const DEFAULT_MAX_POOL: u32 = 16;

/// How long one operation may take, when nothing else is asked for: 5 seconds.
///
/// An election takes one to three seconds in a healthy set, so a call that meets one can still succeed.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the server is and how it is used. `Debug` hides the URI, which may hold a password.
#[derive(Clone)]
pub struct MongoConfig {
    uri: String,
    database: String,
    max_pool: u32,
    timeout: Duration,
}

impl MongoConfig {
    /// Keeps the events in a database of the replica set (or sharded cluster) of a connection string.
    #[must_use]
    pub fn new(uri: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            database: database.into(),
            max_pool: DEFAULT_MAX_POOL,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Sets the most connections to one server. Zero counts as one.
    #[must_use]
    pub fn with_max_pool(mut self, connections: u32) -> Self {
        self.max_pool = connections.max(1);
        self
    }

    /// Sets how long one operation may take in all: finding a server, connecting, the driver's retry, the answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns the name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the most connections to one server.
    #[must_use]
    pub fn max_pool(&self) -> u32 {
        self.max_pool
    }

    /// Returns how long one operation may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl fmt::Debug for MongoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoConfig")
            .field("uri", &"<redacted>")
            .field("database", &self.database)
            .field("max_pool", &self.max_pool)
            .field("timeout", &self.timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_the_uri() {
        let config = MongoConfig::new("mongodb://ann:secret@db.example", "bank");
        let shown = format!("{config:?}");
        assert!(shown.contains("bank") && !shown.contains("secret") && !shown.contains("ann"), "{shown}");
    }
}
