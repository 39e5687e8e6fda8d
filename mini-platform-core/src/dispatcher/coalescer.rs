//! Single events become batches: whatever waits while a batch is under way makes the next one.
//!
//! Nobody lingers: an event that comes alone leaves alone. Under load the batches grow by themselves. When more
//! comes than can be stored, the queue is full and the rest is refused at once; and what waited for so long that its
//! sender gave up is not sent any more, because working on it would make the next ones late as well.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::Intake;
use super::request::{Origin, Request, Requests};
use super::{DispatcherConfig, Ingested};
use crate::domain::{Event, EventBatchBuilder, IngestOutcome};
use crate::error::DispatchError;

type Answer = Result<Ingested<IngestOutcome>, DispatchError>;

/// An event that waits for its batch.
#[derive(Debug)]
struct Waiting {
    event: Event,
    request: Request,
    since: Instant,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
pub(super) struct Coalescer {
    queue: mpsc::Sender<Waiting>,
    origin: Origin,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Coalescer {
    pub(super) fn start(intake: Arc<Intake>, config: &DispatcherConfig) -> Self {
        let origin = intake.origin.clone();
        let (queue, waiting) = mpsc::channel(config.queue.max(1));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let gatherer = Gatherer {
            waiting,
            held_back: VecDeque::new(),
            max_batch: config.max_batch,
            slots: Arc::default(),
            slots_a_member: config.concurrent_batches.max(1),
            patience: config.timeout,
            intake,
            tasks: tasks.clone(),
        };
        tasks.spawn(gatherer.run(stop.clone()));
        tasks.close();
        Self { queue, origin, stop, tasks }
    }

    pub(super) async fn submit(&self, event: Event) -> Answer {
        let (answer, answered) = oneshot::channel();
        let request = self.origin.request();
        let waiting = Waiting { event, request, since: Instant::now(), answer };
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

/// The one task that takes events from the queue.
struct Gatherer {
    waiting: mpsc::Receiver<Waiting>,
    /// Events whose id is in the batch that was gathered before them.
    held_back: VecDeque<Waiting>,
    max_batch: usize,
    slots: Arc<Slots>,
    slots_a_member: usize,
    /// How long an event may wait.
    patience: Duration,
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
            let (batch, senders) = self.gather(first);
            let intake = Arc::clone(&self.intake);
            self.tasks.spawn(async move {
                take_in(&intake, batch, senders).await;
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

    fn gather(&mut self, first: Waiting) -> (EventBatchBuilder, Vec<(Request, oneshot::Sender<Answer>)>) {
        let mut batch = EventBatchBuilder::default();
        let (mut senders, mut held_back) = (Vec::new(), VecDeque::new());
        let mut next = Some(first);
        let now = Instant::now();
        while let Some(Waiting { event, request, since, answer }) = next {
            if now.saturating_duration_since(since) > self.patience {
                // A receiver that is gone needs no answer.
                let _ = answer.send(Err(DispatchError::Overloaded));
            } else {
                match batch.push(event) {
                    Ok(()) => senders.push((request, answer)),
                    Err(event) => held_back.push_back(Waiting { event, request, since, answer }),
                }
            }
            if batch.len() + held_back.len() >= self.max_batch {
                break;
            }
            next = self.held_back.pop_front().or_else(|| self.waiting.try_recv().ok());
        }
        held_back.append(&mut self.held_back);
        self.held_back = held_back;
        (batch, senders)
    }
}

async fn take_in(
    intake: &Intake,
    batch: EventBatchBuilder,
    senders: Vec<(Request, oneshot::Sender<Answer>)>,
) {
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
