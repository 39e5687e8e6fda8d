//! `load` and its check against a real server, whose store keeps its promises or does not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use mini_platform_bins::http::{Api, HttpServer, HttpSettings};
use mini_platform_core::dispatcher::{DispatcherConfig, RoundRobin};
use mini_platform_core::domain::{
    AppendOutcome, ClientId, ClientQuery, Etag, EventBatch, EventId, EventQuery, ListEntry, ListVersion,
    Page, StoredEvent, Timestamp, WorkerId,
};
use mini_platform_core::error::StoreError;
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::{EventStore, FraudList, FraudRegistry};
use mini_platform_core::{Dispatcher, Worker};
use support::{PROGRAM, complaint, printed};
use tokio_util::sync::CancellationToken;

/// On the fraud list.
const LISTED: &str = "Mallory";

/// Answers every event as stored, and keeps all but one.
struct LosingStore {
    inner: MemoryEventStore,
    /// How the id of the lost one ends.
    loses: &'static str,
}

#[async_trait]
impl EventStore for LosingStore {
    async fn append(
        &self,
        batch: &EventBatch,
        recorded_at: Timestamp,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let lost = batch.events().iter().position(|event| event.id().as_str().ends_with(self.loses));
        let Some(lost) = lost else { return self.inner.append(batch, recorded_at).await };
        let mut kept = batch.events().to_vec();
        kept.remove(lost);
        let mut outcomes = match EventBatch::new(kept) {
            Ok(kept) => self.inner.append(&kept, recorded_at).await?,
            Err(_) => Vec::new(),
        };
        // It is answered as the store answers whatever it stores.
        let scratch = MemoryEventStore::default().append(batch, recorded_at).await?;
        outcomes.insert(lost, scratch.get(lost).cloned().unwrap());
        Ok(outcomes)
    }

    async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.inner.get(id).await
    }

    async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
        self.inner.query(query).await
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        self.inner.clients(query).await
    }
}

/// Serves the platform on a store of events.
async fn serve(store: Arc<dyn EventStore>) -> SocketAddr {
    let registry = MemoryFraudRegistry::default();
    let version = ListVersion::new(Timestamp::UNIX_EPOCH, Etag::new("v1").unwrap());
    let chunks = stream::iter([Ok(vec![ListEntry::new(LISTED).unwrap()])]).boxed();
    registry.replace(FraudList { version, source: "file:test.txt".to_owned(), chunks }).await.unwrap();
    let worker = Worker::new(store, Arc::new(MemoryAdjacencyStore::default()), Arc::new(registry));
    // No test here is about the time limit, and a busy machine is no reason to fail.
    let config = DispatcherConfig::default().with_timeout(Duration::from_secs(60));
    let dispatcher = Dispatcher::new(config, Arc::new(RoundRobin::default()));
    dispatcher.add_member(WorkerId::LOCAL, Arc::new(worker));
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = HttpSettings { listen, ..HttpSettings::new("EUR".parse().unwrap()) };
    let server = HttpServer::bind(settings, Api::new(dispatcher)).await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.run(CancellationToken::new()));
    addr
}

/// Runs the program beside the server.
async fn run(arguments: Vec<String>) -> Output {
    tokio::task::spawn_blocking(move || Command::new(PROGRAM).args(arguments).output().unwrap())
        .await
        .unwrap()
}

fn words(text: &str, ledger: &Path) -> Vec<String> {
    let words = text.split(' ').map(str::to_owned);
    words.chain([ledger.display().to_string()]).collect()
}

/// Sends a second's load, and returns what the check of its ledger says.
async fn loaded_and_checked(store: Arc<dyn EventStore>, ledger: &Path) -> Output {
    let url = format!("http://{}", serve(store).await);
    let load = format!(
        "load --url {url} --rate 400 --duration 1s --clients 20 --fraudulent 0.1 --fraud-name {LISTED} --timeout 60s \
         --ledger"
    );
    let loaded = run(words(&load, ledger)).await;
    assert!(loaded.status.success(), "{}{}", printed(&loaded), complaint(&loaded));
    let summary = printed(&loaded);
    let acknowledged = summary.lines().find_map(|line| line.trim().strip_prefix("acknowledged ")).unwrap();
    assert_eq!(acknowledged.trim(), "400", "{summary}");
    run(words(&format!("load check --url {url}"), ledger)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_keeps_everything_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryEventStore::default());
    let checked = loaded_and_checked(store, &folder.path().join("ledger")).await;
    assert_eq!(checked.status.code(), Some(0), "{}{}", printed(&checked), complaint(&checked));
    let report = printed(&checked);
    assert!(report.ends_with("every law holds\n"), "{report}");
    let row = |label: &str| -> Vec<u64> {
        let row = report.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap();
        row.split_whitespace().filter_map(|count| count.parse().ok()).collect()
    };
    let (stored, fraudulent) = (row("stored "), row("fraudulent "));
    assert_eq!(stored.first().unwrap() + fraudulent.first().unwrap(), 400, "{report}");
    assert_eq!(stored.first(), stored.get(1), "all that was answered as stored is: {report}");
    assert!(fraudulent.first() > Some(&0) && fraudulent.get(1) == Some(&0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_loses_one_event_fails_the_check_which_names_it() {
    let folder = tempfile::tempdir().unwrap();
    // The only number below 400 that ends so, and not one that is listed with this seed.
    let store = Arc::new(LosingStore { inner: MemoryEventStore::default(), loses: "-217" });
    let checked = loaded_and_checked(store, &folder.path().join("ledger")).await;
    assert_eq!(checked.status.code(), Some(1), "{}{}", printed(&checked), complaint(&checked));
    let report = printed(&checked);
    let lost = "BROKEN (1): what is acknowledged as stored is stored\n";
    let (_, broken) = report.split_once(lost).unwrap_or_else(|| panic!("{report}"));
    assert!(broken.lines().next().unwrap().ends_with("-217 was answered as stored"), "{report}");
    assert!(!report.contains("Zoë"), "no client is named: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_not_there_is_tried_again_and_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let load = "load --url http://127.0.0.1:1 --rate 20 --duration 200ms --give-up-after 1s --ledger";
    let loaded = run(words(load, &ledger)).await;
    let summary = printed(&loaded);
    assert_eq!(loaded.status.code(), Some(1), "{summary}{}", complaint(&loaded));
    assert!(summary.contains("  given up                   4\n"), "{summary}");
    let ledger = std::fs::read_to_string(ledger).unwrap();
    let tried = |attempt: u32| {
        ledger.lines().filter(|line| line.contains(&format!("\"attempt\":{attempt},\"to\""))).count()
    };
    assert_eq!((tried(1), tried(2)), (4, 4), "each is sent again under its id:\n{ledger}");
}
