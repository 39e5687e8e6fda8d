//! What the tests share.

use std::thread;
use std::time::Duration;

use mini_platform_core::testkit::server;
use mini_platform_mongodb::{MongoConfig, MongoEventStore};
use mongodb::bson::oid::ObjectId;
use mongodb::{Client, Database};

/// A database of one's own on the shared server, dropped with this.
pub(crate) struct Scratch {
    pub(crate) uri: String,
    pub(crate) name: String,
}

impl Scratch {
    /// Returns `None` where there is no server.
    pub(crate) fn new() -> Option<Self> {
        let uri = server::url("MONGODB")?;
        Some(Self { uri, name: format!("mp_test_{}", ObjectId::new().to_hex()) })
    }

    pub(crate) fn config(&self) -> MongoConfig {
        MongoConfig::new(&self.uri, &self.name).with_timeout(Duration::from_secs(30))
    }

    pub(crate) async fn store(&self) -> MongoEventStore {
        MongoEventStore::connect(&self.config()).await.unwrap()
    }

    /// Returns the database, for a look behind the store's back.
    pub(crate) async fn database(&self) -> Database {
        Client::with_uri_str(&self.uri).await.unwrap().database(&self.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (uri, name) = (self.uri.clone(), self.name.clone());
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::with_uri_str(&uri).await.unwrap();
                let _ = client.database(&name).drop().await;
                client.shutdown().immediate(true).await;
            });
        });
        let _ = dropping.join();
    }
}
