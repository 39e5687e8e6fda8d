//! What the tests say often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mini_platform_core::domain::{ClientId, ListEntry, ListVersion, MatchMode, Verdict};
use mini_platform_core::error::{FaultKind, RegistryError};
use mini_platform_core::port::{FraudList, FraudRegistry, ReplaceOutcome, SystemClock};
use mini_platform_core::testkit::{client, fraud_list, list_version};
use mini_platform_redis::testkit::RedisServer;
use mini_platform_redis::{Redis, RedisConfig, RedisFraudRegistry};

/// How long a recovery may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry of the default mode with the default key prefix.
pub(crate) async fn registry_of(config: &RedisConfig) -> RedisFraudRegistry {
    let redis = Redis::connect(config).await.unwrap();
    redis.registry(MatchMode::default(), Arc::new(SystemClock))
}

/// A server of one's own and a registry on it.
pub(crate) async fn server_with_registry(more: &[&str]) -> Option<(RedisServer, RedisFraudRegistry)> {
    let server = RedisServer::start_with(more)?;
    let config = RedisConfig::new(server.url()).with_timeout(Duration::from_secs(10));
    let registry = registry_of(&config).await;
    Some((server, registry))
}

/// Puts a list in force that was published at a second.
pub(crate) async fn feed(registry: &dyn FraudRegistry, published_at: i64, names: &[&str]) {
    let outcome = registry.replace(fraud_list(published_at, names)).await.unwrap();
    assert!(matches!(outcome, ReplaceOutcome::Replaced(_)), "a newer list replaces: {outcome:?}");
}

/// Feeds a list until it is in force; the reply to an attempt that took effect may be lost.
pub(crate) async fn feed_again(registry: &dyn FraudRegistry, published_at: i64, names: &[&str]) {
    let start = Instant::now();
    loop {
        match registry.replace(fraud_list(published_at, names)).await {
            Ok(ReplaceOutcome::Stale { newest }) => return assert_eq!(newest, list_version(published_at)),
            Ok(_) => return,
            Err(error) => assert!(start.elapsed() < PATIENCE, "no recovery: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A list of generated names, each different.
pub(crate) fn long_list(published_at: i64, names: usize) -> FraudList {
    let names: Vec<String> = (0..names).map(|number| format!("Name {number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    fraud_list(published_at, &names)
}

pub(crate) fn entry(name: &str) -> ListEntry {
    ListEntry::new(name).unwrap()
}

pub(crate) async fn hits(registry: &dyn FraudRegistry, names: &[&str]) -> Result<Vec<bool>, RegistryError> {
    let subjects: Vec<ClientId> = names.iter().map(|name| client(name)).collect();
    let screening = registry.screen(&subjects).await?;
    Ok(screening.verdicts.iter().map(|verdict| *verdict != Verdict::Clear).collect())
}

pub(crate) async fn version_in_force(registry: &dyn FraudRegistry) -> Option<ListVersion> {
    registry.in_force().await.unwrap().map(|info| info.version)
}

pub(crate) async fn assert_in_force(registry: &dyn FraudRegistry, published_at: i64) {
    assert_eq!(version_in_force(registry).await, Some(list_version(published_at)));
}

/// The sort of fault that a call ended with.
pub(crate) fn fault_kind<T: std::fmt::Debug>(answer: Result<T, RegistryError>) -> FaultKind {
    match answer {
        Err(RegistryError::Fault(fault)) => fault.kind(),
        other => panic!("the call fails with a fault: {other:?}"),
    }
}

/// Screens until it succeeds, and answers whether the names are hit. Every call ends within the time given.
pub(crate) async fn hits_again(registry: &dyn FraudRegistry, names: &[&str], each: Duration) -> Vec<bool> {
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = hits(registry, names).await;
        assert!(asked.elapsed() < each, "a call ends in time also when the server is away");
        match answer {
            Ok(hits) => return hits,
            Err(error) => assert!(start.elapsed() < PATIENCE, "no recovery: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The keys of lists on their way in.
pub(crate) fn staging_keys(server: &RedisServer) -> Vec<String> {
    server.ask(&["KEYS", "*:load:*"])
}
