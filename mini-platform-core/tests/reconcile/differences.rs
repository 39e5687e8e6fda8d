//! Every kind of difference, on a platform that rests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::{
    BranchLink, ClientId, ClientQuery, Edge, Interaction, NeighbourQuery, Page, PageSize,
};
use mini_platform_core::error::{Fault, FaultKind, StoreError};
use mini_platform_core::port::AdjacencyStore;
use mini_platform_core::reconcile::{Mode, ReconcileReport, Reconciler};
use mini_platform_core::testkit::{deposit, transfer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::support::{Hooked, NOW, Platform, links, received, sent, shown, used};

async fn damaged() -> Platform {
    let platform = Platform::with([
        transfer("e1", "ann", "bob", 3),
        transfer("e2", "ann", "bob", 5),
        transfer("e3", "bob", "ann", 4),
        deposit("e4", "ann", "north", 6),
        deposit("e5", "bob", "south", 7),
        transfer("e6", "ann", "cyd", 8),
    ])
    .await;
    platform.lose(&[sent("ann", "bob", 5), received("bob", "ann", 5), used("bob", "south", 7)]).await;
    platform
        .damage(&[
            sent("ann", "bob", 3),
            received("cyd", "ann", 9),
            used("ann", "north", 7),
            received("ann", "cyd", 1),
            used("ann", "west", 2),
            sent("zoe", "ann", 3),
            used("zoe", "north", 3),
        ])
        .await;
    platform
}

const FOUND: [&str; 9] = [
    "ann at north: newer 7 > 6",
    "ann at west: surplus 2",
    "ann from cyd: surplus 1",
    "ann to bob: older 3 < 5",
    "bob at south: missing 7",
    "bob from ann: missing 5",
    "cyd from ann: newer 9 > 8",
    "zoe at north: surplus 3",
    "zoe to ann: surplus 3",
];

#[tokio::test]
async fn every_kind_of_difference_is_named_and_a_report_changes_nothing() {
    let platform = damaged().await;
    let before = links(&platform.adjacency.inner).await;
    let (report, found) = platform.run(Mode::Report).await;
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), FOUND);
    assert_eq!(links(&platform.adjacency.inner).await, before);
    let ReconcileReport { clients, events, links, differences, repaired, is_complete, .. } = report;
    assert_eq!((clients, events, links), (4, 4 + 2 + 3 + 1, 10));
    let counts = (differences.missing, differences.older, differences.newer, differences.surplus);
    assert_eq!((counts, differences.total()), ((2, 1, 2, 4), 9));
    assert_eq!((repaired, is_complete), (0, true));
}

#[tokio::test]
async fn every_kind_of_difference_is_repaired() {
    let platform = damaged().await;
    let (report, found) = platform.run(Mode::Repair).await;
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), FOUND);
    assert_eq!(report.repaired, 9);
    platform.assert_in_order().await;
    let (again, _) = platform.run(Mode::Repair).await;
    assert_eq!((again.differences.total(), again.repaired), (0, 0));
}

#[tokio::test]
async fn links_that_were_lost_altogether_are_rebuilt() {
    let platform = damaged().await;
    platform.assert_repairable().await;
    let worker_made = links(&platform.adjacency.inner).await;
    let rebuilt = links(&*platform.rebuilt().await).await;
    assert_eq!(rebuilt, worker_made);
    assert_eq!(rebuilt.len(), 3);
}

#[tokio::test]
async fn stores_in_order_have_no_differences() {
    let empty = Platform::new().await;
    let (report, _) = empty.run(Mode::Repair).await;
    assert_eq!(report, {
        let mut nothing = ReconcileReport::default();
        nothing.is_complete = true;
        nothing
    });
    let platform = Platform::with([transfer("e1", "ann", "bob", 3), deposit("e2", "ann", "bob", 3)]).await;
    platform.assert_in_order().await;
    assert!(platform.adjacency.unlinked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_hub_is_read_and_linked_in_bounded_calls() {
    let platform = Platform::new().await;
    let events: Vec<_> =
        (0..4500).map(|n| transfer(&format!("e{n}"), "hub", &format!("c{n:04}"), n)).collect();
    for chunk in events.chunks(1000) {
        platform.append_only(chunk.iter().cloned(), 1).await;
    }
    let surplus: Vec<Edge> = (0..2500).map(|n| received("hub", &format!("c{n:04}"), 1)).collect();
    platform.damage(&surplus).await;
    let (report, _) = platform.run(Mode::Repair).await;
    assert_eq!((report.clients, report.events, report.links), (4501, 9000, 2500));
    assert_eq!((report.differences.missing, report.differences.surplus), (9000, 2500));
    let calls = platform.adjacency.linked.lock().unwrap().clone();
    assert_eq!(calls.iter().filter(|edges| **edges > 1).collect::<Vec<_>>(), [&2048, &2048, &404]);
    let (again, _) = platform.run(Mode::Report).await;
    assert_eq!((again.links, again.differences.total()), (9000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_report_gives_an_event_on_its_way_time_to_be_linked() {
    let platform = Platform::recording_at(NOW - 1).await;
    platform.ingest([transfer("e1", "ann", "bob", 3), deposit("e2", "cyd", "north", 3)]).await;
    platform.append_only([transfer("e3", "ann", "bob", 5), deposit("e4", "cyd", "west", 3)], NOW - 1).await;
    let linking = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        platform.damage(&[sent("ann", "bob", 5), received("bob", "ann", 5)]).await;
    };
    let ((_, found), ()) = tokio::join!(platform.run(Mode::Report), linking);
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), ["cyd at west: missing 3"], "that never came");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_events_of_long_ago_nor_a_repair_for_any() {
    let started = Instant::now();
    let platform = Platform::new().await;
    platform.append_only([transfer("e1", "ann", "bob", 3)], 1).await;
    assert_eq!(platform.run(Mode::Report).await.0.differences.missing, 2);
    platform.append_only([transfer("e2", "ann", "bob", 4)], NOW).await;
    assert_eq!(platform.run(Mode::Repair).await.0.repaired, 2);
    assert_eq!(started.elapsed(), Duration::ZERO);
    platform.assert_in_order().await;
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_it_has_begun() {
    let platform = Platform::new().await;
    let events = (0..100).map(|n| deposit(&format!("e{n}"), &format!("c{n}"), "north", 3));
    platform.append_only(events, 1).await;
    let stop = CancellationToken::new();
    let report =
        platform.reconciler().with_concurrency(2).run(Mode::Repair, &stop, |_| stop.cancel()).await.unwrap();
    assert!(!report.is_complete);
    assert!((1..10).contains(&report.clients), "{report:?}");
    assert_eq!(report.repaired, report.clients);
    assert_eq!(links(&platform.adjacency.inner).await.len() as u64, report.clients);
}

/// An adjacency store that answers clients repeatedly and in small pages, and fails for one client.
struct Scanned {
    inner: Arc<Hooked>,
    fails: AtomicBool,
}

#[async_trait]
impl AdjacencyStore for Scanned {
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.inner.link(edges).await
    }

    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
        self.inner.unlink(edges).await
    }

    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
        if self.fails.load(Ordering::Relaxed) && query.client().as_str() == "bob" {
            return Err(Fault::new("scanned", "answer", FaultKind::Unavailable).into());
        }
        self.inner.interactions(query).await
    }

    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
        self.inner.branches(query).await
    }

    /// Pages 0 to 5, of which every other one is empty and the others hold everything.
    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        let page: u32 = query.after().map_or(0, |page| page.parse().unwrap());
        let everything = ClientQuery::default().with_size(PageSize::new(1000).unwrap());
        let items = self.inner.clients(&everything).await?.items;
        let items = if page.is_multiple_of(2) { Vec::new() } else { items };
        let next = (page < 5).then(|| query.token_after(&(page + 1).to_string()));
        Ok(Page { items, next })
    }
}

fn scanned(platform: &Platform, fails: bool) -> Reconciler {
    let adjacency = Scanned { inner: Arc::clone(&platform.adjacency), fails: AtomicBool::new(fails) };
    Reconciler::new(Arc::clone(&platform.events) as _, Arc::new(adjacency))
}

#[tokio::test]
async fn a_client_that_a_store_repeats_is_counted_once() {
    let platform = damaged().await;
    let stop = CancellationToken::new();
    let report = scanned(&platform, false).run(Mode::Report, &stop, |_| ()).await.unwrap();
    assert_eq!((report.clients, report.differences.total()), (4, 9));
}

#[tokio::test]
async fn a_failure_does_not_leave_another_client_half_repaired() {
    let platform = Platform::with([deposit("e1", "ann", "north", 3), deposit("e2", "bob", "north", 3)]).await;
    platform.damage(&[used("ann", "north", 9)]).await;
    let stop = CancellationToken::new();
    let failed = scanned(&platform, true).run(Mode::Repair, &stop, |_| ()).await;
    assert!(matches!(failed, Err(StoreError::Fault(_))), "{failed:?}");
    assert!(!stop.is_cancelled(), "the caller's token is the caller's");
    platform.assert_in_order().await;
}
