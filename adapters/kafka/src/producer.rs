//! One producer after the other, each writing all of its records without a gap.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mini_platform_core::codec::RECORD_SCHEMA;
use mini_platform_core::domain::LogRecord;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, RwLock, RwLockReadGuard, Semaphore, oneshot};
use tokio::task::spawn_blocking;

use crate::config::KafkaConfig;
use crate::error::Failure;

/// The most records of one send.
pub(crate) const MAX_SEND: usize = mini_platform_core::port::MAX_RECORDS;

/// The most records that the driver holds: those of four of the largest calls, some 4 MiB.
///
/// While Kafka is away, a caller that gives up and calls again leaves its records here; this bounds how many copies
/// of them are written when it is back.
const ROOM: usize = 4 * MAX_SEND;

/// How long the answers to a broken producer's last requests are waited for; a little longer than the driver waits.
const LAST_ANSWERS: Duration = Duration::from_secs(12);

/// How often they are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// The producer in force, and room for what it holds.
pub(crate) struct Producers {
    settings: ClientConfig,
    topic: String,
    current: RwLock<Arc<Producer>>,
    room: Arc<Semaphore>,
    trouble: Trouble,
}

impl Producers {
    /// Starts the first producer.
    pub(crate) fn start(config: &KafkaConfig) -> KafkaResult<Self> {
        let settings = config.producer(ROOM);
        let trouble = Trouble::default();
        let current = RwLock::new(Arc::new(Producer::start(&settings, &trouble)?));
        let room = Arc::new(Semaphore::new(ROOM));
        Ok(Self { settings, topic: config.topic().to_owned(), current, room, trouble })
    }

    /// Returns what the driver last complained of, if it has not written anything since.
    pub(crate) fn trouble(&self) -> Option<Code> {
        self.trouble.last()
    }

    /// Writes up to [`MAX_SEND`] records. When it fails, or is given up, the first of them may be written.
    pub(crate) async fn send(&self, records: &[LogRecord]) -> Result<(), Failure> {
        const CLOSED: Failure = Failure::Internal("the producer is closed");
        let records_count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(records_count).await.map_err(|_| CLOSED)?;
        let (done, outcome) = oneshot::channel();
        let producer = self.working().await?;
        // No await until all are handed over: a call that is given up leaves the first of its records, never others.
        let delivery = Arc::new(Delivery::new(room, done));
        let sent = producer.send(&self.topic, records, &delivery);
        // From here on only the driver holds it.
        drop(delivery);
        drop(producer);
        match (outcome.await.map_err(|_| CLOSED)?, sent) {
            (None, sent) => sent,
            (Some(code), _) if is_consequence(code) => Err(Failure::Code(self.end().unwrap_or(code))),
            (Some(code), _) => Err(Failure::Code(code)),
        }
    }

    /// Returns why the producer is at its end, unless another has taken its place.
    fn end(&self) -> Option<Code> {
        self.current.try_read().ok().and_then(|producer| producer.end())
    }

    /// Returns the producer, after a broken one was replaced.
    async fn working(&self) -> Result<RwLockReadGuard<'_, Arc<Producer>>, Failure> {
        loop {
            let current = self.current.read().await;
            if !current.is_broken() {
                return Ok(current);
            }
            drop(current);
            self.replace().await?;
        }
    }

    async fn replace(&self) -> Result<(), Failure> {
        let mut current = self.current.write().await;
        if !current.is_broken() {
            return Ok(());
        }
        tracing::warn!("the kafka producer cannot go on, a new one takes its place");
        let (broken, settings, trouble) = (Arc::clone(&current), self.settings.clone(), self.trouble.clone());
        let stopped = |_| Failure::Internal("the runtime is stopping");
        let next = spawn_blocking(move || {
            broken.finish();
            Producer::start(&settings, &trouble)
        });
        let broken = mem::replace(&mut *current, Arc::new(next.await.map_err(stopped)??));
        // Its thread is waited for.
        spawn_blocking(|| drop(broken)).await.map_err(stopped)
    }
}

/// Records that were handed over together. They are done when the driver has let go of the last of them.
pub(crate) struct Delivery {
    _room: OwnedSemaphorePermit,
    done: Option<oneshot::Sender<Option<Code>>>,
    /// Why a record was not written.
    reason: OnceLock<Code>,
    /// Records were not written because others were not.
    consequence: OnceLock<Code>,
}

impl Delivery {
    fn new(room: OwnedSemaphorePermit, done: oneshot::Sender<Option<Code>>) -> Self {
        Self { _room: room, done: Some(done), reason: OnceLock::new(), consequence: OnceLock::new() }
    }

    /// Notes that a record was not written. The first reason stays.
    fn fail(&self, code: Code) {
        let _ = if is_consequence(code) { self.consequence.set(code) } else { self.reason.set(code) };
    }
}

/// Whether a code says that a producer is at its end, and not why.
fn is_consequence(code: Code) -> bool {
    matches!(code, Code::Fatal | Code::PurgeQueue | Code::PurgeInflight)
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // The caller may have given up.
            let _ = done.send(self.reason.get().or(self.consequence.get()).copied());
        }
    }
}

/// A producer of the driver. Broken, it takes nothing more.
struct Producer {
    driver: ThreadedProducer<Watch>,
}

impl Producer {
    fn start(settings: &ClientConfig, trouble: &Trouble) -> KafkaResult<Self> {
        let watch = Watch { trouble: trouble.clone(), ..Watch::default() };
        Ok(Self { driver: ThreadedProducer::from_config_and_context(settings, watch)? })
    }

    fn is_broken(&self) -> bool {
        self.driver.client().context().lost_a_record.load(Ordering::Acquire) || self.end().is_some()
    }

    /// Returns why it is at its end, if it is.
    fn end(&self) -> Option<Code> {
        self.driver.client().fatal_error().map(|(code, _)| code)
    }

    /// Hands records over, in order, up to the first that is refused.
    fn send(&self, topic: &str, records: &[LogRecord], delivery: &Arc<Delivery>) -> Result<(), Failure> {
        for record in records {
            let json = record.to_json();
            let message = BaseRecord::with_opaque_to(topic, Arc::clone(delivery))
                .key(record.client().as_str())
                .payload(&json)
                .headers(headers(record));
            self.driver.send(message).map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Gives up what waits, and waits for the answers to what was sent: a request that is written after those of the
    /// next producer would put older records behind newer ones.
    fn finish(&self) {
        let end = Instant::now() + LAST_ANSWERS;
        while self.driver.in_flight_count() > 0 && Instant::now() < end {
            // What the broker has not taken comes back to the queue.
            self.driver.purge(PurgeConfig::default().queue());
            // Time is up when it is; the loop decides.
            drop(self.driver.flush(LOOK));
        }
    }
}

fn headers(record: &LogRecord) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(2)
        .insert(Header { key: "schema-version", value: Some(&RECORD_SCHEMA.to_string()) })
        .insert(Header { key: "traceparent", value: Some(&record.trace.to_string()) })
}

/// What the driver last complained of, if it has not written anything since.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<Code>>>);

impl Trouble {
    pub(crate) fn last(&self) -> Option<Code> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, code: Option<Code>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }
}

/// Hears what a client of the driver tells between calls.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) trouble: Trouble,
    lost_a_record: AtomicBool,
}

// Both repeat themselves while a broker is away, and whoever calls is told then.
impl ClientContext for Watch {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(kafka.facility = facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(kafka.error = %error, "{reason}");
        self.trouble.note(error.rdkafka_error_code());
    }
}

impl ConsumerContext for Watch {}

impl ProducerContext for Watch {
    type DeliveryOpaque = Arc<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Arc<Delivery>) {
        match result {
            Ok(_) => self.trouble.note(None),
            Err((error, _)) => {
                // Whatever the reason: what is sent from now on would stand behind a gap.
                self.lost_a_record.store(true, Ordering::Release);
                delivery.fail(error.rdkafka_error_code().unwrap_or(Code::Fail));
            }
        }
    }
}
