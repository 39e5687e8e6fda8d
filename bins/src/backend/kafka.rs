//! Kafka.

#[cfg(feature = "kafka")]
mod adapter {
    use std::sync::Arc;

    use async_trait::async_trait;
    use mini_platform_core::domain::LogRecord;
    use mini_platform_core::error::{Fault, FaultKind, LogError};
    use mini_platform_core::port::{LogReader, LongTermLog};
    use mini_platform_kafka::{ConnectError, KafkaConfig, KafkaLog, KafkaLogReader};
    use tokio::sync::OnceCell;

    use crate::config::{self, Misconfigured};

    fn settings(config: &config::KafkaConfig) -> KafkaConfig {
        KafkaConfig::new(config.brokers.iter().cloned())
            .with_topic(&config.topic)
            .with_partitions(config.partitions)
            .with_timeout(config.timeout)
    }

    /// Connects to Kafka. While it is away that is left to the first records, which wait in the outbox.
    pub(in crate::backend) async fn open(
        config: &config::KafkaConfig,
    ) -> anyhow::Result<Arc<dyn LongTermLog>> {
        let log = ConnectsLater { settings: settings(config), connected: OnceCell::new() };
        match log.connected().await {
            Ok(_) => {}
            Err(error) if is_misconfigured(&error) => return Err(Misconfigured::new("kafka", error).into()),
            Err(error) => tracing::warn!(%error, "Kafka cannot be reached, records wait in the outbox"),
        }
        Ok(Arc::new(log))
    }

    /// Returns what reads the topic from its beginning.
    pub(in crate::backend) async fn reader(
        config: &config::KafkaConfig,
    ) -> anyhow::Result<Arc<dyn LogReader>> {
        Ok(Arc::new(KafkaLogReader::connect(&settings(config)).await?))
    }

    /// Tells what no server could mend from what the server may mend.
    fn is_misconfigured(error: &ConnectError) -> bool {
        matches!(
            error,
            ConnectError::NoBrokers | ConnectError::InvalidBroker { .. } | ConnectError::InvalidTopic { .. }
        )
    }

    struct ConnectsLater {
        settings: KafkaConfig,
        connected: OnceCell<KafkaLog>,
    }

    impl ConnectsLater {
        async fn connected(&self) -> Result<&KafkaLog, ConnectError> {
            self.connected.get_or_try_init(|| KafkaLog::connect(&self.settings)).await
        }
    }

    #[async_trait]
    impl LongTermLog for ConnectsLater {
        async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
            let log = self
                .connected()
                .await
                .map_err(|error| Fault::new("kafka", "connect", FaultKind::Unavailable).with_source(error))?;
            log.publish(records).await
        }
    }
}

#[cfg(not(feature = "kafka"))]
mod adapter {
    use std::sync::Arc;

    use mini_platform_core::port::{LogReader, LongTermLog};

    use super::super::NotBuiltIn;
    use crate::config::KafkaConfig;

    pub(in crate::backend) async fn open(_: &KafkaConfig) -> anyhow::Result<Arc<dyn LongTermLog>> {
        Err(NotBuiltIn("Kafka").into())
    }

    pub(in crate::backend) async fn reader(_: &KafkaConfig) -> anyhow::Result<Arc<dyn LogReader>> {
        Err(NotBuiltIn("Kafka").into())
    }
}

pub(super) use adapter::{open, reader};
