//! What can be set.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::error::ConnectError;

/// The topic of the long-term log when nothing else is asked for.
pub const DEFAULT_TOPIC: &str = "long_term_storage";

/// How many partitions a topic gets that is made here, when nothing else is asked for: 12.
///
/// More than one, because their number cannot be changed later without losing the order of clients; twelve share
/// themselves evenly among 2, 3, 4, 6 or 12 brokers or readers.
pub const DEFAULT_PARTITIONS: u16 = 12;

/// How long a call may take when nothing else is asked for: 10 seconds.
///
/// A partition has a new leader within a few seconds; whoever waits longer wants to know that Kafka is away.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be silent before it counts as broken, and the broker may take to write: 10 seconds.
///
/// The driver's own 60 and 30 seconds would hold up the records of a partition whose leader hangs for as long.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest pause before a broker is connected to again: a second, so that an outage ends for us when it ends.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The name under which the broker's logs and quotas show us.
const CLIENT_ID: &str = "mini-platform";

/// The longest name of a topic.
const MAX_TOPIC_BYTES: usize = 249;

/// Which Kafka is used, and how.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    brokers: Vec<String>,
    topic: String,
    create_topic: bool,
    partitions: u16,
    timeout: Duration,
}

impl KafkaConfig {
    /// Uses the cluster that some brokers belong to, such as `127.0.0.1:9092`. One that can be reached will do; the
    /// others are found through it.
    #[must_use]
    pub fn new<B: Into<String>>(brokers: impl IntoIterator<Item = B>) -> Self {
        Self {
            brokers: brokers.into_iter().map(Into::into).collect(),
            topic: DEFAULT_TOPIC.to_owned(),
            create_topic: true,
            partitions: DEFAULT_PARTITIONS,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Sets the topic: 1 to 249 letters, digits and `. _ -`.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = topic.into();
        self
    }

    /// Sets whether [`KafkaLog::connect`](crate::KafkaLog::connect) makes the topic when it is missing.
    #[must_use]
    pub fn with_create_topic(mut self, create: bool) -> Self {
        self.create_topic = create;
        self
    }

    /// Sets how many partitions the topic gets if it is made here. Zero counts as one.
    #[must_use]
    pub fn with_partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions.max(1);
        self
    }

    /// Sets how long a call may take in all, and a reader may wait for the next record.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn brokers(&self) -> String {
        self.brokers.join(",")
    }

    pub(crate) fn create_topic(&self) -> bool {
        self.create_topic
    }

    pub(crate) fn partitions(&self) -> u16 {
        self.partitions
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        if self.brokers.is_empty() {
            return Err(ConnectError::NoBrokers);
        }
        if let Some(broker) = self.brokers.iter().find(|broker| !is_broker(broker)) {
            return Err(ConnectError::InvalidBroker { broker: broker.clone() });
        }
        if is_topic(&self.topic) {
            Ok(())
        } else {
            Err(ConnectError::InvalidTopic { topic: self.topic.clone() })
        }
    }

    /// Returns the settings of the driver that all its clients share.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.brokers())
            .set("client.id", CLIENT_ID)
            .set("socket.timeout.ms", millis(SOCKET_TIMEOUT))
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", millis(RECONNECT_PAUSE))
            // A broker that makes topics by itself would give it another number of partitions, and delete records.
            .set("allow.auto.create.topics", "false")
            .set_log_level(RDKafkaLogLevel::Notice);
        client
    }

    /// Returns the settings of a producer that holds so many records at most.
    pub(crate) fn producer(&self, room: usize) -> ClientConfig {
        let mut producer = self.client();
        producer
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A record that cannot be written ends the producer; else those behind it would be written without it.
            .set("enable.gapless.guarantee", "true")
            // Never: a record that is given up is a gap. Callers stop waiting when they like.
            .set("message.timeout.ms", "0")
            .set("request.timeout.ms", millis(SOCKET_TIMEOUT))
            .set("retry.backoff.max.ms", millis(RECONNECT_PAUSE))
            // That of the Java clients, so that whoever else writes here agrees on the partition of a client.
            .set("partitioner", "murmur2_random")
            // Calls bring whole batches: there is little to wait for.
            .set("linger.ms", "1")
            // JSON shrinks to a fifth, at gigabytes a second.
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", room.to_string());
        producer
    }

    /// Returns the settings of a consumer that is told what to read.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut consumer = self.client();
        consumer
            // The driver reads nothing without one; nothing is ever committed to it.
            .set("group.id", CLIENT_ID)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // An offset that is gone is told, not skipped.
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .set("queued.max.messages.kbytes", QUEUED_KIB.to_string());
        consumer
    }
}

/// How much a reader fetches ahead: 16 MiB, some ten thousand records.
const QUEUED_KIB: usize = 16 * 1024;

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn is_broker(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else { return false };
    let is_host =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b",/@".contains(&byte));
    is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_topic(topic: &str) -> bool {
    let fits = (1..=MAX_TOPIC_BYTES).contains(&topic.len()) && topic != "." && topic != "..";
    fits && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brokers_need_is_taken() {
        KafkaConfig::new(["127.0.0.1:9092", "kafka.example:9093", "[::1]:9092"]).check().unwrap();
    }

    #[test]
    fn a_wrong_broker_is_named() {
        for broker in
            ["", "localhost", "localhost:", ":9092", "h:0", "h:99999", "kafka://h:9092", "a b:1", "a:1,b:2"]
        {
            let error = KafkaConfig::new(["h:9092", broker]).check().unwrap_err();
            assert!(
                matches!(&error, ConnectError::InvalidBroker { broker: found } if found == broker),
                "{error}"
            );
        }
        assert!(matches!(KafkaConfig::new([""; 0]).check(), Err(ConnectError::NoBrokers)));
    }

    #[test]
    fn a_topic_has_a_name_that_kafka_takes() {
        let check = |topic: &str| KafkaConfig::new(["h:1"]).with_topic(topic).check();
        check("long_term.storage-1").unwrap();
        for topic in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(matches!(check(topic), Err(ConnectError::InvalidTopic { .. })), "{topic}");
        }
    }

    #[test]
    fn the_driver_knows_all_of_its_settings() {
        let config = KafkaConfig::new(["127.0.0.1:9"]);
        for settings in [config.producer(1), config.consumer()] {
            settings.create_native_config().unwrap();
        }
    }
}
