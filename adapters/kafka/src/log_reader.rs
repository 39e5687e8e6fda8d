//! The reader of the long-term log.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use futures_util::stream;
use mini_platform_core::domain::LogRecord;
use mini_platform_core::error::LogError;
use mini_platform_core::port::{LogReader, RecordStream};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::config::KafkaConfig;
use crate::connect::{self, partitions};
use crate::error::{ConnectError, Failure};
use crate::producer::Watch;

const READ: &str = "read records";

/// Reads the long-term log in a Kafka topic, all of its partitions side by side.
///
/// A client's records are in one partition, so their order is kept. Nothing is committed: each stream begins with the
/// oldest record that Kafka keeps, and ends with the newest one at the time when it was opened.
pub struct KafkaLogReader {
    config: KafkaConfig,
}

impl fmt::Debug for KafkaLogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLogReader").field("config", &self.config).finish()
    }
}

impl KafkaLogReader {
    /// Connects, and checks that the topic is there.
    ///
    /// # Errors
    /// A [`ConnectError`] that says what to correct.
    pub async fn connect(config: &KafkaConfig) -> Result<Self, ConnectError> {
        connect::find_topic(config).await?;
        Ok(Self { config: config.clone() })
    }
}

#[async_trait]
impl LogReader for KafkaLogReader {
    async fn records(&self) -> Result<RecordStream, LogError> {
        let config = self.config.clone();
        let opened = spawn_blocking(move || Reading::open(config)).await;
        let opened = opened.unwrap_or(Err(Failure::Internal("the runtime is stopping")));
        let reading = opened.map_err(|failure| failure.during(READ))?;
        Ok(Box::pin(stream::try_unfold(reading, |mut reading| async {
            Ok(reading.next().await?.map(|record| (record, reading)))
        })))
    }
}

struct Reading {
    config: KafkaConfig,
    consumer: StreamConsumer<Watch>,
    /// The partitions that are not read to their end yet, and where that is.
    ends: BTreeMap<i32, i64>,
}

impl Reading {
    /// Blocks until it knows where each partition begins and ends.
    fn open(config: KafkaConfig) -> Result<Self, Failure> {
        let consumer: StreamConsumer<Watch> =
            StreamConsumer::from_config_and_context(&config.consumer(), Watch::default())?;
        let (topic, limit) = (config.topic(), config.timeout());
        let found = partitions(consumer.client(), topic, limit)?.ok_or(Failure::Code(Code::UnknownTopic))?;
        let mut assignment = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in found {
            let (begin, end) = consumer.fetch_watermarks(topic, partition, limit)?;
            if begin < end {
                assignment.add_partition_offset(topic, partition, Offset::Offset(begin))?;
                ends.insert(partition, end);
            }
        }
        consumer.assign(&assignment)?;
        Ok(Self { config, consumer, ends })
    }

    async fn next(&mut self) -> Result<Option<LogRecord>, LogError> {
        let limit = self.config.timeout();
        let give_up = Instant::now() + limit;
        while !self.ends.is_empty() {
            let Ok(received) = timeout_at(give_up, self.consumer.recv()).await else {
                let trouble = self.consumer.context().trouble.last();
                return Err(Failure::NoAnswer { limit, trouble }.during(READ).into());
            };
            match received {
                Ok(message) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    // Another program may have written since the stream was opened.
                    let Some(end) = self.ends.get(&partition).copied().filter(|end| offset < *end) else {
                        continue;
                    };
                    let record = decode(&message);
                    drop(message);
                    if offset + 1 == end {
                        self.finish(partition)?;
                    }
                    return record.map(Some);
                }
                // What is missing before the end are marks of transactions, which are no records.
                Err(KafkaError::PartitionEOF(partition)) => self.finish(partition)?,
                Err(error) => {
                    let failure = Failure::from(error);
                    // The driver goes on by itself when a broker is away for a moment; the time limit bounds it.
                    if !failure.passes_by_itself() {
                        return Err(failure.during(READ).into());
                    }
                }
            }
        }
        Ok(None)
    }

    /// Reads no more of a partition, to which others may be writing.
    fn finish(&mut self, partition: i32) -> Result<(), LogError> {
        if self.ends.remove(&partition).is_some() {
            let mut done = TopicPartitionList::new();
            done.add_partition(self.config.topic(), partition);
            self.consumer.pause(&done).map_err(|error| Failure::from(error).during(READ))?;
        }
        Ok(())
    }
}

fn decode(message: &BorrowedMessage<'_>) -> Result<LogRecord, LogError> {
    LogRecord::from_json(message.payload().unwrap_or_default()).map_err(|reason| LogError::Undecodable {
        place: format!(
            "offset {} of partition {} of {}",
            message.offset(),
            message.partition(),
            message.topic()
        ),
        reason: reason.into(),
    })
}
