//! Finding Redis, and staying connected to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::domain::{LotLimits, MatchMode};
use mini_platform_core::port::Clock;
use redis::{RedisError, cmd};

use crate::adjacency_store::RedisAdjacencyStore;
use crate::config::RedisConfig;
use crate::connection::{Connection, Link};
use crate::durability;
use crate::error::{ConnectError, Failure, tls_failure};
use crate::fraud_registry::RedisFraudRegistry;
use crate::keys::{self, ListKeys};
use crate::parking_lot::RedisParkingLot;
use crate::place::Place;

/// The oldest server that will do; `ZADD … GT` came with it.
pub(crate) const OLDEST_SERVER: &str = "6.2";

/// A Redis that answered, and will be connected to again when it was away. A clone costs a reference count.
#[derive(Clone)]
pub struct Redis {
    pub(crate) connection: Connection,
    pub(crate) key_prefix: Arc<str>,
    pub(crate) staging_ttl: Duration,
    volatile_parking: bool,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("key_prefix", &self.key_prefix).finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects, and checks that the server will do.
    ///
    /// # Errors
    /// A [`ConnectError`] that says what to correct. Only the first connection is checked like this: later the
    /// server may come and go, and calls fail while it is away.
    pub async fn connect(config: &RedisConfig) -> Result<Self, ConnectError> {
        if !keys::is_prefix(&config.key_prefix) {
            return Err(ConnectError::InvalidKeyPrefix);
        }
        install_crypto();
        let place = Place::of(config)?;
        let connection = Connection::new(place.clone(), config);
        let check = check(&connection, &place, config);
        match tokio::time::timeout(config.timeout, Box::pin(check)).await {
            Ok(checked) => checked?,
            Err(_) => return Err(unreachable(place.addresses(), Failure::Timeout)),
        }
        Ok(Self {
            connection,
            key_prefix: config.key_prefix.as_str().into(),
            staging_ttl: config.staging_ttl,
            volatile_parking: config.volatile_parking,
        })
    }

    /// Returns the fraud registry. Its lists are apart from those of the other match mode.
    #[must_use]
    pub fn registry(&self, mode: MatchMode, clock: Arc<dyn Clock>) -> RedisFraudRegistry {
        RedisFraudRegistry::new(self, mode, clock)
    }

    /// Returns the adjacency store.
    #[must_use]
    pub fn adjacency(&self) -> RedisAdjacencyStore {
        RedisAdjacencyStore::new(self)
    }

    /// Opens the parking lot, and checks that servers and rights will do for it.
    ///
    /// # Errors
    /// A [`ConnectError`] that says what to correct. Servers must keep a log of their writes (`appendonly yes`), or
    /// parked events are gone when they restart; see [`RedisConfig::with_volatile_parking`].
    pub async fn parking_lot(&self, limits: LotLimits) -> Result<RedisParkingLot, ConnectError> {
        if self.volatile_parking {
            tracing::warn!("parked events may be lost with the redis that holds them, as was asked for");
        } else {
            durability::check(&self.connection).await?;
        }
        let lot = RedisParkingLot::new(self.connection.clone(), &self.key_prefix, limits);
        lot.check().await.map_err(|failure| refusal(self.connection.addresses(), failure))?;
        Ok(lot)
    }
}

/// Chooses the TLS provider of the process, unless it has one.
fn install_crypto() {
    // An error means that there is one already, which does as well.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

async fn check(connection: &Connection, place: &Place, config: &RedisConfig) -> Result<(), ConnectError> {
    let mut node = connection.open_node().await.map_err(|error| connect_error(place, &error))?;
    let info: Result<String, _> = cmd("INFO").query_async(&mut node).await;
    // Not everybody may ask for it; the checks are a help, and what is wrong shows later too.
    if let Ok(info) = info {
        check_server(place, &info)?;
    }
    let mut link = match place {
        Place::Server(_) | Place::Sentinel { .. } => Link::Node(node),
        Place::Cluster(_) => connection.open().await.map_err(|error| connect_error(place, &error))?,
    };
    let state = ListKeys::new(&config.key_prefix, MatchMode::Normalized).state();
    let read: Result<Option<Vec<u8>>, _> = link.query(cmd("GET").arg(state)).await;
    read.map_err(|error| connect_error(place, &error))?;
    connection.keep(link);
    Ok(())
}

fn check_server(place: &Place, info: &str) -> Result<(), ConnectError> {
    let field = |name| info_field(info, name);
    let found = field("redis_version");
    if !found.is_empty() && version(found) < version(OLDEST_SERVER) {
        return Err(ConnectError::TooOld { address: place.addresses(), found: found.to_owned() });
    }
    let wrong_mode = |found, instead| ConnectError::WrongMode { address: place.addresses(), found, instead };
    match (place, field("cluster_enabled")) {
        (Place::Server(_) | Place::Sentinel { .. }, "1") => {
            return Err(wrong_mode("is a node of a cluster", "use redis+cluster://"));
        }
        (Place::Cluster(_), "0") => return Err(wrong_mode("is no node of a cluster", "use redis://")),
        _ => {}
    }
    if field("maxmemory_policy").starts_with("allkeys") && field("maxmemory") != "0" {
        tracing::warn!(
            redis.maxmemory_policy = field("maxmemory_policy"),
            "redis may evict fraud lists and adjacent data when memory is full; set maxmemory-policy noeviction"
        );
    }
    Ok(())
}

/// Returns a field of an answer to `INFO`, empty when there is none.
pub(crate) fn info_field<'a>(info: &'a str, name: &str) -> &'a str {
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_default().trim_end()
}

fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

fn unreachable(address: String, failure: Failure) -> ConnectError {
    ConnectError::Unreachable { address, source: failure.into() }
}

fn connect_error(place: &Place, error: &RedisError) -> ConnectError {
    let address = place.addresses();
    if let Some(source) = tls_failure(error) {
        return ConnectError::Tls { address, source: source.into() };
    }
    if let (redis::ErrorKind::MasterNameNotFoundBySentinel, Place::Sentinel { master, .. }) =
        (error.kind(), place)
    {
        return ConnectError::UnknownMaster { address, master: master.clone() };
    }
    refusal(address, Failure::from(error.clone()))
}

/// Says what a failure means to who sets Redis up.
pub(crate) fn refusal(address: String, failure: Failure) -> ConnectError {
    match failure {
        Failure::Server(code) if matches!(code.as_str(), "WRONGPASS" | "NOAUTH") => {
            ConnectError::Denied { address }
        }
        Failure::Server(code) if code == "NOPERM" => ConnectError::Forbidden { address },
        failure @ (Failure::Connection(_) | Failure::Timeout) => unreachable(address, failure),
        failure => ConnectError::NotReady { address, source: failure.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str, info: &str) -> Result<(), ConnectError> {
        check_server(&Place::of(&RedisConfig::new(url)).unwrap(), info)
    }

    #[test]
    fn a_server_that_is_too_old_is_named_with_its_version() {
        let error = checked("redis://h", "# Server\r\nredis_version:6.0.16\r\n").unwrap_err();
        assert_eq!(error.to_string(), "Redis at h:6379 is version 6.0.16, and at least 6.2 is needed");
        for version in ["6.2.0", "7.0.15", "10.1.0", ""] {
            checked("redis://h", &format!("redis_version:{version}\r\n")).unwrap();
        }
    }

    #[test]
    fn a_cluster_wants_a_cluster_url_and_a_server_does_not() {
        for (url, enabled, fits) in [
            ("redis://h", "0", true),
            ("redis://h", "1", false),
            ("redis+cluster://h", "1", true),
            ("redis+cluster://h", "0", false),
        ] {
            let checked = checked(url, &format!("redis_version:7.0.0\r\ncluster_enabled:{enabled}\r\n"));
            assert_eq!(checked.is_ok(), fits, "{url} and cluster_enabled:{enabled}");
        }
    }
}
