//! What is particular to a store in a folder: reopening, locking, damage, leftovers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use futures_util::{StreamExt, stream};
use mini_platform_core::domain::{
    AppendOutcome, ClientQuery, Edge, EventFilter, EventQuery, Interaction, ListEntry, MatchMode,
    NeighbourQuery, PageSize, Recording, Side, Verdict,
};
use mini_platform_core::error::{FaultKind, RegistryError, SourceError, StoreError};
use mini_platform_core::port::{AdjacencyStore, EventStore, FraudList, FraudRegistry, ReplaceOutcome};
use mini_platform_core::testkit::{
    ManualClock, at, batch, branch, client, deposit, fraud_list, id, list_version, transfer, withdrawal,
};
use mini_platform_embedded::{Embedded, EmbeddedConfig, EmbeddedFraudRegistry, OpenError};

fn open(dir: &Path) -> Embedded {
    Embedded::open(&EmbeddedConfig::new(dir)).unwrap()
}

fn registry(embedded: &Embedded) -> EmbeddedFraudRegistry {
    embedded.registry(MatchMode::default()).unwrap()
}

/// Changes what lies on the disk, behind the back of a closed store.
fn tamper(dir: &Path, keyspace: &str, change: impl FnOnce(&Keyspace, &mut OwnedWriteBatch)) {
    let db = Database::builder(dir.join("store")).open().unwrap();
    let keyspace = db.keyspace(keyspace, KeyspaceCreateOptions::default).unwrap();
    let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
    change(&keyspace, &mut batch);
    batch.commit().unwrap();
}

/// Returns the numbers of the fraud lists of which there are chunks.
fn lists_on_disk(dir: &Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    tamper(dir, "lists", |lists, _| {
        for chunk in lists.iter() {
            numbers.push(u64::from_be_bytes(*chunk.key().unwrap().first_chunk().unwrap()));
        }
    });
    numbers.dedup();
    numbers
}

fn fault_kind(error: &StoreError) -> FaultKind {
    match error {
        StoreError::Fault(fault) => fault.kind(),
        other => panic!("a fault: {other:?}"),
    }
}

async fn verdict(registry: &EmbeddedFraudRegistry, name: &str) -> Verdict {
    registry.screen(&[client(name)]).await.unwrap().verdicts.remove(0)
}

/// A list that is large enough to be written before its stream ends, which then breaks off.
fn breaking_list(published_at: i64) -> FraudList {
    let chunk =
        |n: u32| (0..1_000).map(|m| ListEntry::new(format!("{:0>100}-{n}-{m}", "x")).unwrap()).collect();
    let chunks: Vec<Result<Vec<_>, _>> =
        vec![Ok(chunk(1)), Ok(chunk(2)), Err(SourceError::NotFound { place: "test".to_owned() })];
    FraudList {
        version: list_version(published_at),
        source: "test".to_owned(),
        chunks: stream::iter(chunks).boxed(),
    }
}

#[tokio::test]
async fn events_and_links_outlive_a_close_and_a_drop() {
    let dir = tempfile::tempdir().unwrap();
    let events = [transfer("t", "ann", "bob", 1), deposit("o", "ann", "north", 2)];
    let embedded = open(dir.path());
    embedded.event_store().append(&batch(events.clone()), at(9)).await.unwrap();
    let edges: Vec<Edge> = events.iter().flat_map(|event| Edge::implied_by(event, at(1))).collect();
    embedded.adjacency().link(&edges).await.unwrap();
    embedded.close().await;
    for _ in 0..2 {
        let embedded = open(dir.path());
        for event in &events {
            assert_eq!(embedded.event_store().get(event.id()).await.unwrap().unwrap().event, *event);
        }
        let query = EventQuery::new(client("ann"), EventFilter::Transactions);
        assert_eq!(embedded.event_store().query(&query).await.unwrap().items.len(), 1);
        let query = NeighbourQuery::new(client("ann"));
        let found = embedded.adjacency().interactions(&query).await.unwrap().items;
        assert_eq!(found.first().unwrap().last_at_on(Side::Sent), Some(at(1)));
        assert_eq!(embedded.adjacency().branches(&query).await.unwrap().items.len(), 1);
        drop(embedded);
    }
}

#[tokio::test]
async fn a_clean_close_leaves_nothing_to_replay() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let store = embedded.event_store();
    store.append(&batch([transfer("a", "ann", "bob", 1)]), at(9)).await.unwrap();
    embedded.close().await;
    let files = fs::read_dir(dir.path().join("store")).unwrap().map(Result::unwrap);
    let journals: Vec<_> =
        files.filter(|file| file.path().extension().is_some_and(|end| end == "jnl")).collect();
    assert!(!journals.is_empty());
    assert!(journals.iter().all(|journal| journal.metadata().unwrap().len() == 0));
    let store = open(dir.path()).event_store();
    let refused = store.get(&id("a")).await.unwrap_err();
    assert_eq!(fault_kind(&refused), FaultKind::Unavailable, "a handle does not keep the store open");
}

#[tokio::test]
async fn a_link_only_moves_forward_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for (linked, expected) in [(5, 5), (3, 5), (6, 6), (6, 6), (5, 6)] {
        let embedded = open(dir.path());
        let (client, counterparty) = (client("ann"), client("bob"));
        let edge = Edge::Interaction { client, counterparty, side: Side::Sent, at: at(linked) };
        embedded.adjacency().link(&[edge]).await.unwrap();
        let query = NeighbourQuery::new(mini_platform_core::testkit::client("ann"));
        let found = embedded.adjacency().interactions(&query).await.unwrap();
        assert_eq!(found.items.first().unwrap().last_at(), at(expected), "linked at {linked}");
        embedded.close().await;
    }
}

#[tokio::test]
async fn fraud_lists_and_a_rollback_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let lists = registry(&embedded);
    for published_at in 1..=7 {
        lists.replace(fraud_list(published_at, &["both", &format!("bad {published_at}")])).await.unwrap();
    }
    lists.rollback(&list_version(4)).await.unwrap();
    let (in_force, history) = (lists.in_force().await.unwrap(), lists.history().await.unwrap());
    drop((lists, embedded));
    assert_eq!(lists_on_disk(dir.path()).len(), 5, "what is no longer kept is removed");
    let embedded = open(dir.path());
    let lists = registry(&embedded);
    assert_eq!(lists.in_force().await.unwrap(), in_force);
    assert_eq!(lists.history().await.unwrap(), history);
    assert_eq!(verdict(&lists, "bad 7").await, Verdict::Clear);
    assert_ne!(verdict(&lists, "BAD 4").await, Verdict::Clear);
    let stale = lists.replace(fraud_list(7, &["bad 7"])).await.unwrap();
    assert_eq!(stale, ReplaceOutcome::Stale { newest: list_version(7) });
    lists.rollback(&list_version(7)).await.unwrap();
    assert_ne!(verdict(&lists, "bad 7").await, Verdict::Clear);
}

/// Opens a folder whose clock stands still.
fn open_at(dir: &Path, second: i64) -> Embedded {
    Embedded::open(&EmbeddedConfig::new(dir).with_clock(Arc::new(ManualClock::new(at(second))))).unwrap()
}

#[tokio::test]
async fn a_confirmation_outlives_a_restart_and_a_clock_that_went_back() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = open_at(dir.path(), 100);
    registry(&loaded).replace(fraud_list(1, &["bad"])).await.unwrap();
    loaded.close().await;
    for (now, expected) in [(200, 200), (50, 200), (300, 300)] {
        let embedded = open_at(dir.path(), now);
        let lists = registry(&embedded);
        let confirmed = lists.confirm(&list_version(1)).await.unwrap().unwrap();
        assert_eq!((confirmed.loaded_at, confirmed.confirmed_at), (at(100), at(expected)));
        drop((lists, embedded));
        let embedded = open(dir.path());
        assert_eq!(registry(&embedded).in_force().await.unwrap(), Some(confirmed));
    }
    let embedded = open_at(dir.path(), 10);
    let lists = registry(&embedded);
    for published_at in 2..=6 {
        lists.replace(fraud_list(published_at, &["bad"])).await.unwrap();
        assert_eq!(lists.in_force().await.unwrap().unwrap().confirmed_at, at(300));
    }
}

#[tokio::test]
async fn in_a_folder_from_before_confirmations_a_list_is_as_old_as_its_loading() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open_at(dir.path(), 100);
    registry(&embedded).replace(fraud_list(1, &["bad"])).await.unwrap();
    registry(&embedded).confirm(&list_version(1)).await.unwrap();
    embedded.close().await;
    tamper(dir.path(), "meta", |meta, batch| batch.remove(meta, "list confirmed"));
    let embedded = open_at(dir.path(), 500);
    let lists = registry(&embedded);
    let list = lists.in_force().await.unwrap().unwrap();
    assert_eq!((list.loaded_at, list.confirmed_at), (at(100), at(100)));
    assert_eq!(lists.confirm(&list_version(1)).await.unwrap().unwrap().confirmed_at, at(500));
}

#[tokio::test]
async fn a_list_of_many_chunks_is_whole_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..5_000).map(|n| format!("Name of some length, number {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let embedded = open(dir.path());
    registry(&embedded).replace(fraud_list(1, &names)).await.unwrap();
    embedded.close().await;
    let embedded = open(dir.path());
    let lists = registry(&embedded);
    assert_eq!(lists.in_force().await.unwrap().unwrap().entries, 5_000);
    let subjects: Vec<_> = names.iter().map(|name| client(name)).collect();
    let verdicts = lists.screen(&subjects).await.unwrap().verdicts;
    assert!(verdicts.iter().all(|verdict| *verdict != Verdict::Clear), "every name is found");
}

#[tokio::test]
async fn a_list_that_broke_off_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let lists = registry(&embedded);
    lists.replace(fraud_list(1, &["old"])).await.unwrap();
    let refused = lists.replace(breaking_list(2)).await;
    assert!(matches!(refused, Err(RegistryError::Refused(_))), "{refused:?}");
    assert_ne!(verdict(&lists, "old").await, Verdict::Clear);
    embedded.close().await;
    assert_eq!(lists_on_disk(dir.path()).len(), 1);
}

#[tokio::test]
async fn a_list_that_a_crash_left_half_written_is_removed_at_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    registry(&embedded).replace(fraud_list(1, &["old"])).await.unwrap();
    embedded.close().await;
    tamper(dir.path(), "lists", |lists, batch| {
        for chunk in 0..3_u32 {
            let key = [7_u64.to_be_bytes().as_slice(), &chunk.to_be_bytes()].concat();
            batch.insert(lists, key, "half");
        }
    });
    let embedded = open(dir.path());
    assert_ne!(verdict(&registry(&embedded), "old").await, Verdict::Clear);
    embedded.close().await;
    assert_eq!(lists_on_disk(dir.path()), [0]);
}

#[tokio::test]
async fn a_slow_replacement_that_was_overtaken_is_stale_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let lists = registry(&embedded);
    let (send, receive) = tokio::sync::oneshot::channel();
    let slow = FraudList {
        version: list_version(1),
        source: "slow".to_owned(),
        chunks: stream::once(async { Ok(receive.await.unwrap()) }).boxed(),
    };
    let overtaking = async {
        lists.replace(fraud_list(2, &["fast"])).await.unwrap();
        send.send(vec![ListEntry::new("slow").unwrap()]).unwrap();
    };
    let (slow, ()) = tokio::join!(lists.replace(slow), overtaking);
    assert_eq!(slow.unwrap(), ReplaceOutcome::Stale { newest: list_version(2) });
    assert_ne!(verdict(&lists, "fast").await, Verdict::Clear);
    embedded.close().await;
    assert_eq!(lists_on_disk(dir.path()).len(), 1);
}

#[tokio::test]
async fn the_same_folder_opens_once_and_says_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let second = Embedded::open(&EmbeddedConfig::new(dir.path())).unwrap_err();
    let OpenError::Locked { holder, .. } = &second else { panic!("{second:?}") };
    assert_eq!(*holder, Some(std::process::id()));
    drop(embedded);
    open(dir.path());
}

#[tokio::test]
async fn a_registry_has_one_match_mode() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let (one, other) = (registry(&embedded), registry(&embedded));
    one.replace(fraud_list(1, &["Ann"])).await.unwrap();
    assert_ne!(verdict(&other, "ann").await, Verdict::Clear, "handles share the list");
    let refused = embedded.registry(MatchMode::Exact);
    assert!(matches!(refused, Err(OpenError::MatchModeInUse(MatchMode::Normalized))));
    drop(embedded);
    let exact = open(dir.path());
    let exact = exact.registry(MatchMode::Exact).unwrap();
    assert_eq!(verdict(&exact, "ann").await, Verdict::Clear);
    assert_ne!(verdict(&exact, "Ann").await, Verdict::Clear);
}

#[tokio::test]
async fn a_damaged_event_is_a_corrupt_fault_for_whoever_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let events = [transfer("a", "ann", "bob", 1), transfer("b", "eve", "bob", 1)];
    embedded.event_store().append(&batch(events.clone()), at(9)).await.unwrap();
    embedded.close().await;
    tamper(dir.path(), "events", |keyspace, batch| batch.insert(keyspace, "a", [1, 2, 3]));
    let embedded = open(dir.path());
    let store = embedded.event_store();
    assert_eq!(fault_kind(&store.get(&id("a")).await.unwrap_err()), FaultKind::Corrupt);
    let query = EventQuery::new(client("ann"), EventFilter::Sent);
    assert_eq!(fault_kind(&store.query(&query).await.unwrap_err()), FaultKind::Corrupt);
    let resent = store.append(&batch([events[0].clone()]), at(9)).await.unwrap_err();
    assert_eq!(fault_kind(&resent), FaultKind::Corrupt);
    let outcome =
        store.append(&batch([events[1].clone(), transfer("c", "ann", "bob", 2)]), at(9)).await.unwrap();
    let first = Recording { occurred_at: at(1), recorded_at: at(9) };
    assert_eq!(outcome, [AppendOutcome::Duplicate(first), AppendOutcome::Stored]);
}

#[tokio::test]
async fn a_damaged_or_missing_record_of_any_sort_is_a_corrupt_fault() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let event = withdrawal("a", "ann", "north", 1);
    embedded.event_store().append(&batch([event.clone()]), at(9)).await.unwrap();
    let edges: Vec<Edge> = Edge::implied_by(&event, at(1)).collect();
    embedded.adjacency().link(&edges).await.unwrap();
    embedded.close().await;
    tamper(dir.path(), "events", |events, batch| batch.remove(events, "a"));
    tamper(dir.path(), "links", |links, batch| {
        let key = links.iter().next().unwrap().key().unwrap();
        batch.insert(links, key, [9]);
    });
    let embedded = open(dir.path());
    let query = EventQuery::new(client("ann"), EventFilter::Operations);
    let missing = embedded.event_store().query(&query).await.unwrap_err();
    assert_eq!(fault_kind(&missing), FaultKind::Corrupt);
    let StoreError::Fault(fault) = &missing else { panic!("{missing:?}") };
    let cause = fault.source().unwrap().to_string();
    assert_eq!(cause, "a record of the events keyspace is damaged: an event of a timeline is missing");
    let links = embedded.adjacency();
    let query = NeighbourQuery::new(client("ann"));
    assert_eq!(fault_kind(&links.branches(&query).await.unwrap_err()), FaultKind::Corrupt);
    assert_eq!(fault_kind(&links.link(&edges).await.unwrap_err()), FaultKind::Corrupt);
}

#[tokio::test]
async fn a_damaged_fraud_list_is_reported_when_it_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    registry(&embedded).replace(fraud_list(1, &["bad"])).await.unwrap();
    embedded.close().await;
    tamper(dir.path(), "lists", |lists, batch| {
        let key = lists.iter().next().unwrap().key().unwrap();
        batch.remove(lists, key);
    });
    let refused = open(dir.path()).registry(MatchMode::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
}

#[tokio::test]
async fn data_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    tamper(dir.path(), "meta", |meta, batch| batch.insert(meta, "format", [4]));
    let refused = Embedded::open(&EmbeddedConfig::new(dir.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Format { found: 4, expected: 3, .. }), "{refused:?}");
}

async fn clients_with_events(embedded: &Embedded) -> Vec<String> {
    let query = ClientQuery::default().with_size(PageSize::new(1000).unwrap());
    let page = embedded.event_store().clients(&query).await.unwrap();
    page.items.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn data_of_the_first_format_gets_its_clients_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let events =
        [transfer("a", "ann", "Zoë 🦀", 1), transfer("b", "ann", "bob", 2), deposit("c", "eve", "x", 3)];
    embedded.event_store().append(&batch(events), at(9)).await.unwrap();
    let expected = clients_with_events(&embedded).await;
    assert_eq!(expected, ["Zoë 🦀", "ann", "bob", "eve"]);
    embedded.close().await;
    tamper(dir.path(), "clients", |clients, batch| {
        clients.iter().for_each(|client| batch.remove(clients, client.key().unwrap()));
    });
    tamper(dir.path(), "meta", |meta, batch| batch.insert(meta, "format", [1]));
    for _ in 0..2 {
        let embedded = open(dir.path());
        assert_eq!(clients_with_events(&embedded).await, expected);
        embedded.close().await;
        tamper(dir.path(), "meta", |meta, _| {
            assert_eq!(meta.get("format").unwrap().as_deref(), Some([3].as_slice()), "it is done once");
        });
    }
}

#[tokio::test]
async fn a_removed_link_stays_so_across_restarts_and_may_come_back_with_an_older_time() {
    let dir = tempfile::tempdir().unwrap();
    let edge = |seconds| {
        let (client, counterparty) = (client("ann"), client("bob"));
        [Edge::Interaction { client, counterparty, side: Side::Sent, at: at(seconds) }]
    };
    let found = async |embedded: &Embedded| {
        let page = embedded.adjacency().interactions(&NeighbourQuery::new(client("ann"))).await.unwrap();
        page.items.first().map(Interaction::last_at)
    };
    let embedded = open(dir.path());
    embedded.adjacency().link(&edge(7)).await.unwrap();
    embedded.adjacency().unlink(&edge(7)).await.unwrap();
    drop(embedded);
    let embedded = open(dir.path());
    assert_eq!(found(&embedded).await, None);
    assert!(embedded.adjacency().clients(&ClientQuery::default()).await.unwrap().items.is_empty());
    embedded.adjacency().link(&edge(3)).await.unwrap();
    drop(embedded);
    let embedded = open(dir.path());
    assert_eq!(found(&embedded).await, Some(at(3)));
    embedded.adjacency().unlink(&edge(7)).await.unwrap();
    assert_eq!(found(&embedded).await, Some(at(3)), "the store knows the link's own time");
    embedded.adjacency().unlink(&edge(3)).await.unwrap();
    assert_eq!(found(&embedded).await, None);
}

#[tokio::test]
async fn more_edges_than_fit_in_one_job_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    let edge = |n: i64| Edge::Branch { client: client("ann"), branch: branch(&format!("b{n}")), at: at(1) };
    let edges: Vec<Edge> = (0..10_000).map(edge).collect();
    embedded.adjacency().link(&edges).await.unwrap();
    embedded.adjacency().unlink(&edges).await.unwrap();
    let left = embedded.adjacency().branches(&NeighbourQuery::new(client("ann"))).await.unwrap();
    assert!(left.items.is_empty());
}

#[tokio::test]
async fn entries_of_every_kept_version_are_read_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    for published_at in 1..=3 {
        let names = ["Both", &format!("bad {published_at}"), "BOTH"];
        registry(&embedded).replace(fraud_list(published_at, &names)).await.unwrap();
    }
    embedded.close().await;
    let embedded = open(dir.path());
    let lists = registry(&embedded);
    for published_at in 1..=3 {
        let chunks = lists.entries(&list_version(published_at)).await.unwrap();
        let entries: Vec<_> = chunks.map(Result::unwrap).collect().await;
        let mut names: Vec<String> = entries.concat().iter().map(|entry| entry.as_str().to_owned()).collect();
        names.sort();
        assert_eq!(names, ["Both".to_owned(), format!("bad {published_at}")]);
    }
    drop((lists, embedded));
    tamper(dir.path(), "lists", |lists, batch| {
        let first_of_version_1 = lists.iter().next().unwrap().key().unwrap();
        batch.remove(lists, first_of_version_1);
    });
    let damaged = registry(&open(dir.path())).entries(&list_version(1)).await.err().unwrap();
    let RegistryError::Fault(fault) = &damaged else { panic!("a fault: {damaged:?}") };
    assert_eq!(fault.kind(), FaultKind::Corrupt, "a list of which a chunk is missing is never read short");
}

#[tokio::test]
async fn a_key_without_a_client_is_a_corrupt_fault_for_whoever_lists_clients() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    tamper(dir.path(), "clients", |clients, batch| batch.insert(clients, [0xff], []));
    tamper(dir.path(), "links", |links, batch| batch.insert(links, b"hash\x09short", []));
    let embedded = open(dir.path());
    let query = ClientQuery::default();
    assert_eq!(fault_kind(&embedded.event_store().clients(&query).await.unwrap_err()), FaultKind::Corrupt);
    assert_eq!(fault_kind(&embedded.adjacency().clients(&query).await.unwrap_err()), FaultKind::Corrupt);
}
