//! Records to publish, and what a topic holds of them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use mini_platform_core::domain::{EventScreening, LogRecord, Outcome, WorkerId};
use mini_platform_core::error::{Causes, FaultKind, LogError};
use mini_platform_core::port::LogReader as _;
use mini_platform_core::testkit::{at, list_version, transfer};
use mini_platform_kafka::testkit::unique_topic;
use mini_platform_kafka::{KafkaConfig, KafkaLogReader};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::timeout;

pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Uses a new topic of three partitions, with patience.
pub(crate) fn config(brokers: &str) -> KafkaConfig {
    let config = KafkaConfig::new(brokers.split(',')).with_topic(unique_topic());
    config.with_partitions(3).with_timeout(PATIENCE)
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
pub(crate) fn ids_by_client(records: &[LogRecord]) -> BTreeMap<String, Vec<String>> {
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records {
        let client = record.client().as_str().to_owned();
        ids.entry(client).or_default().push(record.event.id().as_str().to_owned());
    }
    ids
}

/// Checks that every record is found, and, counting first finds alone, in the order of its client.
pub(crate) fn assert_kept(found: &[LogRecord], published: &[LogRecord]) {
    let mut seen = HashSet::new();
    let first_finds = found.iter().filter(|record| seen.insert(record.event.id().clone())).cloned();
    assert_kept_once(&first_finds.collect::<Vec<_>>(), published);
}

/// Checks that every record is found once, in the order of its client.
pub(crate) fn assert_kept_once(found: &[LogRecord], published: &[LogRecord]) {
    let found = ids_by_client(found);
    for (client, expected) in ids_by_client(published) {
        let found = found.get(&client).map(Vec::as_slice).unwrap_or_default();
        let common = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
        assert!(
            found.len() == expected.len() && common == found.len(),
            "every record is kept once, in the order of its client: {client} has {} instead of {}, and from place \
             {common} on {:?} instead of {:?}",
            found.len(),
            expected.len(),
            &found[common..found.len().min(common + 9)],
            &expected[common..expected.len().min(common + 9)],
        );
    }
}

/// What a record is in Kafka.
pub(crate) struct Raw {
    pub(crate) partition: i32,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// Waits for so many messages of a topic, with a client that shares no code with the adapter's.
pub(crate) async fn raw(brokers: &str, topic: &str, count: usize) -> Vec<Raw> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", topic)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let messages = consumer.stream().take(count).map(|message| {
        let message = message.unwrap();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Raw {
            partition: message.partition(),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                .collect(),
        }
    });
    timeout(PATIENCE, messages.collect()).await.expect("all messages come")
}

/// Writes a message past the adapter.
pub(crate) async fn write(brokers: &str, topic: &str, partition: i32, value: Option<&str>) {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let mut message: FutureRecord<'_, str, str> = FutureRecord::to(topic).partition(partition).key("someone");
    message.payload = value;
    producer.send(message, PATIENCE).await.unwrap();
}

/// Returns the fault that a call ended with, and its causes as text.
pub(crate) fn fault(result: Result<(), LogError>) -> (FaultKind, String) {
    match result.unwrap_err() {
        LogError::Fault(fault) => (fault.kind(), Causes(&fault).to_string()),
        other => panic!("{other}"),
    }
}
