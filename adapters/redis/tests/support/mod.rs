//! A registry on the server that all tests share.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::domain::MatchMode;
use mini_platform_core::port::{FraudRegistry, SystemClock};
use mini_platform_core::testkit::{Fixture, server};
use mini_platform_redis::testkit::{Cleanup, unique_prefix};
use mini_platform_redis::{Redis, RedisConfig};

/// Long beside a command, also on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A fresh registry on the shared server, or `None` without it.
pub(crate) async fn registry() -> Option<Fixture<dyn FraudRegistry>> {
    Some(registry_at(server::url("REDIS")?).await)
}

/// A fresh registry at a URL.
pub(crate) async fn registry_at(url: String) -> Fixture<dyn FraudRegistry> {
    let prefix = unique_prefix();
    let config = RedisConfig::new(&url).with_timeout(TIMEOUT).with_key_prefix(&prefix);
    let redis = Redis::connect(&config).await.unwrap();
    let registry: Arc<dyn FraudRegistry> =
        Arc::new(redis.registry(MatchMode::default(), Arc::new(SystemClock)));
    Fixture::with_guard(registry, Cleanup { url, prefix })
}
