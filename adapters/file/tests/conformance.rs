//! The suites of the fraud source, the long-term log and the outbox, on files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use mini_platform_core::domain::{ListVersion, LogRecord};
use mini_platform_core::error::{LogError, SourceError};
use mini_platform_core::port::{Fetched, FraudSource, Outbox, OutboxPage, OutboxPosition, OutboxStatus};
use mini_platform_core::testkit::Fixture;
use mini_platform_core::testkit::fraud_source::PublishedSource;
use mini_platform_core::testkit::long_term_log::LogStage;
use mini_platform_core::testkit::outbox::{MAX_BYTES, RestartedOutbox};
use mini_platform_file::{FileLog, FileLogConfig, FileLogReader, FileOutbox, FileOutboxConfig, FileSource};

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

async fn source() -> Fixture<dyn PublishedSource> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.txt");
    let source = FileSource::new(&path);
    let port = PublishedFile { source, path, second: AtomicU64::new(1_700_000_000) };
    Fixture::with_guard(Arc::new(port), folder)
}

/// With segments of a few records, so that every case writes and reads many.
async fn log() -> Fixture<LogStage> {
    let folder = tempfile::tempdir().unwrap();
    let config = FileLogConfig::new(folder.path()).with_segment_bytes(2_000);
    let (log, reader) = (FileLog::open(&config).unwrap(), FileLogReader::new(folder.path()));
    Fixture::with_guard(Arc::new(LogStage { log: Arc::new(log), reader: Arc::new(reader) }), folder)
}

struct Restarted {
    config: FileOutboxConfig,
    outbox: RwLock<Option<Arc<FileOutbox>>>,
}

impl Restarted {
    fn outbox(&self) -> Arc<FileOutbox> {
        self.outbox.read().unwrap().clone().unwrap()
    }
}

#[async_trait]
impl Outbox for Restarted {
    async fn append(&self, records: &[LogRecord]) -> Result<(), LogError> {
        self.outbox().append(records).await
    }

    async fn read(&self, max: usize) -> Result<OutboxPage, LogError> {
        self.outbox().read(max).await
    }

    async fn forget(&self, before: OutboxPosition) -> Result<(), LogError> {
        self.outbox().forget(before).await
    }

    fn status(&self) -> OutboxStatus {
        self.outbox().status()
    }

    async fn wait(&self) {
        self.outbox().wait().await;
    }
}

#[async_trait]
impl RestartedOutbox for Restarted {
    async fn restart(&self) {
        let outbox = self.outbox.write().unwrap().take();
        outbox.and_then(Arc::into_inner).unwrap().close().await;
        *self.outbox.write().unwrap() = Some(Arc::new(FileOutbox::open(&self.config).unwrap()));
    }
}

async fn outbox() -> Fixture<dyn RestartedOutbox> {
    let folder = tempfile::tempdir().unwrap();
    let config = FileOutboxConfig::new(folder.path()).with_max_bytes(MAX_BYTES);
    let outbox = RwLock::new(Some(Arc::new(FileOutbox::open(&config).unwrap())));
    Fixture::with_guard(Arc::new(Restarted { config, outbox }), folder)
}

mini_platform_core::fraud_source_conformance!(source());
mini_platform_core::long_term_log_conformance!(log());
mini_platform_core::outbox_conformance!(outbox());
