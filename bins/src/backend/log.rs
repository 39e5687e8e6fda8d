//! The long-term log: files on this machine, or Kafka behind an outbox.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use mini_platform_core::outbox::{OutboxLog, OutboxRelay};
use mini_platform_core::port::{LogReader, LongTermLog};
use mini_platform_file::{FileLog, FileLogConfig, FileLogReader, FileOutbox, FileOutboxConfig};
use tokio_util::sync::CancellationToken;

use super::kafka;
use crate::config::{Config, LogBackend};
use crate::random::random_seed;

/// The long-term log of a dispatcher, open.
#[derive(Debug)]
pub struct Log(Kind);

#[derive(Debug)]
enum Kind {
    None,
    Files(Arc<FileLog>),
    Kafka { outbox: Arc<FileOutbox>, relay: OutboxRelay },
}

impl Log {
    /// Opens the log that the configuration chooses.
    ///
    /// # Errors
    /// Its folder cannot be used, or the settings of Kafka cannot be.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        Ok(Self(match config.log.backend {
            LogBackend::None => Kind::None,
            LogBackend::Files => {
                let settings = FileLogConfig::new(log_dir(config)).with_segment_bytes(config.log.max_segment);
                Kind::Files(Arc::new(off_the_runtime(move || FileLog::open(&settings)).await?))
            }
            LogBackend::Kafka => {
                let settings =
                    FileOutboxConfig::new(outbox_dir(config)).with_max_bytes(config.log.max_outbox);
                let outbox = Arc::new(off_the_runtime(move || FileOutbox::open(&settings)).await?);
                let kafka = kafka::open(&config.kafka).await?;
                let relay = OutboxRelay::new(Arc::clone(&outbox) as _, kafka, random_seed());
                Kind::Kafka { outbox, relay }
            }
        }))
    }

    /// Returns where a dispatcher puts records; `None` when nothing is kept.
    #[must_use]
    pub fn log(&self) -> Option<Arc<dyn LongTermLog>> {
        match &self.0 {
            Kind::None => None,
            Kind::Files(files) => Some(Arc::clone(files) as _),
            Kind::Kafka { outbox, .. } => Some(Arc::new(OutboxLog::new(Arc::clone(outbox) as _))),
        }
    }

    /// Brings records to where they belong until it is told to stop; then what is left has a moment to get there, and
    /// the folder is given free. Nobody may publish by then.
    pub async fn run(self, stop: CancellationToken) {
        match self.0 {
            Kind::None => stop.cancelled().await,
            Kind::Files(files) => {
                stop.cancelled().await;
                if let Some(files) = Arc::into_inner(files) {
                    files.close().await;
                }
            }
            Kind::Kafka { outbox, relay } => {
                relay.run(stop).await;
                if let Some(outbox) = Arc::into_inner(outbox) {
                    outbox.close().await;
                }
            }
        }
    }
}

/// Where a log is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// A folder of files.
    Folder(PathBuf),
    /// The configured topic.
    Kafka,
}

impl FromStr for LogPlace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "kafka" { Self::Kafka } else { Self::Folder(text.into()) })
    }
}

/// Returns what reads a log from its beginning.
///
/// # Errors
/// This build has no adapter for it, or it cannot be reached.
pub async fn log_reader(place: &LogPlace, config: &Config) -> anyhow::Result<Arc<dyn LogReader>> {
    match place {
        LogPlace::Folder(dir) => Ok(Arc::new(FileLogReader::new(dir))),
        LogPlace::Kafka => kafka::reader(&config.kafka).await,
    }
}

/// Returns the folder of the log's files.
#[must_use]
pub fn log_dir(config: &Config) -> PathBuf {
    config.log.dir.clone().unwrap_or_else(|| beside_data(config, "log"))
}

fn outbox_dir(config: &Config) -> PathBuf {
    config.log.outbox_dir.clone().unwrap_or_else(|| beside_data(config, "outbox"))
}

fn beside_data(config: &Config, name: &str) -> PathBuf {
    Path::new(&config.embedded.dir).join(name)
}

/// Opens a folder where that may take its time.
async fn off_the_runtime<T: Send + 'static, E: std::error::Error + Send + Sync + 'static>(
    open: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(open).await.context("the folder was not opened")??)
}
