//! What every [`WorkerNode`] must do. The fixture screens against the list [`FRAUDSTERS`] and matches names
//! in the default mode, normalised, with the brief's parties.

use super::{Fixture, batch, client, deposit, id, list_version, transfer, untimed_transfer, withdrawal};
use crate::domain::{
    Direction, Event, EventFilter, EventQuery, EventScreening, IngestOutcome, ListEntry, NeighbourQuery,
    Outcome, PartyRole, Verdict,
};
use crate::port::{ClientOverview, FetchAnswer, FetchQuery, WorkerNode};

type Subject = Fixture<dyn WorkerNode>;

/// The names on the fixture's fraud list, which is `fraud_list(1, &FRAUDSTERS)`.
pub const FRAUDSTERS: [&str; 2] = ["Mallory Mole", "Shell Company Ltd"];

async fn ingest(subject: &Subject, events: impl IntoIterator<Item = Event>) -> Vec<IngestOutcome> {
    subject.port.ingest(&batch(events)).await.unwrap()
}

async fn outcomes(subject: &Subject, events: impl IntoIterator<Item = Event>) -> Vec<Outcome> {
    ingest(subject, events).await.iter().map(|finished| finished.outcome).collect()
}

async fn overview(subject: &Subject, name: &str) -> ClientOverview {
    match subject.port.fetch(&FetchQuery::Overview(client(name))).await.unwrap() {
        FetchAnswer::Overview(overview) => *overview,
        other => panic!("an overview is answered with an overview: {other:?}"),
    }
}

fn is_blank(overview: &ClientOverview) -> bool {
    overview.transactions.items.is_empty()
        && overview.operations.items.is_empty()
        && overview.interactions.items.is_empty()
        && overview.branches.items.is_empty()
}

/// WN-1: every outcome, in one batch.
pub async fn wn1_outcomes_are_dense_and_in_order(subject: Subject) {
    outcomes(&subject, [transfer("known", "ann", "bob", 1)]).await;
    let finished = outcomes(
        &subject,
        [
            transfer("bad", "ann", "mallory mole", 1),
            transfer("new", "ann", "bob", 2),
            transfer("known", "ann", "bob", 1),
            withdrawal("worse", "SHELL COMPANY LTD", "north", 1),
            deposit("in", "ann", "north", 1),
            transfer("new2", "ann", "eve", 3),
        ],
    )
    .await;
    assert_eq!(
        finished,
        [
            Outcome::Fraudulent,
            Outcome::Stored,
            Outcome::Duplicate,
            Outcome::Fraudulent,
            Outcome::Stored,
            Outcome::Stored
        ]
    );
}

/// WN-1: the verdict behind each outcome.
pub async fn wn1_screening_names_version_party_and_entry(subject: Subject) {
    let finished = ingest(
        &subject,
        [
            transfer("hit", "ann", "mallory mole", 1),
            withdrawal("out", "MALLORY MOLE", "north", 1),
            transfer("clear", "ann", "bob", 1),
            deposit("none", "Mallory Mole", "north", 1),
        ],
    )
    .await;
    let (version, entry) = (list_version(1), ListEntry::new(FRAUDSTERS[0]).unwrap());
    let hit = |party| EventScreening::Hit { version: version.clone(), party, entry: entry.clone() };
    let expected = [
        hit(PartyRole::Receiver),
        hit(PartyRole::Withdrawer),
        EventScreening::Clear { version: version.clone() },
        EventScreening::None { version: version.clone() },
    ];
    let screenings: Vec<EventScreening> = finished.into_iter().map(|one| one.screening).collect();
    assert_eq!(screenings, expected);
}

/// WN-1: the times under which an event is stored, and a resend that comes with another time.
pub async fn wn1_what_is_stored_carries_the_times_under_which_it_is(subject: Subject) {
    let events = |received| [untimed_transfer("u", "ann", "bob", received), deposit("d", "ann", "north", 2)];
    let first = ingest(&subject, events(100)).await;
    let again = ingest(&subject, events(900)).await;
    for ((event, first), again) in ["u", "d"].into_iter().zip(first).zip(again) {
        assert_eq!((first.outcome, again.outcome), (Outcome::Stored, Outcome::Duplicate));
        let answer = subject.port.fetch(&FetchQuery::Event(id(event))).await.unwrap();
        let FetchAnswer::Event(Some(stored)) = answer else { panic!("an event") };
        assert_eq!(first.recording, Some(stored.recording()), "as {event} was stored");
        assert_eq!(again.recording, first.recording, "a resend changes no time of {event}");
    }
}

/// WN-1: an event that is not stored has no times of storing.
pub async fn wn1_what_is_not_stored_carries_no_times(subject: Subject) {
    outcomes(&subject, [transfer("c", "ann", "bob", 1)]).await;
    let events = [transfer("c", "ann", "eve", 1), transfer("f", "ann", "mallory mole", 1)];
    let finished = ingest(&subject, events).await;
    assert_eq!(finished.iter().map(|one| one.recording).collect::<Vec<_>>(), [None, None]);
}

/// WN-2: neither document nor link, on either side.
pub async fn wn2_a_fraudulent_event_leaves_no_trace(subject: Subject) {
    outcomes(
        &subject,
        [transfer("t", "ann", "Mallory Mole", 1), withdrawal("w", "Mallory Mole", "north", 2)],
    )
    .await;
    for name in ["ann", "Mallory Mole"] {
        assert!(is_blank(&overview(&subject, name).await), "nothing is known of {name}");
    }
    for event in ["t", "w"] {
        let answer = subject.port.fetch(&FetchQuery::Event(id(event))).await.unwrap();
        assert_eq!(answer, FetchAnswer::Event(None), "there is no event {event}");
    }
}

/// WN-2: the sender and the depositor are not screened.
pub async fn wn2_a_fraudster_may_pay_and_deposit(subject: Subject) {
    let events = [transfer("t", "Mallory Mole", "ann", 1), deposit("d", "Mallory Mole", "north", 2)];
    assert_eq!(outcomes(&subject, events).await, [Outcome::Stored, Outcome::Stored]);
    assert!(!is_blank(&overview(&subject, "Mallory Mole").await));
}

/// WN-3: the same batch three times.
pub async fn wn3_a_resend_is_duplicate_and_changes_nothing(subject: Subject) {
    let events = || [transfer("t", "ann", "bob", 1), deposit("d", "ann", "north", 2)];
    assert_eq!(outcomes(&subject, events()).await, [Outcome::Stored; 2]);
    let before = overview(&subject, "ann").await;
    for _ in 0..2 {
        assert_eq!(outcomes(&subject, events()).await, [Outcome::Duplicate; 2]);
    }
    assert_eq!(overview(&subject, "ann").await, before);
}

/// WN-3: a later resend without a time does not move the link's time.
pub async fn wn3_an_untimed_resend_does_not_move_links(subject: Subject) {
    outcomes(&subject, [untimed_transfer("u", "ann", "bob", 100)]).await;
    outcomes(&subject, [untimed_transfer("u", "ann", "bob", 900)]).await;
    let overview = overview(&subject, "ann").await;
    let stored = overview.transactions.items[0].event.occurred_at().timestamp();
    assert_eq!(overview.interactions.items[0].last_at(), stored, "links are what the stored events imply");
}

/// WN-2 and WN-3: a conflict changes neither the event nor the links.
pub async fn wn3_a_conflict_leaves_no_link(subject: Subject) {
    outcomes(&subject, [transfer("c", "ann", "bob", 1)]).await;
    assert_eq!(outcomes(&subject, [transfer("c", "ann", "eve", 1)]).await, [Outcome::Conflict]);
    assert!(is_blank(&overview(&subject, "eve").await));
    assert_eq!(overview(&subject, "ann").await.interactions.items.len(), 1);
}

/// WN-5: every question gets the answer of its name.
pub async fn wn5_every_fetch_answers_its_own_kind(subject: Subject) {
    let events =
        [transfer("t", "ann", "bob", 1), transfer("r", "bob", "ann", 2), deposit("d", "ann", "north", 3)];
    outcomes(&subject, events).await;
    let fetch = async |query: FetchQuery| subject.port.fetch(&query).await.unwrap();
    let neighbours = NeighbourQuery::new(client("ann"));

    let events = EventQuery::new(client("ann"), EventFilter::Received);
    let FetchAnswer::Events(page) = fetch(FetchQuery::Events(events)).await else { panic!("events") };
    assert_eq!(page.items[0].event.id(), &id("r"));
    let FetchAnswer::Interactions(page) = fetch(FetchQuery::Interactions(neighbours.clone())).await else {
        panic!("interactions")
    };
    assert_eq!(page.items[0].direction(), Direction::Both);
    let FetchAnswer::Branches(page) = fetch(FetchQuery::Branches(neighbours)).await else {
        panic!("branches")
    };
    assert_eq!(page.items[0].branch.as_str(), "north");
    let FetchAnswer::Event(Some(stored)) = fetch(FetchQuery::Event(id("d"))).await else {
        panic!("an event")
    };
    assert_eq!(stored.event, deposit("d", "ann", "north", 3));
    let FetchAnswer::ListInForce(Some(info)) = fetch(FetchQuery::ListInForce).await else { panic!("a list") };
    assert_eq!((info.version, info.entries), (list_version(1), 2));
    let FetchAnswer::Check(screening) = fetch(FetchQuery::Check(client("mallory mole"))).await else {
        panic!("a screening")
    };
    assert_eq!(screening.verdicts, [Verdict::Hit { entry: ListEntry::new(FRAUDSTERS[0]).unwrap() }]);
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! worker_node_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args worker_node:
            wn1_outcomes_are_dense_and_in_order,
            wn1_screening_names_version_party_and_entry,
            wn1_what_is_stored_carries_the_times_under_which_it_is,
            wn1_what_is_not_stored_carries_no_times,
            wn2_a_fraudulent_event_leaves_no_trace,
            wn2_a_fraudster_may_pay_and_deposit,
            wn3_a_resend_is_duplicate_and_changes_nothing,
            wn3_an_untimed_resend_does_not_move_links,
            wn3_a_conflict_leaves_no_link,
            wn5_every_fetch_answers_its_own_kind,
        }
    };
}

/// Emits the [`WorkerNode`](crate::port::WorkerNode) suite for the fixture that a future answers.
#[macro_export]
macro_rules! worker_node_conformance {
    ($fixture:expr) => {
        $crate::worker_node_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
