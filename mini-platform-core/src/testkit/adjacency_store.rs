//! What every [`AdjacencyStore`] must do.

use super::{Fixture, at, branch, client};
use crate::domain::{BranchLink, Direction, Edge, Interaction, NeighbourQuery, PageSize, Side, Timestamp};
use crate::port::AdjacencyStore;

type Subject = Fixture<dyn AdjacencyStore>;

fn interaction(name: &str, counterparty: &str, side: Side, seconds: i64) -> Edge {
    Edge::Interaction { client: client(name), counterparty: client(counterparty), side, at: at(seconds) }
}

fn visit(name: &str, place: &str, seconds: i64) -> Edge {
    Edge::Branch { client: client(name), branch: branch(place), at: at(seconds) }
}

async fn link(subject: &Subject, edges: &[Edge]) {
    subject.port.link(edges).await.unwrap();
}

/// Follows page tokens to the end, in pages of the given size.
pub(super) async fn all_interactions(store: &dyn AdjacencyStore, name: &str, size: u16) -> Vec<Interaction> {
    let query = NeighbourQuery::new(client(name)).with_size(PageSize::new(size).unwrap());
    let mut page = store.interactions(&query).await.unwrap();
    let mut items = Vec::new();
    loop {
        assert!(page.items.len() <= usize::from(size), "a page holds at most what was asked for");
        items.append(&mut page.items);
        let Some(token) = page.next else { return items };
        page = store.interactions(&query.clone().with_token(&token).unwrap()).await.unwrap();
        assert!(!page.items.is_empty(), "a page behind a token holds something");
    }
}

/// Follows page tokens to the end, in pages of the given size.
pub(super) async fn all_branches(store: &dyn AdjacencyStore, name: &str, size: u16) -> Vec<BranchLink> {
    let query = NeighbourQuery::new(client(name)).with_size(PageSize::new(size).unwrap());
    let mut page = store.branches(&query).await.unwrap();
    let mut items = Vec::new();
    loop {
        items.append(&mut page.items);
        let Some(token) = page.next else { return items };
        page = store.branches(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
}

async fn interactions(subject: &Subject, name: &str) -> Vec<(String, Direction, Timestamp)> {
    let all = all_interactions(&*subject.port, name, 100).await;
    all.iter().map(|link| (link.counterparty.to_string(), link.direction(), link.last_at())).collect()
}

async fn branches(subject: &Subject, name: &str) -> Vec<(String, Timestamp)> {
    let all = all_branches(&*subject.port, name, 100).await;
    all.iter().map(|link| (link.branch.to_string(), link.last_at)).collect()
}

/// AS-1: newer, older, in one call and in several.
pub async fn as1_the_latest_time_wins_in_any_order(subject: Subject) {
    link(&subject, &[interaction("ann", "bob", Side::Sent, 5), visit("ann", "north", 5)]).await;
    link(&subject, &[interaction("ann", "bob", Side::Sent, 3), visit("ann", "north", 3)]).await;
    assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Sent, at(5))]);
    assert_eq!(branches(&subject, "ann").await, [("north".to_owned(), at(5))]);
    let edges = [9, 7, -1].map(|seconds| interaction("ann", "bob", Side::Sent, seconds));
    link(&subject, &edges).await;
    link(&subject, &[9, 7, -1].map(|seconds| visit("ann", "north", seconds))).await;
    assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Sent, at(9))]);
    assert_eq!(branches(&subject, "ann").await, [("north".to_owned(), at(9))]);
}

/// AS-1: the sides of an interaction have a time each.
pub async fn as1_each_side_keeps_its_own_time(subject: Subject) {
    link(&subject, &[interaction("ann", "bob", Side::Sent, 9)]).await;
    link(&subject, &[interaction("ann", "bob", Side::Received, 4)]).await;
    let found = all_interactions(&*subject.port, "ann", 100).await;
    assert_eq!(found[0].last_at_on(Side::Sent), Some(at(9)));
    assert_eq!(found[0].last_at_on(Side::Received), Some(at(4)));
    assert_eq!(found[0].last_at(), at(9));
}

/// AS-2: the same edges, twice in one call and again in another.
pub async fn as2_linking_again_changes_nothing(subject: Subject) {
    let edges = [interaction("ann", "bob", Side::Sent, 5), visit("ann", "north", 5)];
    link(&subject, &[edges.clone(), edges.clone()].concat()).await;
    let before = (interactions(&subject, "ann").await, branches(&subject, "ann").await);
    link(&subject, &edges).await;
    assert_eq!((interactions(&subject, "ann").await, branches(&subject, "ann").await), before);
    assert_eq!((before.0.len(), before.1.len()), (1, 1));
}

/// AS-3: every edge of a call is visible when it answers.
pub async fn as3_every_edge_is_visible_at_once(subject: Subject) {
    let edges: Vec<Edge> = (0..100).map(|n| interaction("ann", &format!("c{n:02}"), Side::Sent, n)).collect();
    link(&subject, &edges).await;
    assert_eq!(interactions(&subject, "ann").await.len(), 100);
    link(&subject, &[]).await;
}

/// AS-3: links of many tasks to one client.
pub async fn as3_racing_links_lose_nothing(subject: Subject) {
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let port = subject.port.clone();
            let edges = [interaction("ann", "bob", Side::Sent, n), visit("ann", &format!("b{n:02}"), n)];
            tokio::spawn(async move { port.link(&edges).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Sent, at(15))]);
    assert_eq!(branches(&subject, "ann").await.len(), 16);
}

/// AS-4: sent and received.
pub async fn as4_both_sides_are_one_interaction(subject: Subject) {
    link(&subject, &[interaction("ann", "bob", Side::Received, 1)]).await;
    assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Received, at(1))]);
    link(&subject, &[interaction("ann", "bob", Side::Sent, 2)]).await;
    assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Both, at(2))]);
}

/// AS-5: order, and pages of every size, while other neighbours arrive.
pub async fn as5_neighbours_are_ordered_and_paged(subject: Subject) {
    let names = ["á", "Z", "a", "a b", "aa", "a/", "🦀", "é%", "zz", "0"];
    let mut edges: Vec<Edge> = names.iter().map(|name| interaction("ann", name, Side::Sent, 1)).collect();
    edges.extend(names.iter().map(|name| visit("ann", name, 1)));
    link(&subject, &edges).await;
    let mut ordered = names.map(str::to_owned);
    ordered.sort();
    for size in [1, 3, 5, 10, 1000] {
        let found = all_interactions(&*subject.port, "ann", size).await;
        let found: Vec<&str> = found.iter().map(|link| link.counterparty.as_str()).collect();
        assert_eq!(found, ordered, "interactions in pages of {size}");
        let found = all_branches(&*subject.port, "ann", size).await;
        let found: Vec<&str> = found.iter().map(|link| link.branch.as_str()).collect();
        assert_eq!(found, ordered, "branches in pages of {size}");
    }
}

/// AS-5: neighbours arrive between two pages.
pub async fn as5_pages_survive_new_links(subject: Subject) {
    for n in 0..10 {
        link(&subject, &[interaction("ann", &format!("m{n}"), Side::Sent, n)]).await;
    }
    let query = NeighbourQuery::new(client("ann")).with_size(PageSize::new(5).unwrap());
    let first = subject.port.interactions(&query).await.unwrap();
    link(&subject, &["a", "m0", "m22", "z"].map(|name| interaction("ann", name, Side::Sent, 99))).await;
    let token = first.next.expect("there is a second page");
    let second = subject.port.interactions(&query.clone().with_token(&token).unwrap()).await.unwrap();
    let mut seen = [first.items, second.items].concat();
    seen.retain(|link| link.counterparty.as_str().len() == 2);
    let seen: Vec<&str> = seen.iter().map(|link| link.counterparty.as_str()).collect();
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"]);
}

/// AS-5: as many neighbours as fit on one page, and none.
pub async fn as5_the_last_page_has_no_token(subject: Subject) {
    link(&subject, &["x", "y"].map(|name| interaction("ann", name, Side::Sent, 1))).await;
    let query = NeighbourQuery::new(client("ann")).with_size(PageSize::new(2).unwrap());
    assert_eq!(subject.port.interactions(&query).await.unwrap().next, None);
    let page = subject.port.branches(&NeighbourQuery::new(client("nobody"))).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
}

/// AS-6: a branch that is named like a client, and clients whose names start alike.
pub async fn as6_kinds_and_clients_are_apart(subject: Subject) {
    link(
        &subject,
        &[
            interaction("ann", "same", Side::Sent, 1),
            visit("ann", "same", 2),
            visit("ann/b", "c", 3),
            visit("ann", "b/c", 4),
            visit("annb", "c", 5),
        ],
    )
    .await;
    assert_eq!(interactions(&subject, "ann").await, [("same".to_owned(), Direction::Sent, at(1))]);
    let expected = [("b/c".to_owned(), at(4)), ("same".to_owned(), at(2))];
    assert_eq!(branches(&subject, "ann").await, expected);
    assert_eq!(branches(&subject, "ann/b").await, [("c".to_owned(), at(3))]);
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! adjacency_store_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args adjacency_store:
            as1_the_latest_time_wins_in_any_order,
            as1_each_side_keeps_its_own_time,
            as2_linking_again_changes_nothing,
            as3_every_edge_is_visible_at_once,
            as3_racing_links_lose_nothing,
            as4_both_sides_are_one_interaction,
            as5_neighbours_are_ordered_and_paged,
            as5_pages_survive_new_links,
            as5_the_last_page_has_no_token,
            as6_kinds_and_clients_are_apart,
        }
    };
}

/// Emits the [`AdjacencyStore`](crate::port::AdjacencyStore) suite for the fixture that a future answers.
#[macro_export]
macro_rules! adjacency_store_conformance {
    ($fixture:expr) => {
        $crate::adjacency_store_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
