//! MongoDB.

#[cfg(feature = "mongodb")]
mod adapter {
    use std::sync::Arc;

    use mini_platform_core::port::EventStore;
    use mini_platform_mongodb::{ConnectError, MongoConfig, MongoEventStore};

    use crate::config::{Misconfigured, MongodbConfig};

    pub(in crate::backend) struct Handle(Arc<MongoEventStore>);

    pub(in crate::backend) async fn open(config: &MongodbConfig) -> anyhow::Result<Handle> {
        let settings = MongoConfig::new(config.uri.expose(), &config.database)
            .with_max_pool(config.max_pool)
            .with_timeout(config.timeout);
        let store = MongoEventStore::connect(&settings).await.map_err(classified)?;
        Ok(Handle(Arc::new(store)))
    }

    /// Tells what no server could mend from what the server may mend.
    fn classified(error: ConnectError) -> anyhow::Error {
        match error {
            ConnectError::InvalidUri { .. } | ConnectError::InvalidDatabaseName { .. } => {
                Misconfigured::new("mongodb", error).into()
            }
            other => other.into(),
        }
    }

    impl Handle {
        pub(in crate::backend) fn event_store(&self) -> Arc<dyn EventStore> {
            Arc::clone(&self.0) as Arc<dyn EventStore>
        }

        pub(in crate::backend) async fn close(self) {
            self.0.close().await;
        }
    }
}

#[cfg(not(feature = "mongodb"))]
mod adapter {
    use std::sync::Arc;

    use mini_platform_core::port::EventStore;

    use super::super::NotBuiltIn;
    use crate::config::MongodbConfig;

    pub(in crate::backend) enum Handle {}

    pub(in crate::backend) async fn open(_: &MongodbConfig) -> anyhow::Result<Handle> {
        Err(NotBuiltIn("MongoDB").into())
    }

    impl Handle {
        pub(in crate::backend) fn event_store(&self) -> Arc<dyn EventStore> {
            match *self {}
        }

        pub(in crate::backend) async fn close(self) {
            match self {}
        }
    }
}

pub(super) use adapter::{Handle, open};
