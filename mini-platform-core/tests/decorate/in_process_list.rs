//! [`InProcessList`]: how old its answers may be, and which list they come from.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use mini_platform_core::decorate::InProcessList;
use mini_platform_core::domain::{ClientId, ListEntry, ListInfo, ListVersion, MatchMode, Screening, Verdict};
use mini_platform_core::error::{Fault, FaultKind, RegistryError};
use mini_platform_core::memory::MemoryFraudRegistry;
use mini_platform_core::port::{EntryStream, FraudList, FraudRegistry, ReplaceOutcome};
use mini_platform_core::testkit::{Fixture, client, fraud_list, list_version};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

const BOUND: Duration = Duration::from_secs(1);

/// A registry whose calls a test can slow down, stop, spoil and count.
struct Remote {
    list: Mutex<Arc<MemoryFraudRegistry>>,
    is_down: AtomicBool,
    latency: Duration,
    screened: AtomicU32,
    loads: AtomicU32,
    /// Permits to let a look's answer out, if looks are held.
    looks: Semaphore,
    holds_looks: AtomicBool,
    /// What to do to the next streams of entries.
    spoil: Mutex<Option<Spoil>>,
}

#[derive(Debug, Clone)]
enum Spoil {
    /// Leaves the last entry out.
    Short,
    /// Adds an entry.
    Long,
    /// Breaks off after the first chunk.
    Broken,
    /// Puts a list in force meanwhile, and breaks off.
    ChangedBy(i64, &'static str),
    /// Goes silent after the first chunk.
    Silent,
}

impl Remote {
    fn new() -> Arc<Self> {
        Self::with_latency(Duration::ZERO)
    }

    fn with_latency(latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            list: Mutex::default(),
            is_down: AtomicBool::new(false),
            latency,
            screened: AtomicU32::new(0),
            loads: AtomicU32::new(0),
            looks: Semaphore::new(0),
            holds_looks: AtomicBool::new(false),
            spoil: Mutex::default(),
        })
    }

    fn list(&self) -> Arc<MemoryFraudRegistry> {
        Arc::clone(&self.list.lock().unwrap())
    }

    /// Changes the list behind the back of the copy.
    async fn publish(&self, second: i64, names: &[&str]) {
        self.list().replace(fraud_list(second, names)).await.unwrap();
    }

    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    fn spoil(&self, spoil: impl Into<Option<Spoil>>) {
        *self.spoil.lock().unwrap() = spoil.into();
    }

    fn screened(&self) -> u32 {
        self.screened.load(Ordering::Relaxed)
    }

    fn loads(&self) -> u32 {
        self.loads.load(Ordering::Relaxed)
    }

    async fn reach(&self) -> Result<(), RegistryError> {
        sleep(self.latency).await;
        if self.is_down.load(Ordering::Relaxed) {
            return Err(Fault::new("remote", "answer", FaultKind::Unavailable).into());
        }
        Ok(())
    }
}

#[async_trait]
impl FraudRegistry for Remote {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        self.screened.fetch_add(1, Ordering::Relaxed);
        self.reach().await?;
        self.list().screen(subjects).await
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        let answer = self.list().in_force().await;
        self.reach().await?;
        if self.holds_looks.load(Ordering::Relaxed) {
            self.looks.acquire().await.unwrap().forget();
        }
        answer
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        self.list().history().await
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        self.reach().await?;
        self.list().replace(list).await
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        self.list().rollback(version).await
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        self.list().confirm(version).await
    }

    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let chunks = self.list().entries(version).await?;
        let entries = chunks.map(|chunk| chunk.unwrap()).concat().await;
        let unknown = || RegistryError::UnknownVersion(version.clone());
        let mut items: Vec<Result<Vec<ListEntry>, RegistryError>> =
            entries.chunks(1).map(|chunk| Ok(chunk.to_vec())).collect();
        let spoil = self.spoil.lock().unwrap().clone();
        match spoil {
            None => {}
            Some(Spoil::Short) => drop(items.pop()),
            Some(Spoil::Long) => items.push(Ok(vec![ListEntry::new("one too many").unwrap()])),
            Some(Spoil::Broken) => items[1] = Err(unknown()),
            Some(Spoil::ChangedBy(second, name)) => {
                self.spoil(None);
                self.publish(second, &[name]).await;
                items[0] = Err(unknown());
            }
            Some(Spoil::Silent) => {
                items.truncate(1);
                return Ok(stream::iter(items).chain(stream::pending()).boxed());
            }
        }
        Ok(stream::iter(items).boxed())
    }
}

/// A copy of a remote list that is kept as long as the guard lives.
fn kept(remote: &Arc<Remote>) -> (Arc<InProcessList>, DropGuard) {
    keep(Arc::new(InProcessList::new(Arc::clone(remote) as _, MatchMode::Normalized, BOUND)))
}

fn keep(list: Arc<InProcessList>) -> (Arc<InProcessList>, DropGuard) {
    let stop = CancellationToken::new();
    let (keeper, token) = (Arc::clone(&list), stop.clone());
    tokio::spawn(async move { keeper.run(token).await });
    (list, stop.drop_guard())
}

async fn until_fresh(list: &InProcessList) {
    while !list.is_fresh() {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn stops(list: &InProcessList, name: &str) -> bool {
    let screening = list.screen(&[client(name)]).await.unwrap();
    matches!(screening.verdicts.as_slice(), [Verdict::Hit { .. }])
}

#[tokio::test(start_paused = true)]
async fn screening_needs_no_round_trip() {
    let remote = Remote::new();
    remote.publish(1, &["Bad  One"]).await;
    let (list, _keeping) = kept(&remote);
    until_fresh(&list).await;
    let expected = Verdict::Hit { entry: ListEntry::new("Bad  One").unwrap() };
    for _ in 0..100 {
        let screening = list.screen(&[client("good"), client("bad ONE")]).await.unwrap();
        assert_eq!(screening.version, list_version(1));
        assert_eq!(screening.verdicts, [Verdict::Clear, expected.clone()]);
        sleep(BOUND / 10).await;
    }
    assert_eq!(remote.screened(), 0);
    assert_eq!(remote.loads(), 1, "an unchanged list is loaded once");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_confirmed_is_not_loaded_again_and_tells_so_at_once() {
    let remote = Remote::new();
    remote.publish(1, &["bad"]).await;
    let (list, _keeping) = kept(&remote);
    until_fresh(&list).await;
    for _ in 0..3 {
        let confirmed = list.confirm(&list_version(1)).await.unwrap();
        assert_eq!(list.in_force().await.unwrap(), confirmed, "the registry's answer, not the copy's");
        assert!(list.is_fresh(), "a confirmation changes no list");
        sleep(BOUND).await;
        assert!(list.is_fresh());
    }
    assert_eq!((remote.loads(), remote.screened()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_bound_counts_from_before_the_question_was_sent() {
    let latency = Duration::from_millis(100);
    let remote = Remote::with_latency(latency);
    remote.publish(1, &["bad"]).await;
    let (list, _keeping) = kept(&remote);
    // The first question finds a list to load; the second confirms it.
    let asked = Instant::now() + latency;
    sleep_until(asked + latency + Duration::from_millis(1)).await;
    assert!(list.is_fresh());
    remote.set_down(true);
    sleep_until(asked + BOUND - Duration::from_millis(1)).await;
    assert!(stops(&list, "bad").await, "the copy goes on without its registry");
    sleep_until(asked + BOUND).await;
    let answer = list.screen(&[client("bad")]).await;
    assert!(matches!(answer, Err(RegistryError::Fault(_))), "and fails with it at the bound: {answer:?}");
    assert_eq!(remote.screened(), 1);
    remote.set_down(false);
    sleep(BOUND).await;
    assert!(list.is_fresh(), "it recovers by itself");
    assert_eq!(remote.loads(), 1, "and need not load the same list again");
}

#[tokio::test(start_paused = true)]
async fn a_change_elsewhere_is_seen_within_the_bound() {
    let remote = Remote::new();
    remote.publish(1, &["old"]).await;
    let (list, _keeping) = kept(&remote);
    until_fresh(&list).await;
    remote.publish(2, &["new"]).await;
    let changed = Instant::now();
    while stops(&list, "old").await {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(changed.elapsed() <= BOUND, "{:?}", changed.elapsed());
    assert!(stops(&list, "new").await && list.is_fresh());
    assert_eq!(remote.screened(), 0);
}

#[tokio::test(start_paused = true)]
async fn while_a_changed_list_loads_the_old_copy_answers_only_within_its_bound() {
    let remote = Remote::new();
    remote.publish(1, &["old"]).await;
    let (list, _keeping) = kept(&remote);
    until_fresh(&list).await;
    remote.spoil(Spoil::Silent);
    remote.publish(2, &["new", "newer"]).await;
    let changed = Instant::now();
    let mut last = list_version(1);
    while changed.elapsed() < 3 * BOUND {
        let screening = list.screen(&[client("old"), client("new"), client("newer")]).await.unwrap();
        let hits: Vec<bool> = screening.verdicts.iter().map(|verdict| *verdict != Verdict::Clear).collect();
        let is_new = screening.version == list_version(2);
        assert_eq!(hits, [!is_new, is_new, is_new], "all verdicts come from the version that is named");
        assert!(is_new || changed.elapsed() < BOUND, "the old list answered after {:?}", changed.elapsed());
        assert!(screening.version >= last, "the old list does not come back");
        last = screening.version;
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(last, list_version(2));
    assert!(!list.is_fresh(), "a list that is half loaded answers nothing");
    remote.spoil(None);
    sleep(Duration::from_secs(60)).await;
    assert!(list.is_fresh(), "a load that went silent is given up and made again");
}

#[tokio::test(start_paused = true)]
async fn whoever_changes_the_list_sees_the_change_at_once() {
    let remote = Remote::new();
    remote.publish(1, &["old"]).await;
    let (list, _keeping) = kept(&remote);
    until_fresh(&list).await;
    list.replace(fraud_list(2, &["new"])).await.unwrap();
    assert!(stops(&list, "new").await && !stops(&list, "old").await, "a replacement");
    until_fresh(&list).await;
    list.rollback(&list_version(1)).await.unwrap();
    assert!(stops(&list, "old").await && !stops(&list, "new").await, "a rollback");
    until_fresh(&list).await;
    assert!(stops(&list, "old").await);
    assert_eq!(list.in_force().await.unwrap().unwrap().version, list_version(1));
    assert_eq!(list.history().await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_began_before_a_change_confirms_nothing_after_it() {
    let remote = Remote::new();
    remote.publish(1, &["old"]).await;
    let (list, _keeping) = kept(&remote);
    until_fresh(&list).await;
    remote.holds_looks.store(true, Ordering::Relaxed);
    // The look has its answer, the old version, but not given it out.
    sleep(BOUND / 2).await;
    list.replace(fraud_list(2, &["new"])).await.unwrap();
    remote.holds_looks.store(false, Ordering::Relaxed);
    remote.looks.add_permits(1);
    for _ in 0..1000 {
        assert!(stops(&list, "new").await && !stops(&list, "old").await);
        tokio::task::yield_now().await;
    }
    until_fresh(&list).await;
    assert!(stops(&list, "new").await);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_unknown_outcome_is_looked_at_too() {
    let remote = Remote::with_latency(Duration::from_millis(50));
    remote.publish(1, &["old"]).await;
    let (list, _keeping) = kept(&remote);
    until_fresh(&list).await;
    let given_up =
        tokio::time::timeout(Duration::from_millis(1), list.replace(fraud_list(2, &["new"]))).await;
    assert!(given_up.is_err());
    assert!(!list.is_fresh(), "it may still be applied");
    until_fresh(&list).await;
    remote.set_down(true);
    list.replace(fraud_list(2, &["new"])).await.unwrap_err();
    assert!(!list.is_fresh(), "a failure tells nothing of the effect");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_streamed_whole_is_never_used() {
    for spoil in [Spoil::Short, Spoil::Long, Spoil::Broken] {
        let remote = Remote::new();
        remote.publish(1, &["bad", "worse"]).await;
        remote.spoil(spoil.clone());
        let (list, _keeping) = kept(&remote);
        for _ in 0..100 {
            assert!(stops(&list, "worse").await, "{spoil:?}: the registry answers");
            sleep(BOUND / 10).await;
        }
        assert!(!list.is_fresh(), "{spoil:?}");
        assert!(remote.loads() <= 3, "{spoil:?}: loading is not made again at every look");
        remote.spoil(None);
        sleep(Duration::from_secs(10)).await;
        assert!(list.is_fresh(), "{spoil:?}: it recovers by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changes_while_it_is_loaded_is_loaded_anew_at_once() {
    let remote = Remote::new();
    remote.publish(1, &["old"]).await;
    remote.spoil(Spoil::ChangedBy(2, "new"));
    let (list, _keeping) = kept(&remote);
    sleep(Duration::from_millis(1)).await;
    assert!(list.is_fresh() && stops(&list, "new").await);
    assert_eq!((remote.loads(), remote.screened()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_list_nothing_is_clear() {
    let remote = Remote::new();
    let (list, _keeping) = kept(&remote);
    sleep(BOUND).await;
    let answer = list.screen(&[client("ann")]).await;
    assert!(matches!(answer, Err(RegistryError::NoList)), "before the first list: {answer:?}");
    remote.publish(1, &["bad"]).await;
    sleep(BOUND).await;
    assert!(list.is_fresh());
    *remote.list.lock().unwrap() = Arc::default();
    sleep(BOUND).await;
    let answer = list.screen(&[client("ann")]).await;
    assert!(matches!(answer, Err(RegistryError::NoList)), "after the list was lost: {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_is_no_reason_to_hang() {
    let remote = Remote::new();
    remote.publish(1, &["bad"]).await;
    let (list, _keeping) = kept(&remote);
    until_fresh(&list).await;
    remote.holds_looks.store(true, Ordering::Relaxed);
    sleep(3 * BOUND).await;
    assert!(!list.is_fresh());
    assert!(stops(&list, "bad").await, "the registry answers screenings");
    remote.holds_looks.store(false, Ordering::Relaxed);
    sleep(2 * BOUND).await;
    assert!(list.is_fresh(), "the look that hung was given up");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_confirmed_once_it_is_stopped() {
    let remote = Remote::new();
    remote.publish(1, &["bad"]).await;
    let (list, keeping) = kept(&remote);
    until_fresh(&list).await;
    drop(keeping);
    sleep(BOUND).await;
    assert!(!list.is_fresh() && stops(&list, "bad").await);
    assert_eq!(remote.screened(), 1);
}

/// A registry that never screens: whatever is answered over it comes from the copy.
struct CopyOnly(Arc<InProcessList>);

#[async_trait]
impl FraudRegistry for CopyOnly {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        while self.0.in_force().await?.is_some() && !self.0.is_fresh() {
            sleep(Duration::from_millis(1)).await;
        }
        self.0.screen(subjects).await
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        self.0.in_force().await
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        self.0.history().await
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        self.0.replace(list).await
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        self.0.rollback(version).await
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        self.0.confirm(version).await
    }

    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        self.0.entries(version).await
    }
}

fn over_memory() -> (Arc<InProcessList>, DropGuard) {
    let inner = Arc::new(MemoryFraudRegistry::default());
    keep(Arc::new(InProcessList::new(inner, MatchMode::default(), Duration::from_secs(5))))
}

async fn in_process() -> Fixture<dyn FraudRegistry> {
    let (list, keeping) = over_memory();
    Fixture::with_guard(list, keeping)
}

async fn copy_only() -> Fixture<dyn FraudRegistry> {
    let (list, keeping) = over_memory();
    Fixture::with_guard(Arc::new(CopyOnly(list)), keeping)
}

mini_platform_core::fraud_registry_conformance!(in_process());

mod answered_by_the_copy {
    use super::copy_only;

    mini_platform_core::fraud_registry_conformance!(copy_only());
}
