//! The suite of the long-term log on a shared broker.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::testkit::Fixture;
use mini_platform_core::testkit::long_term_log::LogStage;
use mini_platform_kafka::testkit::{shared_broker, unique_topic};
use mini_platform_kafka::{KafkaConfig, KafkaLog, KafkaLogReader};

/// Long beside a call, also on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn log() -> Option<Fixture<LogStage>> {
    let config = KafkaConfig::new([shared_broker()?]).with_topic(unique_topic()).with_timeout(TIMEOUT);
    let log = Arc::new(KafkaLog::connect(&config).await.unwrap());
    let reader = Arc::new(KafkaLogReader::connect(&config).await.unwrap());
    Some(Fixture::new(Arc::new(LogStage { log, reader })))
}

mini_platform_core::long_term_log_conformance!(log());
