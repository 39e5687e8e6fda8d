//! Workers that behave as they are told, and dispatchers over them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{Dispatcher, DispatcherConfig, LoadBalancer, RoundRobin};
use mini_platform_core::domain::{EventBatch, IngestOutcome, LogRecord, WorkerId};
use mini_platform_core::error::{DispatchError, Fault, FaultKind, FetchError, IngestError, LogError};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{FetchAnswer, FetchQuery, FraudRegistry, LongTermLog, WorkerNode};
use mini_platform_core::testkit::{Fate, Faulty, batch, fraud_list, transfer};

pub(crate) async fn worker() -> (Arc<Worker>, Arc<MemoryEventStore>) {
    let registry = Arc::new(MemoryFraudRegistry::default());
    registry.replace(fraud_list(1, &["mallory"])).await.unwrap();
    let events = Arc::new(MemoryEventStore::default());
    (Arc::new(Worker::new(events.clone(), Arc::new(MemoryAdjacencyStore::default()), registry)), events)
}

pub(crate) fn dispatcher(config: DispatcherConfig, members: Vec<Arc<dyn WorkerNode>>) -> Dispatcher {
    balanced(config, RoundRobin::default(), members)
}

pub(crate) fn balanced(
    config: DispatcherConfig,
    balancer: impl LoadBalancer,
    members: Vec<Arc<dyn WorkerNode>>,
) -> Dispatcher {
    let dispatcher = Dispatcher::new(config, Arc::new(balancer));
    for (number, member) in members.into_iter().enumerate() {
        dispatcher.add_member(WorkerId::new(format!("w{number}")).unwrap(), member);
    }
    dispatcher
}

pub(crate) fn faulty(worker: &Arc<Worker>, plan: impl IntoIterator<Item = Fate>) -> Arc<dyn WorkerNode> {
    Arc::new(Faulty::new(Arc::clone(worker), plan))
}

/// What every call of a [`Scripted`] meets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Answer(Duration),
    Fail(Duration, FaultKind),
    Hang,
    /// Answers one outcome too few.
    Shorten,
}

/// A worker whose every call meets the same, until it is told otherwise. Counts them.
pub(crate) struct Scripted {
    inner: Arc<Worker>,
    act: Mutex<Act>,
    calls: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

struct UnderWay<'a>(&'a Scripted);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Scripted {
    pub(crate) fn new(inner: &Arc<Worker>, act: Act) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            act: Mutex::new(act),
            calls: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    pub(crate) fn act(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many calls were under way at once, at most.
    pub(crate) fn most_under_way(&self) -> usize {
        self.most_under_way.load(Ordering::SeqCst)
    }

    async fn meet(&self) -> Result<Act, Fault> {
        let _under_way = UnderWay(self);
        let act = *self.act.lock().unwrap();
        self.calls.fetch_add(1, Ordering::SeqCst);
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        match act {
            Act::Answer(after) => tokio::time::sleep(after).await,
            Act::Fail(after, kind) => {
                tokio::time::sleep(after).await;
                return Err(Fault::new("scripted", "do as told", kind));
            }
            Act::Hang => std::future::pending().await,
            Act::Shorten => {}
        }
        Ok(act)
    }
}

#[async_trait]
impl WorkerNode for Scripted {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        let act = self.meet().await?;
        let mut outcomes = self.inner.ingest(batch).await?;
        if matches!(act, Act::Shorten) {
            outcomes.pop();
        }
        Ok(outcomes)
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        self.meet().await?;
        self.inner.fetch(query).await
    }
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Sends a batch of one event.
pub(crate) async fn send(dispatcher: &Dispatcher, n: usize) -> Result<Vec<IngestOutcome>, DispatchError> {
    let sent = dispatcher.ingest(&batch([transfer(&format!("t{n}"), "ann", "bob", 1)])).await?;
    Ok(sent.finished().unwrap())
}

/// Uses up the retry budget, by members that fail all requests.
pub(crate) async fn use_up_budget(dispatcher: &Dispatcher, members: &[Arc<Scripted>]) {
    let calls = || members.iter().map(|member| member.calls()).sum::<usize>();
    let acts: Vec<Act> = members.iter().map(|member| *member.act.lock().unwrap()).collect();
    members.iter().for_each(|member| member.act(Act::Fail(Duration::ZERO, FaultKind::Throttled)));
    let mut extra = (usize::MAX, usize::MAX);
    // A retry between requests without one takes what was just paid in.
    while extra != (0, 1) {
        let before = calls();
        let _ = send(dispatcher, 0).await;
        extra = (extra.1, calls() - before - 1);
    }
    members.iter().zip(acts).for_each(|(member, act)| member.act(act));
}

/// A log that can be read, and told to fail.
#[derive(Default)]
pub(crate) struct RecordingLog {
    records: Mutex<Vec<LogRecord>>,
    failing: AtomicBool,
}

impl RecordingLog {
    pub(crate) fn records(&self) -> Vec<LogRecord> {
        self.records.lock().unwrap().clone()
    }

    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }
}

#[async_trait]
impl LongTermLog for RecordingLog {
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(LogError::Full);
        }
        self.records.lock().unwrap().extend_from_slice(records);
        Ok(())
    }
}
