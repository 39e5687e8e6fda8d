//! The feeder as a whole, on the registry in memory.

mod previews;
mod several;
mod telling;

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::*;
use crate::domain::{ClientId, Etag, Timestamp, Verdict as Screened};
use crate::error::Retry;
use crate::memory::MemoryFraudRegistry;
use crate::port::{Fetched, FraudSource};
use crate::testkit::{Fate, Faulty, ManualClock, at};

/// What happens after the content of a source was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    End,
    Fail,
    Hang,
    /// Waits for a permit of the source's gate.
    Gate,
    /// Ends a byte early.
    Cut,
}

/// A source that a test publishes to.
struct TestSource {
    place: &'static str,
    published: Mutex<(ListVersion, Bytes, Tail)>,
    /// How often the content was opened, whether or not it was read.
    opened: AtomicUsize,
    looks: AtomicUsize,
    is_down: Mutex<bool>,
    gate: Arc<Semaphore>,
}

impl TestSource {
    fn new(place: &'static str, content: &str) -> Arc<Self> {
        Arc::new(Self {
            place,
            published: Mutex::new((
                version(1, content),
                Bytes::copy_from_slice(content.as_bytes()),
                Tail::End,
            )),
            opened: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            is_down: Mutex::new(false),
            gate: Arc::new(Semaphore::new(0)),
        })
    }

    fn publish(&self, second: i64, content: &str) {
        self.publish_with(second, content, Tail::End);
    }

    fn publish_with(&self, second: i64, content: &str, tail: Tail) {
        let content = Bytes::copy_from_slice(content.as_bytes());
        *self.published.lock().unwrap() =
            (version(second, &String::from_utf8_lossy(&content)), content, tail);
    }

    fn set_down(&self, is_down: bool) {
        *self.is_down.lock().unwrap() = is_down;
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }
}

/// The version of a content: its length and a hash that is good enough for tests.
fn version(second: i64, content: &str) -> ListVersion {
    let sum = content.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    ListVersion::new(
        Timestamp::from_micros(second * 1_000_000).unwrap(),
        Etag::new(format!("{}-{sum:x}", content.len())).unwrap(),
    )
}

#[async_trait]
impl FraudSource for TestSource {
    fn place(&self) -> String {
        self.place.to_owned()
    }

    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        if *self.is_down.lock().unwrap() {
            return Err(Fault::new("test source", "open the list", FaultKind::Unavailable).into());
        }
        let (version, content, tail) = self.published.lock().unwrap().clone();
        if since.is_some_and(|since| since.etag() == version.etag()) {
            return Ok(Fetched::NotModified);
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        let announced_bytes = Some(content.len() as u64 + u64::from(tail == Tail::Cut));
        let pieces: Vec<_> = content.chunks(7).map(Bytes::copy_from_slice).map(Ok).collect();
        let end = match tail {
            Tail::End | Tail::Cut => stream::empty().boxed(),
            Tail::Hang => stream::pending().boxed(),
            Tail::Gate => {
                let gate = Arc::clone(&self.gate);
                stream::once(async move { gate.acquire_owned().await.unwrap().forget() })
                    .filter_map(async |()| None)
                    .boxed()
            }
            Tail::Fail => {
                let place = self.place.to_owned();
                stream::iter([Err(SourceError::ChangedWhileReading { place })]).boxed()
            }
        };
        Ok(Fetched::Changed(RawList {
            version,
            announced_bytes,
            bytes: stream::iter(pieces).chain(end).boxed(),
        }))
    }
}

fn registry() -> Arc<MemoryFraudRegistry> {
    Arc::new(MemoryFraudRegistry::new(MatchMode::Normalized, Arc::new(SystemClock)))
}

fn feeder(registry: &Arc<MemoryFraudRegistry>, source: &Arc<TestSource>) -> Feeder {
    Feeder::new(Arc::clone(registry) as Arc<dyn FraudRegistry>, list_source(source))
}

fn list_source(source: &Arc<TestSource>) -> ListSource {
    ListSource::new(Arc::clone(source) as Arc<dyn FraudSource>)
}

async fn stops(registry: &MemoryFraudRegistry, name: &str) -> bool {
    let screening = registry.screen(&[ClientId::new(name).unwrap()]).await.unwrap();
    matches!(screening.verdicts.as_slice(), [Screened::Hit { .. }])
}

/// A list was replaced by the next one of the source, and put back in force.
async fn rolled_back() -> (Arc<MemoryFraudRegistry>, Feeder, ListInfo) {
    let (registry, source) = (registry(), TestSource::new("file:list", "A\nB\n"));
    let mut feeder = feeder(&registry, &source);
    let old = replaced(feeder.refresh().await);
    source.publish(2, "A\nC\n");
    replaced(feeder.refresh().await);
    registry.rollback(&old.version).await.unwrap();
    (registry, feeder, old)
}

fn replaced(result: Result<Refresh, RefreshError>) -> ListInfo {
    match result {
        Ok(Refresh::Replaced { list, .. }) => list,
        other => panic!("the list had to be replaced: {other:?}"),
    }
}

fn refusal(result: Result<Refresh, RefreshError>) -> String {
    match result {
        Err(RefreshError::Refused(reason)) => {
            std::error::Error::source(&*reason).map(ToString::to_string).unwrap_or_default()
        }
        other => panic!("the list had to be refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_first_refresh_puts_the_list_in_force() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\nBob\n"));
    let list = replaced(feeder(&registry, &source).refresh().await);
    assert_eq!((list.entries, list.source.as_str()), (2, "file:list"));
    assert_eq!(list.version, version(1, "Ann\nBob\n"), "a single source gives its version to the list");
    assert!(stops(&registry, "ANN").await);
}

#[tokio::test]
async fn an_added_name_is_stopped_and_a_removed_name_passes() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\nBob\n"));
    let mut feeder = feeder(&registry, &source);
    replaced(feeder.refresh().await);
    source.publish(2, "Bob\nEve\n");
    replaced(feeder.refresh().await);
    assert!(stops(&registry, "Eve").await && stops(&registry, "Bob").await);
    assert!(!stops(&registry, "Ann").await);
}

#[tokio::test]
async fn an_unchanged_source_is_not_read_again() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\n"));
    let mut first = feeder(&registry, &source);
    replaced(first.refresh().await);
    for _ in 0..3 {
        assert_eq!(first.refresh().await.unwrap(), Refresh::Unchanged);
    }
    assert_eq!(
        feeder(&registry, &source).refresh().await.unwrap(),
        Refresh::Unchanged,
        "nor after a restart"
    );
    assert_eq!(source.opened(), 1);
}

#[tokio::test]
async fn every_refusal_leaves_the_old_list_in_force() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\nBob\nEve\n"));
    let mut feeder = feeder(&registry, &source).with_limits(ListLimits::default().with_max_bytes(1000));
    let before = replaced(feeder.refresh().await);
    for (second, (content, reason)) in (2..).zip([
        ("", "empty"),
        ("\n\n", "empty"),
        ("<html>Sign in</html>", "HTML"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("Ann\0Bob\nEve\n", "binary"),
        ("name,x\nAnn,1\nBob,2\nEve,3\n\"Zoe,4\n", "never closed"),
        ("name,x\nAnn,1\nBob,2\nEve\n", "1 of 3 lines are malformed"),
        (&"Ann\n".repeat(300), "larger than the limit"),
        ("Ann\n", "has 1 different names"),
    ]) {
        source.publish(second, content);
        let told = refusal(feeder.refresh().await);
        assert!(told.contains(reason), "{told:?} must tell of {reason:?}");
        assert_eq!(registry.in_force().await.unwrap().as_ref(), Some(&before));
    }
    source.publish_with(99, "Ann\nBob\nEve\nZoe\n", Tail::Cut);
    let told = refusal(feeder.refresh().await);
    assert!(told.contains("16 of 17 announced bytes"), "{told}");
    assert!(stops(&registry, "Ann").await && !stops(&registry, "Zoe").await);
}

#[tokio::test]
async fn a_refused_content_is_not_read_again_but_its_successor_is() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\n"));
    let mut feeder = feeder(&registry, &source);
    replaced(feeder.refresh().await);
    source.publish(2, "<html>");
    for _ in 0..3 {
        assert!(refusal(feeder.refresh().await).contains("HTML"), "it is refused every time");
    }
    assert_eq!(source.opened(), 2);
    source.publish(3, "Ann\nBob\n");
    replaced(feeder.refresh().await);
}

#[tokio::test]
async fn a_content_that_came_cut_is_read_again() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\n"));
    let mut feeder = feeder(&registry, &source);
    source.publish_with(2, "Ann\nBob\n", Tail::Cut);
    let error = feeder.refresh().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Backoff);
    source.publish(2, "Ann\nBob\n");
    assert_eq!(replaced(feeder.refresh().await).entries, 2, "the same version, whole this time");
}

#[tokio::test]
async fn a_list_that_lost_more_than_its_share_comes_in_only_when_allowed() {
    let (registry, source) = (registry(), TestSource::new("file:list", "A\nB\nC\nD\n"));
    let mut strict = feeder(&registry, &source);
    replaced(strict.refresh().await);
    source.publish(2, "A\n");
    assert!(refusal(strict.refresh().await).contains("allow the list to shrink"));
    let mut lenient = feeder(&registry, &source).with_allow_shrink();
    assert_eq!(replaced(lenient.refresh().await).entries, 1);
    source.publish(3, "\n");
    assert!(refusal(lenient.refresh().await).contains("empty"), "empty is never allowed");
}

#[tokio::test]
async fn a_refusal_is_judged_anew_when_the_list_in_force_changes() {
    let (registry, source) = (registry(), TestSource::new("file:list", "A\n"));
    let mut feeder = feeder(&registry, &source);
    let small = replaced(feeder.refresh().await);
    source.publish(2, "A\nB\nC\nD\n");
    replaced(feeder.refresh().await);
    source.publish(3, "B\n");
    assert!(refusal(feeder.refresh().await).contains("different names"));
    registry.rollback(&small.version).await.unwrap();
    assert_eq!(
        replaced(feeder.refresh().await).entries,
        1,
        "it lost nothing of the list that is in force now"
    );
}

#[tokio::test]
async fn a_rollback_is_not_undone() {
    let (registry, mut feeder, old) = rolled_back().await;
    for _ in 0..2 {
        assert_eq!(feeder.refresh().await.unwrap(), Refresh::Unchanged);
    }
    assert_eq!(registry.in_force().await.unwrap().map(|list| list.version), Some(old.version));
}

#[tokio::test]
async fn an_older_publication_is_stale_and_is_not_read_again() {
    let (registry, source) = (registry(), TestSource::new("file:list", "A\nB\n"));
    source.publish(9, "A\nB\n");
    let mut feeder = feeder(&registry, &source);
    let newest = replaced(feeder.refresh().await).version;
    source.publish(5, "A\nOld\n");
    for _ in 0..3 {
        assert_eq!(feeder.refresh().await.unwrap(), Refresh::Stale { newest: newest.clone() });
    }
    assert_eq!(source.opened(), 2);
    assert!(!stops(&registry, "Old").await);
}

#[tokio::test]
async fn a_look_that_finds_nothing_newer_confirms_the_list_in_force() {
    let clock = Arc::new(ManualClock::new(at(0)));
    let registry = Arc::new(MemoryFraudRegistry::new(MatchMode::Normalized, Arc::clone(&clock) as _));
    let source = TestSource::new("file:list", "A\n");
    let mut feeder = feeder(&registry, &source);
    let mut after = async |what: &str, second: i64| {
        clock.advance(Duration::from_secs(1));
        let _ = feeder.refresh().await;
        let list = registry.in_force().await.unwrap().unwrap();
        assert_eq!(list.confirmed_at, at(second), "{what}");
    };
    source.publish(8, "A\n");
    after("a new list", 1).await;
    after("an unchanged source", 2).await;
    source.publish(9, "A\nB\n");
    after("another list", 3).await;
    registry.rollback(&version(8, "A\n")).await.unwrap();
    after("a rollback", 4).await;
    after("an unchanged source", 5).await;
    source.publish(5, "B\n");
    after("a stale source", 5).await;
    source.publish(10, "");
    after("a refused list", 5).await;
    source.set_down(true);
    after("a source that is down", 5).await;
}

#[tokio::test]
async fn a_look_that_cannot_be_confirmed_has_failed() {
    let clock = Arc::new(ManualClock::new(at(1)));
    let registry = Arc::new(MemoryFraudRegistry::new(MatchMode::Normalized, Arc::clone(&clock) as _));
    let source = TestSource::new("file:list", "A\n");
    let loaded = replaced(feeder(&registry, &source).refresh().await);
    // in_force and history answer, confirm does not.
    let fates = [Fate::Pass, Fate::Pass, Fate::Fail(FaultKind::Unavailable)];
    let faulty = Arc::new(Faulty::new(Arc::clone(&registry), fates));
    let mut feeder = Feeder::new(faulty, list_source(&source));
    clock.set(at(2));
    assert!(matches!(feeder.refresh().await, Err(RefreshError::Registry(_))));
    assert_eq!(registry.in_force().await.unwrap(), Some(loaded.clone()));
    assert_eq!(feeder.refresh().await.unwrap(), Refresh::Unchanged, "the next look makes up for it");
    let confirmed = Some(ListInfo { confirmed_at: at(2), ..loaded });
    assert_eq!(registry.in_force().await.unwrap(), confirmed);
    assert_eq!(source.opened(), 1);
}

#[tokio::test]
async fn a_registry_that_lost_its_list_gets_it_again() {
    let (first, source) = (registry(), TestSource::new("file:list", "A\n"));
    let mut feeder = feeder(&first, &source);
    replaced(feeder.refresh().await);
    let emptied = registry();
    feeder.registry = Arc::clone(&emptied) as Arc<dyn FraudRegistry>;
    replaced(feeder.refresh().await);
    assert!(stops(&emptied, "A").await);
}

#[tokio::test]
async fn the_list_is_the_union_of_all_sources() {
    let registry = registry();
    let (own, sdn) = (TestSource::new("file:own", "Ann\n"), TestSource::new("file:sdn", "name;x\nBob;1\n"));
    own.publish(100, "Ann\n");
    let mut feeder = feeder(&registry, &own).with_source(list_source(&sdn));
    let list = replaced(feeder.refresh().await);
    assert_eq!((list.entries, list.source.as_str()), (2, "file:own + file:sdn"));
    assert!(stops(&registry, "Ann").await && stops(&registry, "Bob").await);
    assert_eq!(feeder.refresh().await.unwrap(), Refresh::Unchanged);
    assert_eq!((own.opened(), sdn.opened()), (1, 1));

    sdn.publish(50, "name;x\nEve;1\n");
    let newer = replaced(feeder.refresh().await);
    assert!(newer.version > list.version, "also when the source that changed is not the newest");
    assert!(stops(&registry, "Ann").await && stops(&registry, "Eve").await && !stops(&registry, "Bob").await);
}

#[tokio::test]
async fn a_refused_part_keeps_the_whole_union_out() {
    let registry = registry();
    let (own, sdn) = (TestSource::new("file:own", "Ann\n"), TestSource::new("file:sdn", "Bob\n"));
    let mut feeder = feeder(&registry, &own).with_source(list_source(&sdn));
    replaced(feeder.refresh().await);
    own.publish(2, "Ann\nEve\n");
    sdn.publish(2, "");
    assert!(refusal(feeder.refresh().await).contains("empty"));
    assert!(!stops(&registry, "Eve").await && stops(&registry, "Bob").await);
}

#[tokio::test]
async fn a_source_that_fails_midway_leaves_the_old_list_and_is_read_again() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\n"));
    let mut feeder = feeder(&registry, &source);
    replaced(feeder.refresh().await);
    let many: String = (0..5000).map(|n| format!("Name {n}\n")).collect();
    source.publish_with(2, &many, Tail::Fail);
    let error = feeder.refresh().await.unwrap_err();
    assert!(matches!(error, RefreshError::Source(SourceError::ChangedWhileReading { .. })), "{error:?}");
    assert_eq!(error.retry(), Retry::Backoff);
    assert!(stops(&registry, "Ann").await && !stops(&registry, "Name 0").await);
    source.publish(2, &many);
    assert_eq!(replaced(feeder.refresh().await).entries, 5000);
}

#[tokio::test]
async fn malformed_lines_that_were_skipped_are_reported() {
    let names: String = (0..200).map(|n| format!("Name {n}\n")).collect();
    let (registry, source) = (registry(), TestSource::new("file:list", &format!("{names}a\tb\n")));
    let result = feeder(&registry, &source).refresh().await.unwrap();
    assert!(matches!(result, Refresh::Replaced { malformed: 1, .. }), "{result:?}");
}

#[tokio::test]
async fn the_error_of_a_refused_list_never_shows_a_name() {
    let (registry, source) = (registry(), TestSource::new("file:list", "name,x\nSecretive Sam,1,2\n"));
    let error = feeder(&registry, &source).refresh().await.unwrap_err();
    assert!(!format!("{error:?}").contains("Secretive"), "{error:?}");
}

/// Lets other tasks and threads go on until the source is opened; a thread that decodes stops paused time.
async fn until_opened(source: &TestSource) {
    while source.opened() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_given_up_in_time() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\n"));
    source.publish_with(2, "Ann\n", Tail::Hang);
    let timeout = Duration::from_secs(5);
    let mut feeder = feeder(&registry, &source).with_timeout(timeout);
    let refresh = tokio::spawn(async move { feeder.refresh().await });
    until_opened(&source).await;
    tokio::time::advance(timeout).await;
    let error = refresh.await.unwrap().unwrap_err();
    assert!(matches!(error, RefreshError::TimedOut(after) if after == timeout), "{error:?}");
}

/// Waits in paused time until a condition holds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}");
}

#[tokio::test(start_paused = true)]
async fn a_running_feeder_takes_a_change_up_at_its_next_look() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\n"));
    let shutdown = CancellationToken::new();
    let interval = Duration::from_secs(5);
    let running = tokio::spawn(feeder(&registry, &source).with_interval(interval).run(shutdown.clone()));
    eventually("the first look is at once", async || registry.in_force().await.unwrap().is_some()).await;

    source.set_down(true);
    let looks = source.looks();
    eventually("a failure does not end it", async || source.looks() > looks + 1).await;
    assert!(stops(&registry, "Ann").await, "the list stays while the source is down");

    source.set_down(false);
    source.publish(2, "Eve\n");
    let published = Instant::now();
    eventually("the change is taken up", async || stops(&registry, "Eve").await).await;
    assert!(published.elapsed() <= interval + Duration::from_secs(1));

    shutdown.cancel();
    let cancelled = Instant::now();
    running.await.unwrap();
    assert_eq!(cancelled.elapsed(), Duration::ZERO, "it does not wait for its interval");
}

#[tokio::test(start_paused = true)]
async fn a_running_feeder_stops_in_the_middle_of_a_refresh() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\n"));
    source.publish_with(2, "Ann\n", Tail::Hang);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(feeder(&registry, &source).run(shutdown.clone()));
    until_opened(&source).await;
    shutdown.cancel();
    running.await.unwrap();
    assert!(registry.in_force().await.unwrap().is_none());
}
