//! Single events become batches: whatever waits while a batch is under way makes the next one.
//!
//! Nobody lingers: an event that comes alone leaves alone. Under load the batches grow by themselves.
//!
//! When more comes than can be stored, events wait longer and longer. How long one waited for each event before it tells
//! how long the next one will wait (Little's law): who would wait for a quarter of his time is refused at once. What has
//! waited for half of its time all the same, after a stall, is refused instead of sent, because working on it would make
//! the next ones late as well. So a batch has half of the time at least, and every event is finished or parked when its
//! time is up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::Intake;
use super::request::{Origin, Request, Requests};
use super::{DispatcherConfig, Ingested};
use crate::deadline;
use crate::domain::{Event, EventBatchBuilder, IngestOutcome};
use crate::error::DispatchError;

type Answer = Result<Ingested<IngestOutcome>, DispatchError>;

/// An event that waits for its batch.
#[derive(Debug)]
struct Waiting {
    event: Event,
    request: Request,
    since: Instant,
    /// How many waited before it.
    ahead: usize,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
pub(super) struct Coalescer {
    queue: mpsc::Sender<Waiting>,
    pace: Arc<Pace>,
    origin: Origin,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Coalescer {
    pub(super) fn start(intake: Arc<Intake>, config: &DispatcherConfig) -> Self {
        let origin = intake.origin.clone();
        let (queue, waiting) = mpsc::channel(config.queue.max(1));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let pace = Arc::new(Pace { for_each: AtomicU64::new(0), longest: config.timeout / 4 });
        let gatherer = Gatherer {
            waiting,
            pace: Arc::clone(&pace),
            held_back: VecDeque::new(),
            max_batch: config.max_batch,
            slots: Arc::default(),
            slots_a_member: config.concurrent_batches.max(1),
            timeout: config.timeout,
            intake,
            tasks: tasks.clone(),
        };
        tasks.spawn(gatherer.run(stop.clone()));
        tasks.close();
        Self { queue, pace, origin, stop, tasks }
    }

    pub(super) async fn submit(&self, event: Event) -> Answer {
        let ahead = self.queue.max_capacity() - self.queue.capacity();
        if self.pace.is_too_long(ahead) {
            return Err(DispatchError::Overloaded);
        }
        let (answer, answered) = oneshot::channel();
        let request = self.origin.request();
        let waiting = Waiting { event, request, since: Instant::now(), ahead, answer };
        self.queue.try_send(waiting).map_err(|refused| match refused {
            TrySendError::Full(_) => DispatchError::Overloaded,
            TrySendError::Closed(_) => DispatchError::ShuttingDown,
        })?;
        answered.await.map_err(|_| DispatchError::ShuttingDown)?
    }

    pub(super) async fn shut_down(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// How fast the queue moves.
#[derive(Debug)]
struct Pace {
    /// How many nanoseconds an event waits for each one before it; 0 while every batch leaves the queue empty.
    for_each: AtomicU64,
    /// The longest time that an event is to wait.
    longest: Duration,
}

impl Pace {
    /// Whether one who finds so many before him would wait too long.
    fn is_too_long(&self, ahead: usize) -> bool {
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        Duration::from_nanos(self.for_each.load(Ordering::Relaxed).saturating_mul(ahead)) > self.longest
    }

    fn set(&self, for_each: Duration) {
        self.for_each.store(u64::try_from(for_each.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Counts the batches under way.
#[derive(Debug, Default)]
struct Slots {
    taken: AtomicUsize,
    freed: Notify,
}

impl Slots {
    /// Waits until fewer are taken than there are, and takes one. Only one task may wait.
    async fn take(self: &Arc<Self>, there_are: impl Fn() -> usize) -> Slot {
        while self.taken.load(Ordering::Acquire) >= there_are() {
            self.freed.notified().await;
        }
        self.taken.fetch_add(1, Ordering::AcqRel);
        Slot(Arc::clone(self))
    }
}

/// A batch under way.
#[derive(Debug)]
struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

/// Events that become a batch, and who waits for the answers.
struct Gathered {
    batch: EventBatchBuilder,
    senders: Vec<(Request, oneshot::Sender<Answer>)>,
    /// When the event that waited longest came.
    oldest: Instant,
}

/// The one task that takes events from the queue.
struct Gatherer {
    waiting: mpsc::Receiver<Waiting>,
    pace: Arc<Pace>,
    /// Events whose id is in the batch that was gathered before them.
    held_back: VecDeque<Waiting>,
    max_batch: usize,
    slots: Arc<Slots>,
    slots_a_member: usize,
    /// How long an event may take from its arrival on.
    timeout: Duration,
    intake: Arc<Intake>,
    tasks: TaskTracker,
}

impl Gatherer {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            // Take a slot first: what arrives while all slots are taken makes the next batch larger.
            let slots = || self.slots_a_member.saturating_mul(self.intake.forwarder.members().max(1));
            let slot = self.slots.take(slots).await;
            let Some(first) = self.next(&stop).await else { return };
            let gathered = self.gather(first);
            let (intake, deadline) = (Arc::clone(&self.intake), gathered.oldest + self.timeout);
            self.tasks.spawn(async move {
                deadline::told(deadline, take_in(&intake, gathered)).await;
                drop(slot);
            });
        }
    }

    /// Waits for the next event; `None` when there will be none. Stopping closes the queue, and what is in it
    /// still comes out.
    async fn next(&mut self, stop: &CancellationToken) -> Option<Waiting> {
        if let Some(held_back) = self.held_back.pop_front() {
            return Some(held_back);
        }
        tokio::select! {
            biased;
            () = stop.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
            next = self.waiting.recv() => return next,
        }
        self.waiting.recv().await
    }

    /// How many events may wait for another one of the same id. More of them leave too little of a batch to others.
    fn most_held_back(&self) -> usize {
        (self.max_batch / 8).max(1)
    }

    fn gather(&mut self, first: Waiting) -> Gathered {
        let now = Instant::now();
        let mut gathered = Gathered { batch: EventBatchBuilder::default(), senders: Vec::new(), oldest: now };
        let (mut held_back, mut next) = (VecDeque::new(), Some(first));
        let mut for_each = Duration::ZERO;
        while let Some(Waiting { event, request, since, ahead, answer }) = next {
            let waited = now.saturating_duration_since(since);
            if waited > self.timeout / 2 {
                // A receiver that is gone needs no answer.
                let _ = answer.send(Err(DispatchError::Overloaded));
            } else {
                match gathered.batch.push(event) {
                    Ok(()) => {
                        gathered.senders.push((request, answer));
                        gathered.oldest = gathered.oldest.min(since);
                    }
                    Err(event) if held_back.len() < self.most_held_back() => {
                        held_back.push_back(Waiting { event, request, since, ahead, answer });
                    }
                    Err(_) => {
                        let _ = answer.send(Err(DispatchError::Overloaded));
                    }
                }
            }
            if gathered.batch.len() + held_back.len() >= self.max_batch {
                if !self.waiting.is_empty() {
                    for_each = waited / u32::try_from(ahead + 1).unwrap_or(u32::MAX);
                }
                break;
            }
            next = self.held_back.pop_front().or_else(|| self.waiting.try_recv().ok());
        }
        self.pace.set(for_each);
        held_back.append(&mut self.held_back);
        self.held_back = held_back;
        gathered
    }
}

async fn take_in(intake: &Intake, Gathered { batch, senders, .. }: Gathered) {
    let requests = Requests::each(senders.iter().map(|(request, _)| *request));
    let (Some(batch), Some(requests)) = (batch.build(), requests) else { return };
    let answers = senders.into_iter().map(|(_, answer)| answer);
    // A receiver that is gone has dropped its request: the event is taken in all the same.
    match intake.take_in(&batch, &requests).await {
        Ok(Ingested::Finished(outcomes)) => {
            for (answer, outcome) in answers.zip(outcomes) {
                let _ = answer.send(Ok(Ingested::Finished(outcome)));
            }
        }
        Ok(Ingested::Parked) => {
            for answer in answers {
                let _ = answer.send(Ok(Ingested::Parked));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for answer in answers {
                let _ = answer.send(Err(DispatchError::Batch(Arc::clone(&error))));
            }
        }
    }
}
