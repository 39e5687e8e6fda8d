//! Repairs while a worker stores and links events. The two meet at planned moments.

use std::sync::Arc;

use mini_platform_core::domain::{Edge, EventFilter, EventQuery, Side, Timestamp};
use mini_platform_core::port::{EventStore, WorkerNode};
use mini_platform_core::reconcile::{Difference, Mode};
use mini_platform_core::testkit::{batch, deposit, transfer};
use tokio_util::sync::CancellationToken;

use super::support::{Moment, Platform, interaction, links, sent};

/// Ann paid Bob at 5, but the link says 10, and a worker takes in a payment at a moment of the repair.
async fn newer_link_meets(moment: Moment, seconds: i64) -> Platform {
    let platform = Platform::with([transfer("e1", "ann", "bob", 5)]).await;
    platform.damage(&[sent("ann", "bob", 10)]).await;
    platform.adjacency.at(moment, platform.ingesting(transfer("e2", "ann", "bob", seconds)));
    platform.run(Mode::Repair).await;
    platform
}

#[tokio::test]
async fn a_payment_that_hid_behind_a_wrong_link_is_not_lost_with_it() {
    for moment in [Moment::AfterReadingLinks, Moment::BeforeUnlink, Moment::AfterUnlink] {
        for seconds in [3, 5, 7, 10, 12] {
            let platform = newer_link_meets(moment, seconds).await;
            let kept = links(&platform.adjacency.inner).await;
            assert_eq!(kept, links(&*platform.rebuilt().await).await, "{moment:?} at {seconds}");
            platform.assert_in_order().await;
        }
    }
}

#[tokio::test]
async fn a_link_that_becomes_right_before_its_removal_is_put_back() {
    for moment in [Moment::AfterReadingLinks, Moment::BeforeUnlink, Moment::AfterUnlink] {
        for seconds in [3, 10, 12] {
            let platform = Platform::with([deposit("e1", "ann", "north", 5)]).await;
            platform.damage(&[sent("ann", "bob", 10)]).await;
            platform.adjacency.at(moment, platform.ingesting(transfer("e2", "ann", "bob", seconds)));
            platform.run(Mode::Repair).await;
            platform.assert_in_order().await;
        }
    }
}

#[tokio::test]
async fn a_link_that_arrives_while_a_client_is_read_is_never_taken_for_a_wrong_one() {
    for moment in [Moment::BeforeReadingLinks, Moment::AfterReadingLinks] {
        for seconds in [3, 7] {
            let platform = Platform::with([transfer("e1", "ann", "bob", 5)]).await;
            platform.adjacency.at(moment, platform.ingesting(transfer("e2", "ann", "bob", seconds)));
            let (_, found) = platform.run(Mode::Repair).await;
            let is_excess = |difference: &&Difference| difference.kind.kept() > difference.kind.implied();
            assert_eq!(found.iter().filter(is_excess).count(), 0, "{moment:?} at {seconds}");
            assert!(platform.adjacency.unlinked.lock().unwrap().is_empty());
            platform.assert_in_order().await;
        }
    }
}

#[tokio::test]
async fn a_worker_that_links_late_changes_nothing() {
    let platform = Platform::with([transfer("e1", "ann", "bob", 5)]).await;
    platform.damage(&[sent("ann", "bob", 10)]).await;
    let events = Arc::clone(&platform.events);
    platform.adjacency.at(Moment::BeforeUnlink, async move {
        events.append(&batch([transfer("e2", "ann", "bob", 7)]), Timestamp::UNIX_EPOCH).await.unwrap();
    });
    platform.run(Mode::Repair).await;
    platform.damage(&[sent("ann", "bob", 7)]).await;
    platform.assert_repairable().await;
}

/// Whether a stored event implies exactly this link.
async fn is_implied(events: &dyn EventStore, edge: &Edge) -> bool {
    let (Edge::Interaction { client, .. } | Edge::Branch { client, .. }) = edge;
    for filter in [EventFilter::Transactions, EventFilter::Operations] {
        let page = events.query(&EventQuery::new(client.clone(), filter)).await.unwrap();
        let implied = |event, at| Edge::implied_by(event, at).any(|implied| implied == *edge);
        if page.items.iter().any(|stored| implied(&stored.event, stored.event.occurred_at().timestamp())) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn repairs_beside_a_busy_worker_never_remove_what_an_event_implies() {
    let platform = Platform::new().await;
    let names = ["ann", "bob", "cyd", "dan"];
    let mut random = fastrand(7);
    // Half a second off, so that no event ever implies a damaged link.
    let damage: Vec<Edge> = (0..40)
        .filter_map(|_| {
            let (one, other) = (names[random(4)], names[random(4)]);
            let time = Timestamp::from_micros(random(60) as i64 * 1_000_000 + 500_000).unwrap();
            (one != other).then(|| interaction(one, other, Side::Sent, time))
        })
        .collect();
    let worker = Arc::clone(&platform.worker);
    let working = tokio::spawn(async move {
        for n in 0..60 {
            let (one, other) = (names[random(4)], names[random(4)]);
            let at = random(60) as i64;
            let event = if one == other {
                deposit(&format!("e{n}"), one, "north", at)
            } else {
                transfer(&format!("e{n}"), one, other, at)
            };
            worker.ingest(&batch([event])).await.unwrap();
        }
    });
    for edges in damage.chunks(4) {
        platform.damage(edges).await;
        let reconciler = platform.reconciler().with_concurrency(3);
        let run =
            async move { reconciler.run(Mode::Repair, &CancellationToken::new(), |_| ()).await.unwrap() };
        tokio::spawn(run).await.unwrap();
    }
    working.await.unwrap();
    let removed = platform.adjacency.unlinked.lock().unwrap().clone();
    assert!(removed.len() > 5, "the damage was removed: {}", removed.len());
    for edge in &removed {
        assert!(!is_implied(&*platform.events, edge).await, "{edge:?}");
    }
    platform.run(Mode::Repair).await;
    platform.assert_in_order().await;
}

/// A small generator, so that the interleaving is the same in every run.
fn fastrand(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}
