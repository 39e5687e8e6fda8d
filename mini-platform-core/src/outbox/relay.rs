//! From the outbox to the log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::journal::{self, Journal};
use crate::domain::LogRecord;
use crate::error::{LogError, Retry};
use crate::port::{Clock, LongTermLog, MAX_RECORDS, Outbox, OutboxPosition, SystemClock};
use crate::retry::{Backoff, RetryPolicy};
use crate::telemetry::OUTBOX_LAG;

/// How long one call of the log may take: longer than logs try by themselves, so that it only ends what hangs.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a relay goes on when it is told to stop. What is left then waits for the next start, so this only saves
/// a short stop from leaving records behind.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// The longest first pause after a failure: about what a leader takes to change.
const BASE_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: records wait safely, and nobody likes to look at a log that came back and gets none.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Why a step of a relay failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error("the long-term log did not take a page")]
    Log(#[source] LogError),
    #[error("the long-term log did not answer")]
    NoAnswer,
    #[error("the outbox did not give a page")]
    Outbox(#[source] LogError),
}

impl RelayError {
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Log(error) | Self::Outbox(error) => error.retry(),
            Self::NoAnswer => Retry::Backoff,
        }
    }
}

/// Takes records from an outbox to the log that they are for, oldest first.
///
/// A page is published when the one before is durable in the log, and forgotten when it is durable itself: so the
/// order holds, nothing is lost, and after a failure a page may be published twice. While the log fails the relay
/// tries again after pauses that grow, for ever: nobody else could do more, and the outbox is bounded.
///
/// ```
/// # use std::sync::Arc;
/// use mini_platform_core::memory::{MemoryLog, MemoryOutbox};
/// use mini_platform_core::outbox::{OutboxLog, OutboxRelay};
/// # use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (outbox, elsewhere) = (Arc::new(MemoryOutbox::new(1 << 20)), Arc::new(MemoryLog::default()));
/// let log = OutboxLog::new(outbox.clone());
/// let relay = OutboxRelay::new(outbox, elsewhere, 7);
/// let stop = CancellationToken::new();
/// let relaying = tokio::spawn(relay.run(stop.clone()));
/// # let _ = log;
/// stop.cancel();
/// relaying.await.unwrap();
/// # }
/// ```
pub struct OutboxRelay {
    outbox: Arc<dyn Outbox>,
    log: Arc<dyn LongTermLog>,
    clock: Arc<dyn Clock>,
    jitter: Rng,
    timeout: Duration,
    grace: Duration,
    journal: Journal,
    /// What is in the log and not forgotten yet.
    published: Option<OutboxPosition>,
}

impl fmt::Debug for OutboxRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxRelay").field("published", &self.published).finish_non_exhaustive()
    }
}

impl OutboxRelay {
    /// Makes a relay with the operating system's clock. The seed decides its pauses.
    ///
    /// It is the outbox's only reader, and does the retries: the log is not to be wrapped in others.
    #[must_use]
    pub fn new(outbox: Arc<dyn Outbox>, log: Arc<dyn LongTermLog>, seed: u64) -> Self {
        Self {
            outbox,
            log,
            clock: Arc::new(SystemClock),
            jitter: Rng::with_seed(seed),
            timeout: DEFAULT_TIMEOUT,
            grace: DEFAULT_GRACE,
            journal: Journal::default(),
            published: None,
        }
    }

    /// Tells the age of records by another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how long one call of the log may take; 60 s by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long it goes on when it is told to stop; 5 s by default.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Relays until it is told to stop. Then it empties the outbox as far as the log takes it at the first try, and
    /// within its grace; what is left stays in the outbox.
    pub async fn run(mut self, stop: CancellationToken) {
        let (outbox, grace) = (Arc::clone(&self.outbox), self.grace);
        let overdue = async {
            stop.cancelled().await;
            sleep(grace).await;
        };
        tokio::select! {
            biased;
            () = self.relay(&stop) => {}
            () = overdue => {}
        }
        Journal::ended(outbox.status());
    }

    async fn relay(&mut self, stop: &CancellationToken) {
        let mut backoff: Option<Backoff> = None;
        loop {
            match self.step().await {
                Ok(true) => backoff = None,
                Ok(false) if stop.is_cancelled() => return,
                Ok(false) => {
                    let outbox = Arc::clone(&self.outbox);
                    until(stop, outbox.wait()).await;
                }
                Err(error) => {
                    self.journal.failed(&error, self.outbox.status());
                    if stop.is_cancelled() {
                        return;
                    }
                    let backoff = backoff.get_or_insert_with(|| Backoff::start(pauses()));
                    let pause = self.pause(backoff, error.retry());
                    until(stop, sleep(pause)).await;
                }
            }
        }
    }

    /// Publishes a page, and says whether there was one.
    async fn step(&mut self) -> Result<bool, RelayError> {
        if let Some(end) = self.published {
            self.outbox.forget(end).await.map_err(RelayError::Outbox)?;
            self.published = None;
        }
        let page = self.outbox.read(MAX_RECORDS).await.map_err(RelayError::Outbox)?;
        journal::note_status(self.outbox.status());
        self.note_lag(page.records.first());
        if page.records.is_empty() {
            self.journal.emptied();
            return Ok(false);
        }
        let answer = timeout(self.timeout, self.log.publish(&page.records)).await;
        answer.map_err(|_| RelayError::NoAnswer)?.map_err(RelayError::Log)?;
        self.published = Some(page.end);
        self.journal.published(page.records.len() as u64, self.outbox.status());
        Ok(true)
    }

    fn note_lag(&self, oldest: Option<&LogRecord>) {
        let lag = oldest.map_or(Duration::ZERO, |record| self.clock.now().since(record.finished_at));
        metrics::gauge!(OUTBOX_LAG).set(lag.as_secs_f64());
    }

    /// Chooses a pause, also after what a retry cannot help: somebody may, meanwhile.
    fn pause(&mut self, backoff: &mut Backoff, retry: Retry) -> Duration {
        let retry = if retry == Retry::Never { Retry::Backoff } else { retry };
        backoff.pause(retry, &mut self.jitter).unwrap_or(MAX_PAUSE)
    }
}

/// Pauses without an end.
fn pauses() -> RetryPolicy {
    RetryPolicy::default()
        .with_base(BASE_PAUSE)
        .with_cap(MAX_PAUSE)
        .with_max_attempts(u32::MAX)
        .with_budget(Duration::MAX)
}

async fn until(stop: &CancellationToken, waited: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = waited => {}
        () = stop.cancelled() => {}
    }
}
