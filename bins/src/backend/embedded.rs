//! The embedded store.

#[cfg(feature = "embedded")]
mod adapter {
    use std::sync::Arc;

    use anyhow::Context;
    use mini_platform_core::domain::{LotLimits, MatchMode};
    use mini_platform_core::port::{AdjacencyStore, EventStore, FraudRegistry, ParkingLot};
    use mini_platform_embedded::Embedded;

    use crate::config::EmbeddedConfig;

    pub(in crate::backend) struct Handle(Embedded);

    /// Opens the folder off the runtime: it may take a second after a crash.
    pub(in crate::backend) async fn open(config: &EmbeddedConfig) -> anyhow::Result<Handle> {
        let settings =
            mini_platform_embedded::EmbeddedConfig::new(&config.dir).with_cache_bytes(config.cache);
        let opening = tokio::task::spawn_blocking(move || Embedded::open(&settings));
        Ok(Handle(opening.await.context("the embedded store was not opened")??))
    }

    impl Handle {
        pub(in crate::backend) fn event_store(&self) -> Arc<dyn EventStore> {
            Arc::new(self.0.event_store())
        }

        pub(in crate::backend) fn adjacency(&self) -> Arc<dyn AdjacencyStore> {
            Arc::new(self.0.adjacency())
        }

        pub(in crate::backend) fn registry(&self, mode: MatchMode) -> anyhow::Result<Arc<dyn FraudRegistry>> {
            Ok(Arc::new(self.0.registry(mode)?))
        }

        pub(in crate::backend) fn parking_lot(
            &self,
            limits: LotLimits,
        ) -> anyhow::Result<Arc<dyn ParkingLot>> {
            Ok(Arc::new(self.0.parking_lot(limits)?))
        }

        pub(in crate::backend) fn broken(&self) -> impl Future<Output = ()> + Send + use<> {
            self.0.broken()
        }

        pub(in crate::backend) async fn close(self) {
            self.0.close().await;
        }
    }
}

#[cfg(not(feature = "embedded"))]
mod adapter {
    use std::future::Pending;
    use std::sync::Arc;

    use mini_platform_core::domain::{LotLimits, MatchMode};
    use mini_platform_core::port::{AdjacencyStore, EventStore, FraudRegistry, ParkingLot};

    use super::super::NotBuiltIn;
    use crate::config::EmbeddedConfig;

    pub(in crate::backend) enum Handle {}

    pub(in crate::backend) async fn open(_: &EmbeddedConfig) -> anyhow::Result<Handle> {
        Err(NotBuiltIn("the embedded store").into())
    }

    impl Handle {
        pub(in crate::backend) fn event_store(&self) -> Arc<dyn EventStore> {
            match *self {}
        }

        pub(in crate::backend) fn adjacency(&self) -> Arc<dyn AdjacencyStore> {
            match *self {}
        }

        pub(in crate::backend) fn registry(&self, _: MatchMode) -> anyhow::Result<Arc<dyn FraudRegistry>> {
            match *self {}
        }

        pub(in crate::backend) fn parking_lot(&self, _: LotLimits) -> anyhow::Result<Arc<dyn ParkingLot>> {
            match *self {}
        }

        pub(in crate::backend) fn broken(&self) -> Pending<()> {
            match *self {}
        }

        pub(in crate::backend) async fn close(self) {
            match self {}
        }
    }
}

pub(super) use adapter::{Handle, open};
