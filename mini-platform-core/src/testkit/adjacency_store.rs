//! What every [`AdjacencyStore`] must do.

use std::collections::BTreeSet;

use super::{Fixture, at, branch, client};
use crate::domain::{
    BranchLink, ClientQuery, Direction, Edge, Interaction, NeighbourQuery, PageSize, Side, Timestamp,
};
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

async fn unlink(subject: &Subject, edges: &[Edge]) {
    subject.port.unlink(edges).await.unwrap();
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

/// More pages than any case needs, so that a token that leads back fails instead of going on for ever.
const MAX_PAGES: usize = 10_000;

/// Follows page tokens to the end. Pages may be empty, and clients may come again.
pub(super) async fn all_clients(store: &dyn AdjacencyStore, size: u16) -> BTreeSet<String> {
    let query = ClientQuery::default().with_size(PageSize::new(size).unwrap());
    let mut page = store.clients(&query).await.unwrap();
    let mut names = BTreeSet::new();
    for _ in 0..MAX_PAGES {
        assert!(page.items.len() <= usize::from(size), "a page holds at most what was asked for");
        names.extend(page.items.iter().map(ToString::to_string));
        let Some(token) = page.next else { return names };
        page = store.clients(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
    panic!("the pages of clients end");
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

/// AS-7: times that are not the link's, the link's, and a link that is gone or never was.
pub async fn as7_a_link_is_removed_at_exactly_its_time(subject: Subject) {
    let edges = |seconds| [interaction("ann", "bob", Side::Sent, seconds), visit("ann", "north", seconds)];
    link(&subject, &edges(5)).await;
    for other in [4, 6] {
        unlink(&subject, &edges(other)).await;
    }
    assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Sent, at(5))]);
    assert_eq!(branches(&subject, "ann").await, [("north".to_owned(), at(5))]);
    for _ in 0..2 {
        unlink(&subject, &edges(5)).await;
        assert!(interactions(&subject, "ann").await.is_empty(), "the interaction is gone");
        assert!(branches(&subject, "ann").await.is_empty(), "the branch is gone");
    }
    unlink(&subject, &[]).await;
}

/// AS-7: only the latest time of a link was kept, so that nothing is left behind it.
pub async fn as7_a_removed_link_leaves_no_older_time(subject: Subject) {
    for seconds in [3, 5, 4] {
        link(&subject, &[interaction("ann", "bob", Side::Sent, seconds), visit("ann", "north", seconds)])
            .await;
    }
    unlink(&subject, &[interaction("ann", "bob", Side::Sent, 5), visit("ann", "north", 5)]).await;
    assert!(interactions(&subject, "ann").await.is_empty());
    assert!(branches(&subject, "ann").await.is_empty());
}

/// AS-7: the link was renewed after it was read.
pub async fn as7_a_renewed_link_stays(subject: Subject) {
    for seconds in [5, 8] {
        link(&subject, &[interaction("ann", "bob", Side::Sent, seconds), visit("ann", "north", seconds)])
            .await;
    }
    unlink(&subject, &[interaction("ann", "bob", Side::Sent, 5), visit("ann", "north", 5)]).await;
    assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Sent, at(8))]);
    assert_eq!(branches(&subject, "ann").await, [("north".to_owned(), at(8))]);
}

/// AS-7: the sides of an interaction go one by one.
pub async fn as7_a_side_is_removed_alone(subject: Subject) {
    link(&subject, &[Side::Sent, Side::Received].map(|side| interaction("ann", "bob", side, 5))).await;
    unlink(&subject, &[interaction("ann", "bob", Side::Sent, 5)]).await;
    assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Received, at(5))]);
    unlink(&subject, &[interaction("ann", "bob", Side::Received, 5)]).await;
    assert!(interactions(&subject, "ann").await.is_empty());
}

/// AS-7: other neighbours, other kinds and other clients, all at the same time.
pub async fn as7_other_links_stay(subject: Subject) {
    let same = [
        interaction("ann", "same", Side::Sent, 5),
        interaction("ann", "same2", Side::Sent, 5),
        visit("ann", "same", 5),
        interaction("same", "ann", Side::Received, 5),
        interaction("ann/same", "same", Side::Sent, 5),
    ];
    link(&subject, &same).await;
    unlink(&subject, &same[..1]).await;
    assert_eq!(interactions(&subject, "ann").await, [("same2".to_owned(), Direction::Sent, at(5))]);
    assert_eq!(branches(&subject, "ann").await, [("same".to_owned(), at(5))]);
    assert_eq!(interactions(&subject, "same").await, [("ann".to_owned(), Direction::Received, at(5))]);
    assert_eq!(interactions(&subject, "ann/same").await, [("same".to_owned(), Direction::Sent, at(5))]);
}

/// AS-7: every second of many links was renewed.
pub async fn as7_many_links_are_removed_at_once(subject: Subject) {
    let edges = |step, seconds| -> Vec<Edge> {
        (0..200).step_by(step).map(|n| interaction("ann", &format!("c{n:03}"), Side::Sent, seconds)).collect()
    };
    link(&subject, &edges(1, 5)).await;
    link(&subject, &edges(2, 6)).await;
    unlink(&subject, &edges(1, 5)).await;
    let left = interactions(&subject, "ann").await;
    assert_eq!(left.len(), 100);
    assert!(left.iter().all(|(_, _, last_at)| *last_at == at(6)), "those that were renewed stay");
}

/// AS-7: eight links are renewed while they are removed.
pub async fn as7_a_racing_renewal_stays(subject: Subject) {
    let names: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    let edges = |seconds| names.iter().map(move |name| interaction("ann", name, Side::Sent, seconds));
    link(&subject, &edges(5).collect::<Vec<_>>()).await;
    let mut tasks = Vec::new();
    for (old, new) in edges(5).zip(edges(6)) {
        let (one, other) = (subject.port.clone(), subject.port.clone());
        tasks.push(tokio::spawn(async move { one.unlink(&[old]).await.unwrap() }));
        tasks.push(tokio::spawn(async move { other.link(&[new]).await.unwrap() }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let expected: Vec<_> = names.iter().map(|name| (name.clone(), Direction::Sent, at(6))).collect();
    assert_eq!(interactions(&subject, "ann").await, expected, "a renewed link stays, whoever came first");
}

/// AS-7: linked again with an older time, the same and a newer one.
pub async fn as7_a_removed_link_can_come_back(subject: Subject) {
    for seconds in [3, 7, 9] {
        let edges =
            |seconds| [interaction("ann", "bob", Side::Sent, seconds), visit("ann", "north", seconds)];
        link(&subject, &edges(7)).await;
        unlink(&subject, &edges(7)).await;
        link(&subject, &edges(seconds)).await;
        assert_eq!(interactions(&subject, "ann").await, [("bob".to_owned(), Direction::Sent, at(seconds))]);
        assert_eq!(branches(&subject, "ann").await, [("north".to_owned(), at(seconds))]);
        unlink(&subject, &edges(seconds)).await;
    }
}

/// AS-8: clients with interactions, with branches, with both; a neighbour by itself has no link.
pub async fn as8_every_client_with_a_link_is_answered(subject: Subject) {
    assert!(all_clients(&*subject.port, 10).await.is_empty(), "nobody has a link at first");
    let (talkers, visitors) = (["á", "a b", "a/", "🦀", "%"], ["a", "aa", "Z", "á"]);
    let edges = talkers.iter().map(|name| interaction(name, "neighbour", Side::Received, 1));
    let edges: Vec<Edge> = edges.chain(visitors.iter().map(|name| visit(name, "north", 1))).collect();
    link(&subject, &edges).await;
    let expected: BTreeSet<String> = talkers.iter().chain(&visitors).map(ToString::to_string).collect();
    for size in [1, 3, 1000] {
        assert_eq!(all_clients(&*subject.port, size).await, expected, "pages of {size}");
    }
}

/// AS-8: between two pages clients arrive, and those that were answered lose their links.
pub async fn as8_pages_survive_changes(subject: Subject) {
    let old: Vec<String> = (0..30).map(|n| format!("m{n:02}")).collect();
    link(&subject, &old.iter().map(|name| visit(name, "north", 1)).collect::<Vec<_>>()).await;
    let query = ClientQuery::default().with_size(PageSize::new(4).unwrap());
    let mut seen = BTreeSet::new();
    let mut page = subject.port.clients(&query).await.unwrap();
    for round in 0..MAX_PAGES {
        seen.extend(page.items.iter().map(ToString::to_string));
        let Some(token) = page.next else { break };
        let answered: Vec<Edge> = page.items.iter().map(|name| visit(name.as_str(), "north", 1)).collect();
        unlink(&subject, &answered).await;
        if round < 10 {
            let new = ["a", "m", "z"].map(|name| visit(&format!("{name}{round}-new"), "north", 2));
            link(&subject, &new).await;
        }
        page = subject.port.clients(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
    let missed: Vec<&String> = old.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missed.is_empty(), "every client that was there before the first page: {missed:?}");
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
            as7_a_link_is_removed_at_exactly_its_time,
            as7_a_removed_link_leaves_no_older_time,
            as7_a_renewed_link_stays,
            as7_a_side_is_removed_alone,
            as7_other_links_stay,
            as7_many_links_are_removed_at_once,
            as7_a_racing_renewal_stays,
            as7_a_removed_link_can_come_back,
            as8_every_client_with_a_link_is_answered,
            as8_pages_survive_changes,
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
