//! The suite of the fraud source port, on files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use mini_platform_core::domain::ListVersion;
use mini_platform_core::error::SourceError;
use mini_platform_core::port::{Fetched, FraudSource};
use mini_platform_core::testkit::Fixture;
use mini_platform_core::testkit::fraud_source::PublishedSource;
use mini_platform_file::FileSource;

struct PublishedFile {
    source: FileSource,
    path: PathBuf,
    second: AtomicU64,
}

#[async_trait]
impl FraudSource for PublishedFile {
    fn place(&self) -> String {
        self.source.place()
    }

    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
        self.source.fetch_if_changed(since).await
    }
}

#[async_trait]
impl PublishedSource for PublishedFile {
    async fn publish(&self, content: &[u8]) {
        fs::write(&self.path, content).unwrap();
        let second = self.second.fetch_add(1, Ordering::Relaxed);
        let file = File::options().write(true).open(&self.path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    }
}

async fn fixture() -> Fixture<dyn PublishedSource> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.txt");
    let source = FileSource::new(&path);
    let port = PublishedFile { source, path, second: AtomicU64::new(1_700_000_000) };
    Fixture::with_guard(Arc::new(port), folder)
}

mini_platform_core::fraud_source_conformance!(fixture());
