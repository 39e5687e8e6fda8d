//! The suite of the fraud source port: on a server that checks signatures, and on one that knows conditions.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use mini_platform_core::domain::ListVersion;
use mini_platform_core::error::SourceError;
use mini_platform_core::port::{Fetched, FraudSource};
use mini_platform_core::testkit::Fixture;
use mini_platform_core::testkit::fraud_source::PublishedSource;
use mini_platform_s3::S3Source;

use support::{Bucket, Server};

struct PublishedObject {
    source: S3Source,
    bucket: Bucket,
}

#[async_trait]
impl FraudSource for PublishedObject {
    fn place(&self) -> String {
        self.source.place()
    }

    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
        self.source.fetch_if_changed(since).await
    }
}

#[async_trait]
impl PublishedSource for PublishedObject {
    async fn publish(&self, content: &[u8]) {
        self.bucket.publish(content).await;
    }
}

async fn fixture(server: Server, guard: impl Any + Send + Sync) -> Fixture<dyn PublishedSource> {
    let bucket = Bucket::new(&server).await;
    let source = server.source(bucket.location()).await;
    Fixture::with_guard(Arc::new(PublishedObject { source, bucket }), guard)
}

mod in_process {
    use super::support::in_process;

    async fn fixture() -> super::Fixture<dyn super::PublishedSource> {
        let (server, guard) = in_process().await;
        super::fixture(server, guard).await
    }

    mini_platform_core::fraud_source_conformance!(fixture());
}

mod moto {
    use super::support::moto;

    async fn fixture() -> Option<super::Fixture<dyn super::PublishedSource>> {
        Some(super::fixture(moto()?, ()).await)
    }

    mini_platform_core::fraud_source_conformance!(fixture());
}
