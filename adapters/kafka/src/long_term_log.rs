//! The long-term log.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::LogRecord;
use mini_platform_core::error::LogError;
use mini_platform_core::port::LongTermLog;
use tokio::time::timeout;

use crate::config::KafkaConfig;
use crate::connect;
use crate::error::{ConnectError, Failure};
use crate::producer::{MAX_SEND, Producers};

/// A long-term log in a Kafka topic. A clone of its handle is not needed: share it in an `Arc`.
///
/// Records of a client have the client's id as their key, so that they share a partition and keep their order. The
/// topic keeps that promise as long as its number of partitions stays.
pub struct KafkaLog {
    producers: Producers,
    timeout: Duration,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Connects, and checks that the topic is there; makes it if it is missing, unless the configuration forbids it.
    ///
    /// # Errors
    /// A [`ConnectError`] that says what to correct. Only the first connection is checked like this: later the
    /// brokers may come and go, and calls wait and fail while they are away.
    pub async fn connect(config: &KafkaConfig) -> Result<Self, ConnectError> {
        connect::ensure_topic(config).await?;
        let producers = Producers::start(config).map_err(|error| connect::not_ready(config, error))?;
        Ok(Self { producers, timeout: config.timeout() })
    }

    async fn send(&self, records: &[LogRecord]) -> Result<(), Failure> {
        // One call has one piece; what is longer goes piece by piece, so that memory stays bounded and order kept.
        for piece in records.chunks(MAX_SEND) {
            self.producers.send(piece).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl LongTermLog for KafkaLog {
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
        let sent = match timeout(self.timeout, self.send(records)).await {
            Ok(sent) => sent,
            Err(_) => Err(Failure::NoAnswer { limit: self.timeout, trouble: self.producers.trouble() }),
        };
        sent.map_err(|failure| failure.during("publish records").into())
    }
}
