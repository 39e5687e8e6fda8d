//! Records to publish, and what a topic holds of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mini_platform_core::domain::{EventScreening, LogRecord, Outcome, WorkerId};
use mini_platform_core::port::LogReader as _;
use mini_platform_core::testkit::{at, list_version, transfer};
use mini_platform_kafka::testkit::unique_topic;
use mini_platform_kafka::{KafkaConfig, KafkaLogReader};

pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Uses a new topic of three partitions.
pub(crate) fn config(brokers: &str) -> KafkaConfig {
    KafkaConfig::new(brokers.split(',')).with_topic(unique_topic()).with_partitions(3)
}

/// Makes a record of a transfer that some client sends.
pub(crate) fn record(client: &str, id: &str) -> LogRecord {
    LogRecord {
        event: transfer(id, client, "the receiver", 1),
        outcome: Outcome::Stored,
        screening: EventScreening::Clear { version: list_version(3) },
        recorded_at: Some(at(7)),
        worker: WorkerId::LOCAL,
        received_at: at(5),
        finished_at: at(6),
        trace: TRACE.parse().unwrap(),
    }
}

/// Makes records of a few clients in turn, numbered through.
pub(crate) fn records(numbers: std::ops::Range<u64>) -> Vec<LogRecord> {
    numbers.map(|number| record(&format!("client {}", number % 7), &format!("{number:08}"))).collect()
}

/// Reads a topic to its end.
pub(crate) async fn read(config: &KafkaConfig) -> Vec<LogRecord> {
    let reader = KafkaLogReader::connect(config).await.unwrap();
    reader.records().await.unwrap().try_collect().await.unwrap()
}

/// Returns the ids of each client, in the order in which they stand.
pub(crate) fn ids_by_client(records: &[LogRecord]) -> HashMap<String, Vec<String>> {
    let mut ids: HashMap<String, Vec<String>> = HashMap::new();
    for record in records {
        let client = record.client().as_str().to_owned();
        ids.entry(client).or_default().push(record.event.id().as_str().to_owned());
    }
    ids
}

/// Returns the first finds of each client.
pub(crate) fn first_finds(records: &[LogRecord]) -> HashMap<String, Vec<String>> {
    let mut ids = ids_by_client(records);
    for ids in ids.values_mut() {
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
    }
    ids
}
