use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::Outcome;
use crate::error::{Fault, FaultKind};
use crate::memory::{MemoryLog, MemoryOutbox};
use crate::port::{LogReader, OutboxPage, OutboxPosition, OutboxStatus, RecordStream};
use crate::telemetry::probe::{Logs, Metrics};
use crate::telemetry::{OUTBOX_BYTES, OUTBOX_LAG, OUTBOX_PUBLISH_FAILURES, OUTBOX_PUBLISHED};
use crate::testkit::{ManualClock, at, log_record, transfer};

#[derive(Debug, Clone, Copy)]
enum Fate {
    Fail(FaultKind),
    LoseAnswer,
    Hang,
    Slow(Duration),
}

/// A log that meets its fates in order, and then takes everything.
#[derive(Default)]
struct TestLog {
    inner: MemoryLog,
    fates: Mutex<VecDeque<Fate>>,
    calls: Mutex<Vec<(Instant, usize)>>,
}

#[async_trait]
impl LongTermLog for TestLog {
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
        self.calls.lock().unwrap().push((Instant::now(), records.len()));
        let fate = self.fates.lock().unwrap().pop_front();
        match fate {
            Some(Fate::Fail(kind)) => Err(Fault::new("log", "publish", kind).into()),
            Some(Fate::LoseAnswer) => {
                self.inner.publish(records).await?;
                Err(Fault::new("log", "publish", FaultKind::Timeout).into())
            }
            Some(Fate::Hang) => std::future::pending().await,
            Some(Fate::Slow(pause)) => {
                sleep(pause).await;
                self.inner.publish(records).await
            }
            None => self.inner.publish(records).await,
        }
    }
}

/// An outbox whose calls of `forget` fail as often as planned.
struct TestOutbox {
    inner: MemoryOutbox,
    failing_forgets: Mutex<u32>,
}

#[async_trait]
impl Outbox for TestOutbox {
    async fn append(&self, records: &[LogRecord]) -> Result<(), LogError> {
        self.inner.append(records).await
    }

    async fn read(&self, max: usize) -> Result<OutboxPage, LogError> {
        self.inner.read(max).await
    }

    async fn forget(&self, before: OutboxPosition) -> Result<(), LogError> {
        {
            let mut failing = self.failing_forgets.lock().unwrap();
            if *failing > 0 {
                *failing -= 1;
                return Err(Fault::new("outbox", "forget", FaultKind::Internal).into());
            }
        }
        self.inner.forget(before).await
    }

    fn status(&self) -> OutboxStatus {
        self.inner.status()
    }

    async fn wait(&self) {
        self.inner.wait().await;
    }
}

struct Scene {
    log: Arc<TestLog>,
    outbox: Arc<TestOutbox>,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    appended: usize,
}

impl Scene {
    fn new(fates: impl IntoIterator<Item = Fate>) -> Self {
        let log = TestLog { fates: Mutex::new(fates.into_iter().collect()), ..TestLog::default() };
        let outbox = TestOutbox { inner: MemoryOutbox::new(4 << 20), failing_forgets: Mutex::default() };
        Self {
            log: Arc::new(log),
            outbox: Arc::new(outbox),
            clock: Arc::new(ManualClock::new(at(102))),
            stop: CancellationToken::new(),
            appended: 0,
        }
    }

    async fn append(&mut self, records: usize) {
        let ids = self.appended..self.appended + records;
        let records: Vec<_> = ids
            .map(|n| log_record(transfer(&format!("e{n:05}"), "ann", "bob", 1), Outcome::Stored))
            .collect();
        OutboxLog::new(Arc::clone(&self.outbox) as _).publish(&records).await.unwrap();
        self.appended += records.len();
    }

    fn start(&self) -> JoinHandle<()> {
        let relay = OutboxRelay::new(Arc::clone(&self.outbox) as _, Arc::clone(&self.log) as _, 7)
            .with_clock(Arc::clone(&self.clock) as _)
            .with_grace(Duration::from_secs(2));
        tokio::spawn(relay.run(self.stop.clone()))
    }

    /// Stops the relay and returns how long its end took.
    async fn stop(&self, relay: JoinHandle<()>) -> Duration {
        let told = Instant::now();
        self.stop.cancel();
        timeout(Duration::from_secs(60), relay).await.expect("a relay ends").unwrap();
        told.elapsed()
    }

    async fn ids(&self) -> Vec<String> {
        let records: RecordStream = self.log.inner.records().await.unwrap();
        let records: Vec<_> = futures_util::TryStreamExt::try_collect(records).await.unwrap();
        records.iter().map(|record: &LogRecord| record.event.id().to_string()).collect()
    }

    async fn assert_all_in_order(&self) {
        let mut ids = self.ids().await;
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        let expected: Vec<_> = (0..self.appended).map(|n| format!("e{n:05}")).collect();
        assert_eq!(ids, expected, "every record is there, in order of its first find");
    }

    fn calls(&self) -> Vec<usize> {
        self.log.calls.lock().unwrap().iter().map(|(_, records)| *records).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn records_come_through_in_order_and_are_forgotten() {
    let mut scene = Scene::new([]);
    scene.append(2500).await;
    let relay = scene.start();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(scene.calls(), [1024, 1024, 452], "a page a call");
    scene.append(3).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(scene.calls().last(), Some(&3), "an append wakes the relay");
    assert_eq!(scene.outbox.status().bytes, 0);
    scene.assert_all_in_order().await;
    assert_eq!(scene.stop(relay).await, Duration::ZERO, "there is nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn a_page_waits_for_the_one_before() {
    let mut scene = Scene::new([Fate::Slow(Duration::from_secs(9)), Fate::LoseAnswer]);
    scene.append(2000).await;
    let relay = scene.start();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(scene.calls(), [1024], "the first page has no answer yet");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.calls(), [1024, 976, 976], "what has no answer is published again");
    scene.assert_all_in_order().await;
    scene.stop(relay).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_log_fails_pauses_grow_and_records_wait() {
    let mut scene = Scene::new(vec![Fate::Fail(FaultKind::Unavailable); 60]);
    scene.append(10).await;
    let relay = scene.start();
    sleep(Duration::from_secs(60)).await;
    let calls = scene.log.calls.lock().unwrap().clone();
    assert!((15..60).contains(&calls.len()), "a minute has {} tries", calls.len());
    let longest = calls.windows(2).map(|two| two[1].0 - two[0].0).max().unwrap();
    assert!(longest <= Duration::from_secs(5), "no pause is longer than {longest:?}");
    scene.append(10).await;
    sleep(Duration::from_secs(300)).await;
    scene.assert_all_in_order().await;
    assert_eq!(scene.outbox.status().bytes, 0);
    scene.stop(relay).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_does_not_pass_by_itself_does_not_end_the_relay() {
    let mut scene = Scene::new([Fate::Fail(FaultKind::Denied), Fate::Fail(FaultKind::Internal)]);
    scene.append(10).await;
    let relay = scene.start();
    sleep(Duration::from_secs(20)).await;
    scene.assert_all_in_order().await;
    scene.stop(relay).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_hangs_is_asked_again() {
    let mut scene = Scene::new([Fate::Hang]);
    scene.append(1).await;
    let relay = scene.start();
    sleep(DEFAULT_TIMEOUT + Duration::from_secs(1)).await;
    assert_eq!(scene.calls(), [1, 1]);
    scene.stop(relay).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_forgotten_is_not_published_again() {
    let mut scene = Scene::new([]);
    *scene.outbox.failing_forgets.lock().unwrap() = 5;
    scene.append(10).await;
    let relay = scene.start();
    sleep(Duration::from_secs(60)).await;
    scene.append(1).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.calls(), [10, 1]);
    assert_eq!(scene.outbox.status().bytes, 0);
    scene.stop(relay).await;
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_empties_the_outbox_first() {
    let mut scene = Scene::new(vec![Fate::Slow(Duration::from_millis(500)); 4]);
    scene.append(3000).await;
    let relay = scene.start();
    sleep(Duration::from_millis(1)).await;
    let took = scene.stop(relay).await;
    assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&took), "three pages: {took:?}");
    scene.assert_all_in_order().await;
    assert_eq!(scene.outbox.status().bytes, 0, "and everything is forgotten");
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_tries_once_more_and_no_longer_than_its_grace() {
    let failing = vec![Fate::Fail(FaultKind::Unavailable); 100];
    for (fates, tries, took) in [(failing, 1, Duration::ZERO), (vec![Fate::Hang], 0, Duration::from_secs(2))]
    {
        let mut scene = Scene::new(fates);
        scene.append(10).await;
        let relay = scene.start();
        sleep(Duration::from_secs(30)).await;
        let before = scene.calls().len();
        assert_eq!(scene.stop(relay).await, took);
        assert_eq!(scene.calls().len(), before + tries, "one last try, unless one is under way");
        assert!(scene.outbox.status().bytes > 0, "what was not taken waits");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_once_and_its_end_is_told() {
    let (metrics, logs) = (Metrics::default(), Logs::default());
    let _recording = metrics::set_default_local_recorder(&metrics);
    let _logging = tracing::subscriber::set_default(logs.clone());
    let mut scene = Scene::new(vec![Fate::Fail(FaultKind::Unavailable); 20]);
    scene.append(1500).await;
    let relay = scene.start();
    sleep(Duration::from_secs(10)).await;
    scene.clock.set(at(112));
    sleep(Duration::from_secs(6)).await;
    assert_eq!(metrics.get(OUTBOX_BYTES), scene.outbox.status().bytes as f64);
    assert_eq!(metrics.get(OUTBOX_LAG), 10.0, "the oldest record was finished at 102 s");
    assert_eq!(metrics.get(OUTBOX_PUBLISH_FAILURES), scene.calls().len() as f64);
    assert_eq!(logs.count("WARN"), 1, "an outage is told once");
    sleep(Duration::from_secs(100)).await;
    assert_eq!(logs.count("takes records again"), 1);
    assert_eq!(logs.count("outbox.records=1500"), 1, "all that waited is told when it is through");
    for (metric, value) in [(OUTBOX_BYTES, 0.0), (OUTBOX_LAG, 0.0), (OUTBOX_PUBLISHED, 1500.0)] {
        assert_eq!(metrics.get(metric), value, "{metric}");
    }
    scene.append(1).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(logs.count("INFO"), 2, "and nothing when all is well");
    scene.stop(relay).await;
    assert_eq!(logs.count("WARN") + logs.count("ERROR"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_needs_help_is_told_as_such_once() {
    let logs = Logs::default();
    let _logging = tracing::subscriber::set_default(logs.clone());
    let unavailable = [Fate::Fail(FaultKind::Unavailable); 3];
    let denied = [Fate::Fail(FaultKind::Denied); 100];
    let mut scene = Scene::new(unavailable.into_iter().chain(denied));
    scene.append(1).await;
    let relay = scene.start();
    sleep(Duration::from_secs(30)).await;
    assert_eq!((logs.count("WARN"), logs.count("ERROR")), (1, 1));
    scene.stop(relay).await;
    assert_eq!(logs.count("for the next start"), 1, "what is left is told");
}
