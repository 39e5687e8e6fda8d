//! What can be set.

use std::fmt;
use std::time::Duration;

/// How long a command, and a connection attempt, may take when nothing else is asked for: 2 seconds.
///
/// Twice what a dispatcher waits for a worker by default: a slow command is finished rather than sent again, and
/// a server that hangs is noticed before many callers wait for it.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// What every key starts with when nothing else is asked for.
///
/// Tells the platform's keys from those of others that share the server.
pub const DEFAULT_KEY_PREFIX: &str = "mp";

/// How long a list on its way in survives its feeder when nothing else is asked for: 10 minutes.
///
/// Renewed with every write, so it bounds the pause between two chunks of a list, not the load; a source that is
/// silent for longer has failed.
pub const DEFAULT_STAGING_TTL: Duration = Duration::from_secs(600);

/// Which Redis is used, and how.
///
/// | URL | means |
/// |---|---|
/// | `redis://[user:password@]host[:port][/db]` | one server |
/// | `redis+cluster://[user:password@]host[:port],host[:port]…` | a cluster, found through any of these nodes |
/// | `redis+sentinel://[user:password@]host[:port],host[:port]…/name[/db]` | the master that the Sentinels know by a name |
///
/// `rediss` instead of `redis` asks for TLS. In user and password, `%`, `@`, `:`, `/`, `?` and `#` are
/// percent-encoded.
#[derive(Clone)]
pub struct RedisConfig {
    pub(crate) url: String,
    pub(crate) timeout: Duration,
    pub(crate) key_prefix: String,
    pub(crate) staging_ttl: Duration,
    pub(crate) ca_certificate: Option<Vec<u8>>,
    pub(crate) sentinel_login: Option<(String, String)>,
    pub(crate) volatile_parking: bool,
}

impl RedisConfig {
    /// Uses the Redis at a URL. It is checked by [`Redis::connect`](crate::Redis::connect).
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            timeout: DEFAULT_TIMEOUT,
            key_prefix: DEFAULT_KEY_PREFIX.to_owned(),
            staging_ttl: DEFAULT_STAGING_TTL,
            ca_certificate: None,
            sentinel_login: None,
            volatile_parking: false,
        }
    }

    /// Sets how long a command may take, and a connection attempt. A command that waits for a new connection
    /// shares its time with it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets what every key starts with: 1–64 letters, digits and `_ - . :`.
    #[must_use]
    pub fn with_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets how long a list on its way in survives a feeder that died; rounded up to a second.
    #[must_use]
    pub fn with_staging_ttl(mut self, ttl: Duration) -> Self {
        self.staging_ttl = ttl;
        self
    }

    /// Trusts the certificate authorities of a PEM text, and no others, when TLS is asked for.
    #[must_use]
    pub fn with_ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificate = Some(pem.into());
        self
    }

    /// Sets the user and password for the Sentinels. Those of the URL are for the servers behind them.
    #[must_use]
    pub fn with_sentinel_login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.sentinel_login = Some((user.into(), password.into()));
        self
    }

    /// Sets whether events may be parked in a Redis that loses them when it restarts, or when its memory is full.
    ///
    /// For trials only: without it such a Redis is refused by [`Redis::parking_lot`](crate::Redis::parking_lot).
    #[must_use]
    pub fn with_volatile_parking(mut self, allowed: bool) -> Self {
        self.volatile_parking = allowed;
        self
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &without_login(&self.url))
            .field("timeout", &self.timeout)
            .field("key_prefix", &self.key_prefix)
            .field("staging_ttl", &self.staging_ttl)
            .field("ca_certificate", &self.ca_certificate.is_some())
            .field("sentinel_login", &self.sentinel_login.is_some())
            .field("volatile_parking", &self.volatile_parking)
            .finish()
    }
}

/// Takes user and password out of a URL, even of one that does not parse.
fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://<redacted>@{place}"),
        None if scheme.is_empty() => "<redacted>".to_owned(),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_login() {
        for url in ["redis://ann:hidden@h:1/0", "rediss://:hidden@h", "redis://ann:hid@den@h:1", "ann:hidden"]
        {
            let config =
                RedisConfig::new(url).with_sentinel_login("ann", "hidden").with_ca_certificate("hidden");
            let shown = format!("{config:?}");
            assert!(!shown.contains("hid") && !shown.contains("ann"), "{shown}");
        }
        assert!(format!("{:?}", RedisConfig::new("redis://h:1")).contains("redis://h:1"));
    }
}
