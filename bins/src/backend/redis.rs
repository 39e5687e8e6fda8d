//! Redis: one server, a cluster, or a master behind Sentinels.

#[cfg(feature = "redis")]
mod adapter {
    use std::sync::Arc;

    use anyhow::Context;
    use mini_platform_core::domain::{LotLimits, MatchMode};
    use mini_platform_core::port::{AdjacencyStore, FraudRegistry, ParkingLot, SystemClock};
    use mini_platform_redis::{ConnectError, Redis};

    use crate::config::{Misconfigured, ParkingConfig, RedisConfig};

    pub(in crate::backend) struct Handle(Redis);

    pub(in crate::backend) async fn open(
        config: &RedisConfig,
        parking: &ParkingConfig,
    ) -> anyhow::Result<Handle> {
        let mut settings = mini_platform_redis::RedisConfig::new(config.url.expose())
            .with_key_prefix(&config.key_prefix)
            .with_timeout(config.timeout)
            .with_volatile_parking(parking.allow_volatile);
        if let Some(path) = &config.ca_file {
            let pem = tokio::fs::read(path).await;
            let pem = pem.map_err(|error| Misconfigured::new("redis", error));
            let pem = pem.with_context(|| format!("cannot read {} (redis.ca_file)", path.display()))?;
            settings = settings.with_ca_certificate(pem);
        }
        Redis::connect(&settings).await.map(Handle).map_err(classified)
    }

    /// Tells what no server could mend from what the server may mend.
    fn classified(error: ConnectError) -> anyhow::Error {
        match error {
            ConnectError::InvalidUrl { .. }
            | ConnectError::InvalidKeyPrefix
            | ConnectError::InvalidCaCertificate => Misconfigured::new("redis", error).into(),
            other => other.into(),
        }
    }

    impl Handle {
        pub(in crate::backend) fn adjacency(&self) -> Arc<dyn AdjacencyStore> {
            Arc::new(self.0.adjacency())
        }

        pub(in crate::backend) fn registry(&self, mode: MatchMode) -> Arc<dyn FraudRegistry> {
            Arc::new(self.0.registry(mode, Arc::new(SystemClock)))
        }

        pub(in crate::backend) async fn parking_lot(
            &self,
            limits: LotLimits,
        ) -> anyhow::Result<Arc<dyn ParkingLot>> {
            Ok(Arc::new(self.0.parking_lot(limits).await?))
        }
    }
}

#[cfg(not(feature = "redis"))]
mod adapter {
    use std::sync::Arc;

    use mini_platform_core::domain::{LotLimits, MatchMode};
    use mini_platform_core::port::{AdjacencyStore, FraudRegistry, ParkingLot};

    use super::super::NotBuiltIn;
    use crate::config::{ParkingConfig, RedisConfig};

    pub(in crate::backend) enum Handle {}

    pub(in crate::backend) async fn open(_: &RedisConfig, _: &ParkingConfig) -> anyhow::Result<Handle> {
        Err(NotBuiltIn("Redis").into())
    }

    impl Handle {
        pub(in crate::backend) fn adjacency(&self) -> Arc<dyn AdjacencyStore> {
            match *self {}
        }

        pub(in crate::backend) async fn parking_lot(
            &self,
            _: LotLimits,
        ) -> anyhow::Result<Arc<dyn ParkingLot>> {
            match *self {}
        }

        pub(in crate::backend) fn registry(&self, _: MatchMode) -> Arc<dyn FraudRegistry> {
            match *self {}
        }
    }
}

pub(super) use adapter::{Handle, open};
