//! Processes that are killed, and processes that meet in one folder.
//!
//! The tests start this test binary again as a child, with one ignored test to run, and talk to it over its
//! standard input and output.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking; the child reports by printing"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mini_platform_core::domain::{
    ClientId, ClientQuery, DeathCause, Edge, Event, EventFilter, EventQuery, LeaseRequest, ListEntry,
    LotLimits, MAX_PARCELS, MatchMode, NeighbourQuery, PageSize, Parcel, ParcelContent, ParcelId,
    ParcelQuery, ParkReason, ParkedParcel, Settled, Timestamp, Verdict,
};
use mini_platform_core::port::{AdjacencyStore, EventStore, FraudList, FraudRegistry, ParkingLot};
use mini_platform_core::testkit::{at, batch, client, deposit, fraud_list, list_version, transfer};
use mini_platform_embedded::{Embedded, EmbeddedConfig, EmbeddedEventStore, EmbeddedParkingLot, OpenError};

/// Tells a child its folder.
const FOLDER: &str = "MP_TEST_CHILD_FOLDER";
/// Tells a child with which batch to start.
const START: &str = "MP_TEST_CHILD_START";
/// Marks what a child says to its parent, among what the test harness prints.
const MARK: &str = "child says ";

const BATCH: u64 = 50;
const TASKS: u64 = 4;

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(test: &str, dir: &Path, start: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", test])
            .env(FOLDER, dir)
            .env(START, start.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Returns what the child says next, or `None` when it has ended.
    fn hear(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| Some(line.split_once(MARK)?.1.to_owned()))
    }

    /// Kills the child at once and returns what it had said before.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.hear()).collect()
    }
}

fn say(what: &str) {
    // One write, so that a kill leaves a whole line or none.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{MARK}{what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).unwrap().into()
}

fn open(dir: &Path) -> Embedded {
    Embedded::open(&EmbeddedConfig::new(dir)).unwrap()
}

/// The events of a batch; its clients are its own.
fn events_of(number: u64) -> Vec<Event> {
    let event = |n: u64| {
        let (event_id, seconds) = (format!("b{number}-{n}"), i64::try_from(n).unwrap());
        let (ann, bob) = (format!("ann {number}"), format!("bob {number} {}", n % 7));
        match n % 3 {
            0 => transfer(&event_id, &ann, &bob, seconds),
            1 => transfer(&event_id, &bob, &ann, seconds),
            _ => deposit(&event_id, &ann, &format!("branch {}", n % 5), seconds),
        }
    };
    (0..BATCH).map(event).collect()
}

fn edges_of(number: u64) -> Vec<Edge> {
    events_of(number)
        .iter()
        .flat_map(|event| Edge::implied_by(event, event.occurred_at().timestamp()))
        .collect()
}

/// The edges of a batch that are removed again: those of its last event.
fn removed_of(number: u64) -> Vec<Edge> {
    let last = events_of(number).pop().unwrap();
    Edge::implied_by(&last, last.occurred_at().timestamp()).collect()
}

async fn append_and_link(embedded: &Embedded, task: u64, start: u64) {
    let (events, links) = (embedded.event_store(), embedded.adjacency());
    for number in (start + task..).step_by(usize::try_from(TASKS).unwrap()) {
        events.append(&batch(events_of(number)), at(0)).await.unwrap();
        links.link(&edges_of(number)).await.unwrap();
        links.unlink(&removed_of(number)).await.unwrap();
        say(&number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the tests below"]
async fn child_that_appends() {
    let start = std::env::var_os(START).unwrap().into_string().unwrap().parse().unwrap();
    let embedded = open(&folder());
    stream::iter(0..TASKS).for_each_concurrent(None, |task| append_and_link(&embedded, task, start)).await;
}

#[test]
#[ignore = "a child of the tests below"]
fn child_that_holds_the_folder() {
    let embedded = open(&folder());
    say("open");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(embedded);
}

#[tokio::test]
#[ignore = "a child of the tests below"]
async fn child_that_replaces_the_list() {
    let embedded = open(&folder());
    let registry = embedded.registry(MatchMode::default()).unwrap();
    registry.replace(fraud_list(1, &["old"])).await.unwrap();
    let chunk =
        |n: u32| (0..2_000).map(|m| ListEntry::new(format!("new {:0>64} {n} {m}", "")).unwrap()).collect();
    let staged = stream::iter((0..3).map(move |n| Ok(chunk(n))));
    let pending = stream::once(async {
        say("half of the list is staged");
        std::future::pending().await
    });
    let list = FraudList {
        version: list_version(2),
        source: "test".to_owned(),
        chunks: staged.chain(pending).boxed(),
    };
    registry.replace(list).await.unwrap();
}

/// Checks that the events and links of a batch are there, and nothing beside them.
async fn check(embedded: &Embedded, number: u64) {
    let (store, links) = (embedded.event_store(), embedded.adjacency());
    let events = events_of(number);
    for event in &events {
        let stored = store.get(event.id()).await.unwrap();
        assert_eq!(stored.map(|stored| stored.event).as_ref(), Some(event), "an acknowledged event is there");
    }
    let ann = client(&format!("ann {number}"));
    let size = PageSize::new(1000).unwrap();
    for (filter, expected) in [(EventFilter::Transactions, 34), (EventFilter::Operations, 16)] {
        let page = store.query(&EventQuery::new(ann.clone(), filter).with_size(size)).await.unwrap();
        assert_eq!(page.items.len(), expected, "the timeline has every event once");
    }
    let clients: BTreeSet<_> = events.iter().flat_map(Event::parties).map(|(_, client)| client).collect();
    for client in clients {
        assert!(is_listed(&store, client).await, "every client of an acknowledged event is listed");
    }
    let fresh = memory_links(number).await;
    let query = NeighbourQuery::new(ann).with_size(size);
    assert_eq!(links.interactions(&query).await.unwrap(), fresh.interactions(&query).await.unwrap());
    assert_eq!(links.branches(&query).await.unwrap(), fresh.branches(&query).await.unwrap());
}

/// Whether a client is the one that follows what is just below its id.
async fn is_listed(store: &EmbeddedEventStore, client: &ClientId) -> bool {
    let (start, last) = client.as_str().split_at(client.as_str().len() - 1);
    let below = format!("{start}{}~", char::from(last.bytes().next().unwrap() - 1));
    let query = ClientQuery::default().with_size(PageSize::new(1).unwrap());
    let query = query.with_token(&ClientQuery::default().token_after(&below)).unwrap();
    store.clients(&query).await.unwrap().items == [client.clone()]
}

/// What the links of a batch ought to be.
async fn memory_links(number: u64) -> impl AdjacencyStore {
    let memory = mini_platform_core::memory::MemoryAdjacencyStore::default();
    memory.link(&edges_of(number)).await.unwrap();
    memory.unlink(&removed_of(number)).await.unwrap();
    memory
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<u64> = Vec::new();
    // How long each life lasts, in acknowledged batches.
    for (life, batches) in (0_u64..).zip([1, 37, 5, 90, 11]) {
        let mut running = Running::start("child_that_appends", dir.path(), life * 1_000_000);
        let mut said: Vec<String> = (0..batches).map(|_| running.hear().unwrap()).collect();
        said.extend(running.kill());
        let said: Vec<u64> = said.iter().map(|number| number.parse().unwrap()).collect();
        let embedded = open(dir.path());
        for number in &said {
            check(&embedded, *number).await;
        }
        acknowledged.extend(said);
    }
    let embedded = open(dir.path());
    for number in acknowledged {
        check(&embedded, number).await;
    }
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_replacement_leaves_the_old_list() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start("child_that_replaces_the_list", dir.path(), 0);
    assert_eq!(running.hear().as_deref(), Some("half of the list is staged"));
    running.kill();
    let embedded = open(dir.path());
    let registry = embedded.registry(MatchMode::default()).unwrap();
    assert_eq!(registry.in_force().await.unwrap().unwrap().version, list_version(1));
    let screening = registry.screen(&[client("old")]).await.unwrap();
    assert_ne!(screening.verdicts, [Verdict::Clear]);
    registry.replace(fraud_list(2, &["new"])).await.unwrap();
    assert_eq!(registry.history().await.unwrap().len(), 2, "the version can be tried again");
}

#[test]
fn a_second_process_is_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Running::start("child_that_holds_the_folder", dir.path(), 0);
    assert_eq!(holder.hear().as_deref(), Some("open"));
    let refused = Embedded::open(&EmbeddedConfig::new(dir.path())).unwrap_err();
    assert!(
        matches!(refused, OpenError::Locked { holder: Some(pid), .. } if pid == holder.child.id()),
        "{refused:?}"
    );
    drop(holder.child.stdin.take());
    holder.child.wait().unwrap();
    open(dir.path());
}

#[test]
fn a_killed_process_gives_the_folder_free() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Running::start("child_that_holds_the_folder", dir.path(), 0);
    assert_eq!(holder.hear().as_deref(), Some("open"));
    holder.kill();
    open(dir.path());
}

/// How many parcels are parked at once, and how many of them are settled at once.
const PARCELS: u64 = 20;
const SETTLED: usize = 7;

/// The parcel of a number, which its id tells.
fn parcel_of(number: u64) -> Parcel {
    let made_at = Timestamp::from_micros(i64::try_from(number * 1_000).unwrap()).unwrap();
    Parcel {
        id: ParcelId::new(made_at, [7; 10]),
        client: client(&format!("client {} of life {}", number % 3, number / 1_000_000)),
        content: ParcelContent::new(number.to_be_bytes().repeat(30)).unwrap(),
        reason: ParkReason::Timeout,
    }
}

fn number_of(id: ParcelId) -> u64 {
    id.to_bytes().iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

async fn park(lot: &EmbeddedParkingLot, start: u64) {
    for first in (start..).step_by(usize::try_from(PARCELS).unwrap()) {
        let parcels: Vec<Parcel> = (first..first + PARCELS).map(parcel_of).collect();
        lot.park(&parcels).await.unwrap();
        (first..first + PARCELS).for_each(|number| say(&format!("parked {number}")));
    }
}

/// Says what it is about to settle, settles it, and says what became of it.
async fn settle(lot: &EmbeddedParkingLot) {
    loop {
        let request = LeaseRequest::new(SETTLED, Duration::from_secs(3_600));
        let (mut settlements, mut outcomes) = (Vec::new(), Vec::new());
        for leased in lot.lease(request).await.unwrap() {
            let number = number_of(leased.parked().parcel.id);
            say(&format!("settling {number}"));
            let (outcome, settlement) = match (number % 5, leased.parked().attempts) {
                (0, _) => ("dead", leased.bury(DeathCause::Undecodable, None)),
                (1, 0) => ("tried", leased.retry(ParkReason::Storing, Duration::ZERO)),
                _ => ("done", leased.done()),
            };
            settlements.push(settlement);
            outcomes.push(format!("{outcome} {number}"));
        }
        let settled = lot.settle(&settlements).await.unwrap();
        assert!(settled.iter().all(|settled| *settled == Settled::Yes));
        outcomes.iter().for_each(|outcome| say(outcome));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of the tests below"]
async fn child_that_parks() {
    let start = std::env::var_os(START).unwrap().into_string().unwrap().parse().unwrap();
    let embedded = open(&folder());
    let lot = embedded.parking_lot(LotLimits::default()).unwrap();
    tokio::join!(park(&lot, start), settle(&lot));
}

/// Everything that a parking lot holds, by number.
#[derive(Default)]
struct Held {
    parked: BTreeMap<u64, ParkedParcel>,
    dead: BTreeMap<u64, ParkedParcel>,
}

impl Held {
    async fn of(lot: &EmbeddedParkingLot) -> Self {
        let mut held = Self::default();
        let (mut query, all) = (ParcelQuery::default(), ParcelQuery::default());
        loop {
            let page = lot.parked(&query).await.unwrap();
            held.parked.extend(page.items.into_iter().map(|parked| (number_of(parked.parcel.id), parked)));
            let Some(next) = page.next else { break };
            query = all.clone().with_token(&next).unwrap();
        }
        query = all.clone();
        loop {
            let page = lot.dead_letters(&query).await.unwrap();
            let letters = page.items.into_iter().map(|dead| dead.parked);
            held.dead.extend(letters.map(|parked| (number_of(parked.parcel.id), parked)));
            let Some(next) = page.next else { break };
            query = all.clone().with_token(&next).unwrap();
        }
        held
    }

    /// Checks the last that was said of a parcel.
    fn check(&self, number: u64, said: &str) {
        let (parked, dead) = (self.parked.get(&number), self.dead.get(&number));
        let as_it_was = |found: Option<&ParkedParcel>, attempts, reason| {
            let found = found.unwrap_or_else(|| panic!("{number} was {said}, and is not there"));
            assert_eq!((found.attempts, found.parcel.reason), (attempts, reason), "{number} was {said}");
            assert_eq!(found.parcel.content, parcel_of(number).content);
        };
        match said {
            "parked" => as_it_was(parked, 0, ParkReason::Timeout),
            "tried" => as_it_was(parked, 1, ParkReason::Storing),
            "dead" => as_it_was(dead, 0, ParkReason::Timeout),
            "done" => assert!(parked.is_none() && dead.is_none(), "{number} was done, and is back"),
            // It was under way: both are right, and nothing else.
            _ => assert!(parked.is_none() || dead.is_none(), "{number} is in one place"),
        }
    }
}

#[tokio::test]
async fn parcels_survive_a_kill_and_settled_ones_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut last_said: BTreeMap<u64, String> = BTreeMap::new();
    // How long each life lasts, in things said.
    for (life, said) in (0_u64..).zip([30, 700, 100, 1_500, 300]) {
        let mut running = Running::start("child_that_parks", dir.path(), life * 1_000_000);
        let mut heard: Vec<String> = (0..said).map(|_| running.hear().unwrap()).collect();
        heard.extend(running.kill());
        for said in heard {
            let (what, number) = said.split_once(' ').unwrap();
            let last = last_said.entry(number.parse().unwrap()).or_default();
            // A parcel may be settled before its parking is answered.
            if what != "parked" || last.is_empty() {
                what.clone_into(last);
            }
        }
        let embedded = open(dir.path());
        let held = Held::of(&embedded.parking_lot(LotLimits::default()).unwrap()).await;
        last_said.iter().for_each(|(number, said)| held.check(*number, said));
    }
    for state in ["parked", "tried", "dead", "done"] {
        assert!(last_said.values().any(|said| said == state), "there are parcels that were {state}");
    }
    let embedded = open(dir.path());
    check_order(&embedded.parking_lot(LotLimits::default()).unwrap()).await;
}

/// Leases what there is, lane by lane.
async fn check_order(lot: &EmbeddedParkingLot) {
    let waiting = lot.status().await.unwrap().parked;
    let mut lanes: BTreeMap<ClientId, Vec<u64>> = BTreeMap::new();
    let mut leased = 0;
    while leased < waiting {
        let request = LeaseRequest::new(MAX_PARCELS, Duration::from_secs(3_600));
        let mut done = Vec::new();
        for parcel in lot.lease(request).await.unwrap() {
            let Parcel { id, client, .. } = parcel.parked().parcel.clone();
            lanes.entry(client).or_default().push(number_of(id));
            done.push(parcel.done());
        }
        assert!(!done.is_empty(), "nothing waits for a lease of the dead process");
        leased += u64::try_from(done.len()).unwrap();
        lot.settle(&done).await.unwrap();
    }
    assert!(lanes.values().all(|lane| lane.is_sorted()), "every lane is in the order of parking");
}
