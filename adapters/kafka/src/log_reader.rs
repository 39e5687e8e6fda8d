//! The reader of the long-term log.

use std::fmt;
use std::vec;

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

/// Reads the long-term log in a Kafka topic, one partition after the other.
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

/// What is to be read of a partition.
struct Part {
    partition: i32,
    next: i64,
    end: i64,
}

struct Reading {
    config: KafkaConfig,
    consumer: StreamConsumer<Watch>,
    part: Option<Part>,
    rest: vec::IntoIter<Part>,
}

impl Reading {
    /// Blocks until it knows where each partition begins and ends.
    fn open(config: KafkaConfig) -> Result<Self, Failure> {
        let consumer: StreamConsumer<Watch> =
            StreamConsumer::from_config_and_context(&config.consumer(), Watch::default())?;
        let (topic, limit) = (config.topic(), config.timeout());
        let found = partitions(consumer.client(), topic, limit)?.ok_or(Failure::Code(Code::UnknownTopic))?;
        let mut parts = Vec::with_capacity(found.len());
        for partition in found {
            let (next, end) = consumer.fetch_watermarks(topic, partition, limit)?;
            parts.push(Part { partition, next, end });
        }
        Ok(Self { config, consumer, part: None, rest: parts.into_iter() })
    }

    async fn next(&mut self) -> Result<Option<LogRecord>, LogError> {
        let end = Instant::now() + self.config.timeout();
        loop {
            if !self.go_on().map_err(|failure| failure.during(READ))? {
                return Ok(None);
            }
            let Ok(received) = timeout_at(end, self.consumer.recv()).await else {
                let trouble = self.consumer.context().trouble.last();
                return Err(Failure::NoAnswer { limit: self.config.timeout(), trouble }.during(READ).into());
            };
            let Some(part) = &mut self.part else { continue };
            match received {
                Ok(message) if message.partition() == part.partition => {
                    part.next = message.offset() + 1;
                    // Another program may have written since the stream was opened.
                    if message.offset() < part.end {
                        return decode(&message).map(Some);
                    }
                }
                // Left over from the partition before.
                Ok(_) => {}
                // What is missing before the end are marks of transactions, which are no records.
                Err(KafkaError::PartitionEOF(partition)) if partition == part.partition => {
                    part.next = part.end
                }
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => {
                    let failure = Failure::from(error);
                    // The driver goes on by itself when a broker is away for a moment; the time limit bounds it.
                    if !failure.passes_by_itself() {
                        return Err(failure.during(READ).into());
                    }
                }
            }
        }
    }

    /// Turns to the next partition when one is done. Answers whether there is anything left to read.
    fn go_on(&mut self) -> Result<bool, Failure> {
        while self.part.as_ref().is_none_or(|part| part.next >= part.end) {
            let Some(part) = self.rest.next() else { return Ok(false) };
            if part.next < part.end {
                let mut assignment = TopicPartitionList::new();
                assignment.add_partition_offset(
                    self.config.topic(),
                    part.partition,
                    Offset::Offset(part.next),
                )?;
                self.consumer.assign(&assignment)?;
            }
            self.part = Some(part);
        }
        Ok(true)
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
