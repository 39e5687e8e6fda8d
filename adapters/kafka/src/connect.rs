//! Finding the topic, and making it.

use std::time::{Duration, Instant};

use mini_platform_core::error::FaultKind;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{Producer as _, ThreadedProducer};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::config::KafkaConfig;
use crate::error::{ConnectError, Failure};
use crate::producer::Watch;

/// How often a topic is looked for that was just made, and how long at least.
const LOOK: Duration = Duration::from_millis(50);

/// As many copies as the brokers keep of a topic by default.
const REPLICAS_OF_THE_BROKERS: i32 = -1;

/// The longest time that records can be kept, in milliseconds. For Kafka -1 means the same, but there are brokers
/// that speak its protocol and delete everything then.
const FOR_EVER: &str = "9223372036854775807";

/// Checks that the topic is there, and makes it if it is missing and may be made.
pub(crate) async fn ensure_topic(config: &KafkaConfig) -> Result<(), ConnectError> {
    in_background(config, |config, runtime| Connecting::start(config)?.ensure_topic(runtime)).await
}

/// Checks that the topic is there.
pub(crate) async fn find_topic(config: &KafkaConfig) -> Result<(), ConnectError> {
    in_background(config, |config, _| {
        let connecting = Connecting::start(config)?;
        if connecting.finds_topic()? { Ok(()) } else { Err(connecting.no_topic()) }
    })
    .await
}

/// The driver blocks when it is asked about a cluster, and when it is let go.
async fn in_background(
    config: &KafkaConfig,
    work: impl FnOnce(&KafkaConfig, &Handle) -> Result<(), ConnectError> + Send + 'static,
) -> Result<(), ConnectError> {
    config.check()?;
    let (worked_on, runtime) = (config.clone(), Handle::current());
    let done = spawn_blocking(move || work(&worked_on, &runtime)).await;
    done.unwrap_or_else(|_| Err(not_ready(config, Failure::Internal("the runtime is stopping"))))
}

pub(crate) fn not_ready(config: &KafkaConfig, failure: impl Into<Failure>) -> ConnectError {
    ConnectError::NotReady { brokers: config.brokers(), source: failure.into().into() }
}

/// Returns the partitions of a topic; `None` when there is no such topic.
pub(crate) fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    limit: Duration,
) -> Result<Option<Vec<i32>>, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), limit)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(Code::from) {
        None => Ok(Some(found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

/// An attempt to connect.
struct Connecting<'a> {
    config: &'a KafkaConfig,
    driver: ThreadedProducer<Watch>,
    end: Instant,
}

impl<'a> Connecting<'a> {
    fn start(config: &'a KafkaConfig) -> Result<Self, ConnectError> {
        let driver = ThreadedProducer::from_config_and_context(&config.client(), Watch::default());
        let driver = driver.map_err(|error| not_ready(config, error))?;
        Ok(Self { config, driver, end: Instant::now() + config.timeout() })
    }

    fn ensure_topic(&self, runtime: &Handle) -> Result<(), ConnectError> {
        while !self.finds_topic()? {
            if !self.config.create_topic() {
                return Err(self.no_topic());
            }
            match self.create_topic(runtime) {
                Err(failure) if self.left().is_zero() || !failure.passes_by_itself() => {
                    return Err(self.cannot_create(failure));
                }
                // It is made, or another attempt may help; either shows in a moment.
                _ => std::thread::sleep(LOOK),
            }
        }
        Ok(())
    }

    fn finds_topic(&self) -> Result<bool, ConnectError> {
        let found = partitions(self.driver.client(), self.config.topic(), self.left().max(LOOK));
        found.map(|found| found.is_some()).map_err(|error| self.unusable(error.into()))
    }

    fn create_topic(&self, runtime: &Handle) -> Result<(), Failure> {
        let admin = AdminClient::from_config_and_context(&self.config.client(), Watch::default())?;
        let partitions = i32::from(self.config.partitions());
        let topic =
            NewTopic::new(self.config.topic(), partitions, TopicReplication::Fixed(REPLICAS_OF_THE_BROKERS));
        // Brokers may have other defaults; most delete after a week.
        let topic =
            topic.set("cleanup.policy", "delete").set("retention.ms", FOR_EVER).set("retention.bytes", "-1");
        let options =
            AdminOptions::new().request_timeout(Some(self.left())).operation_timeout(Some(self.left()));
        let made = runtime.block_on(admin.create_topics([&topic], &options))?;
        match made.into_iter().next() {
            // Somebody else was faster.
            Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(Failure::Code(code)),
            None => Err(Failure::Internal("the driver does not say whether the topic is made")),
        }
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    fn unusable(&self, failure: Failure) -> ConnectError {
        let (brokers, topic) = (self.config.brokers(), self.config.topic().to_owned());
        // That no broker answers is what the driver tells; why, is what it complained of.
        let trouble = self.driver.client().context().trouble.last();
        let failure = match (&failure, trouble) {
            (Failure::Code(Code::BrokerTransportFailure | Code::OperationTimedOut), trouble) => {
                Failure::NoAnswer { limit: self.config.timeout(), trouble }
            }
            _ => failure,
        };
        match failure.kind() {
            FaultKind::Denied => ConnectError::Denied { brokers, topic, source: failure.into() },
            FaultKind::Unavailable | FaultKind::Timeout => {
                ConnectError::Unreachable { brokers, source: failure.into() }
            }
            _ => ConnectError::NotReady { brokers, source: failure.into() },
        }
    }

    fn no_topic(&self) -> ConnectError {
        ConnectError::NoTopic { brokers: self.config.brokers(), topic: self.config.topic().to_owned() }
    }

    fn cannot_create(&self, failure: Failure) -> ConnectError {
        let (brokers, topic) = (self.config.brokers(), self.config.topic().to_owned());
        ConnectError::CannotCreateTopic { brokers, topic, source: failure.into() }
    }
}
