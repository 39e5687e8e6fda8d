//! What every [`EventStore`] must do.

use std::collections::BTreeSet;

use super::{Fixture, at, batch, client, deposit, id, transfer, untimed_transfer, withdrawal};
use crate::domain::{
    AppendOutcome, ClientQuery, Event, EventFilter, EventQuery, PageSize, Recording, StoredEvent, TimeRange,
    Timestamp,
};
use crate::port::EventStore;

type Subject = Fixture<dyn EventStore>;

/// The fixed time of recording in these cases.
const RECORDED: i64 = 9_000;

async fn append(subject: &Subject, events: impl IntoIterator<Item = Event>) -> Vec<AppendOutcome> {
    subject.port.append(&batch(events), at(RECORDED)).await.unwrap()
}

/// Follows page tokens to the end, in pages of the given size.
pub(super) async fn all_pages(store: &dyn EventStore, query: &EventQuery, size: u16) -> Vec<StoredEvent> {
    let query = query.clone().with_size(PageSize::new(size).unwrap());
    let mut items = Vec::new();
    let mut page = store.query(&query).await.unwrap();
    loop {
        assert!(page.items.len() <= usize::from(size), "a page holds at most what was asked for");
        items.append(&mut page.items);
        let Some(token) = page.next else { return items };
        page = store.query(&query.clone().with_token(&token).unwrap()).await.unwrap();
        assert!(!page.items.is_empty(), "a page behind a token holds something");
    }
}

/// Follows page tokens to the end, in pages of the given size.
pub(super) async fn all_clients(store: &dyn EventStore, size: u16) -> Vec<String> {
    let query = ClientQuery::default().with_size(PageSize::new(size).unwrap());
    let mut page = store.clients(&query).await.unwrap();
    let mut names = Vec::new();
    loop {
        assert!(page.items.len() <= usize::from(size), "a page holds at most what was asked for");
        names.extend(page.items.iter().map(ToString::to_string));
        assert!(names.is_sorted_by(|one, next| one < next), "in byte order, and none twice: {names:?}");
        let Some(token) = page.next else { return names };
        page = store.clients(&query.clone().with_token(&token).unwrap()).await.unwrap();
        assert!(!page.items.is_empty(), "a page behind a token holds something");
    }
}

async fn ids(subject: &Subject, name: &str, filter: EventFilter) -> Vec<String> {
    let query = EventQuery::new(client(name), filter);
    all_pages(&*subject.port, &query, 100).await.iter().map(|stored| stored.event.id().to_string()).collect()
}

/// ES-1: new, known, contradicting and new again, in one batch.
pub async fn es1_outcomes_are_dense_and_in_order(subject: Subject) {
    append(&subject, [transfer("a", "ann", "bob", 1), transfer("b", "ann", "bob", 2)]).await;
    let outcomes = append(
        &subject,
        [
            transfer("c", "ann", "bob", 3),
            transfer("b", "ann", "eve", 2),
            transfer("a", "ann", "bob", 1),
            transfer("d", "ann", "bob", 4),
        ],
    )
    .await;
    let duplicate = AppendOutcome::Duplicate(Recording { occurred_at: at(1), recorded_at: at(RECORDED) });
    assert_eq!(outcomes, [AppendOutcome::Stored, AppendOutcome::Conflict, duplicate, AppendOutcome::Stored]);
}

/// ES-2: the same content again.
pub async fn es2_second_append_is_duplicate(subject: Subject) {
    for event in [transfer("t", "ann", "bob", 7), deposit("o", "ann", "north", 7)] {
        assert_eq!(append(&subject, [event.clone()]).await, [AppendOutcome::Stored]);
        let again = append(&subject, [event]).await;
        assert!(
            matches!(again[..], [AppendOutcome::Duplicate(_)]),
            "the same content is a duplicate: {again:?}"
        );
    }
    assert_eq!(
        ids(&subject, "ann", EventFilter::Transactions).await,
        ["t"],
        "a duplicate is not stored again"
    );
}

/// ES-2: append after append, each with a later time of recording.
pub async fn es2_a_duplicate_carries_the_times_of_the_first_append(subject: Subject) {
    let events = || {
        batch([
            transfer("t", "ann", "bob", -7),
            untimed_transfer("u", "ann", "bob", 7),
            deposit("o", "ann", "north", 7),
        ])
    };
    // To the microsecond, before 1970 and after.
    let recorded = |micros| Timestamp::from_micros(micros).unwrap();
    subject.port.append(&events(), recorded(-1)).await.unwrap();
    for later in [0, 1_000_001] {
        let again = subject.port.append(&events(), recorded(later)).await.unwrap();
        let expected = [-7, 7, 7].map(|seconds| {
            AppendOutcome::Duplicate(Recording { occurred_at: at(seconds), recorded_at: recorded(-1) })
        });
        assert_eq!(again, expected);
    }
}

/// ES-2: any difference in content.
pub async fn es2_other_content_is_conflict_and_changes_nothing(subject: Subject) {
    append(&subject, [transfer("a", "ann", "bob", 1)]).await;
    for other in [
        transfer("a", "ann", "eve", 1),
        transfer("a", "eve", "bob", 1),
        transfer("a", "ann", "bob", 2),
        deposit("a", "ann", "north", 1),
    ] {
        assert_eq!(append(&subject, [other]).await, [AppendOutcome::Conflict]);
    }
    let stored = subject.port.get(&id("a")).await.unwrap().unwrap();
    assert_eq!(stored.event, transfer("a", "ann", "bob", 1), "the stored event stays as it was");
    assert!(ids(&subject, "eve", EventFilter::Transactions).await.is_empty(), "a conflict leaves no trace");
}

/// ES-2: a submitter that says no time sends the same content at any time.
pub async fn es2_untimed_resend_is_duplicate_with_the_stored_time(subject: Subject) {
    append(&subject, [untimed_transfer("a", "ann", "bob", 100)]).await;
    let again = append(&subject, [untimed_transfer("a", "ann", "bob", 200)]).await;
    let expected = Recording { occurred_at: at(100), recorded_at: at(RECORDED) };
    assert_eq!(again, [AppendOutcome::Duplicate(expected)]);
}

/// Lets sixteen tasks append the same hundred events, and answers the outcomes of each with its time of recording.
async fn race(subject: &Subject) -> Vec<(Timestamp, Vec<AppendOutcome>)> {
    let events: Vec<Event> = (0..100).map(|n| transfer(&format!("r{n}"), "ann", "bob", n)).collect();
    let racers = (0..16).map(|racer| {
        let (port, batch, recorded_at) = (subject.port.clone(), batch(events.clone()), at(RECORDED + racer));
        tokio::spawn(async move { (recorded_at, port.append(&batch, recorded_at).await.unwrap()) })
    });
    let mut answers = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        answers.push(racer.await.unwrap());
    }
    answers
}

/// ES-3: each event of a race has one winner.
pub async fn es3_racing_appends_store_once(subject: Subject) {
    let mut stored = vec![0; 100];
    for (_, outcomes) in race(&subject).await {
        for (count, outcome) in stored.iter_mut().zip(outcomes) {
            assert_ne!(outcome, AppendOutcome::Conflict, "the same content never conflicts");
            *count += u32::from(outcome == AppendOutcome::Stored);
        }
    }
    assert!(stored.iter().all(|count| *count == 1), "each event is stored by exactly one racer: {stored:?}");
}

/// ES-3: those that lose a race are answered the times under which the winner stored the event.
pub async fn es3_losers_of_a_race_learn_the_times_of_the_winner(subject: Subject) {
    let answers = race(&subject).await;
    for n in 0..100 {
        let won = |(_, outcomes): &&(Timestamp, Vec<AppendOutcome>)| outcomes[n] == AppendOutcome::Stored;
        let (recorded_at, _) = *answers.iter().find(won).unwrap();
        let occurred_at = at(i64::try_from(n).unwrap());
        let lost = AppendOutcome::Duplicate(Recording { occurred_at, recorded_at });
        for (_, outcomes) in answers.iter().filter(|answer| !won(answer)) {
            assert_eq!(outcomes[n], lost);
        }
    }
}

/// ES-4: every way to read sees what was just appended.
pub async fn es4_appended_is_visible_at_once(subject: Subject) {
    for n in 0..20 {
        let name = format!("v{n}");
        append(&subject, [transfer(&name, "ann", "bob", n)]).await;
        assert!(subject.port.get(&id(&name)).await.unwrap().is_some(), "visible by id");
        assert_eq!(ids(&subject, "ann", EventFilter::Sent).await[0], name, "visible to the sender");
        assert_eq!(ids(&subject, "bob", EventFilter::Received).await[0], name, "visible to the receiver");
    }
}

/// ES-5: a batch of which a part is stored is sent again.
pub async fn es5_resending_a_partly_stored_batch_is_safe(subject: Subject) {
    let whole: Vec<Event> = (0..6).map(|n| transfer(&format!("p{n}"), "ann", "bob", n)).collect();
    append(&subject, whole[2..4].to_vec()).await;
    let outcomes = append(&subject, whole).await;
    let stored: Vec<bool> = outcomes.iter().map(|outcome| *outcome == AppendOutcome::Stored).collect();
    assert_eq!(stored, [true, true, false, false, true, true]);
    assert_eq!(ids(&subject, "ann", EventFilter::Transactions).await.len(), 6);
}

/// ES-6: both kinds of event, to the microsecond, with the first time of recording.
pub async fn es6_get_answers_what_was_stored(subject: Subject) {
    let name = "Ω'%/\\\"🦀 محمد";
    let events = [transfer("t", name, "bob", -3), withdrawal("w", name, "Hl.m. Praha", 5)];
    append(&subject, events.clone()).await;
    subject.port.append(&batch(events.clone()), at(RECORDED + 1)).await.unwrap();
    for event in events {
        let stored = subject.port.get(event.id()).await.unwrap();
        assert_eq!(stored, Some(StoredEvent { event, recorded_at: at(RECORDED) }));
    }
    assert_eq!(subject.port.get(&id("unknown")).await.unwrap(), None);
}

/// ES-7: by time, then by id, before and after 1970.
pub async fn es7_newest_first_and_ties_by_descending_id(subject: Subject) {
    let times = [("b", 5), ("a", 5), ("c", -5), ("d", 0), ("e", -5_000_000), ("f", 4_000_000_000)];
    append(&subject, times.map(|(name, seconds)| transfer(name, "ann", "bob", seconds))).await;
    assert_eq!(ids(&subject, "ann", EventFilter::Transactions).await, ["f", "b", "a", "d", "c", "e"]);
    assert_eq!(ids(&subject, "bob", EventFilter::Received).await, ["f", "b", "a", "d", "c", "e"]);
}

/// ES-7: each filter, and an event shows up once although both of its clients match.
pub async fn es7_filters_select_by_role(subject: Subject) {
    append(
        &subject,
        [
            transfer("sent", "ann", "bob", 1),
            transfer("received", "bob", "ann", 2),
            deposit("in", "ann", "north", 3),
            withdrawal("out", "ann", "north", 4),
        ],
    )
    .await;
    for (filter, expected) in [
        (EventFilter::Transactions, ["received", "sent"].as_slice()),
        (EventFilter::Sent, &["sent"]),
        (EventFilter::Received, &["received"]),
        (EventFilter::Operations, &["out", "in"]),
        (EventFilter::Deposits, &["in"]),
        (EventFilter::Withdrawals, &["out"]),
    ] {
        assert_eq!(ids(&subject, "ann", filter).await, expected, "{filter:?}");
    }
}

/// ES-7: nothing is known of a client.
pub async fn es7_an_unknown_client_has_an_empty_page(subject: Subject) {
    append(&subject, [transfer("a", "ann", "bob", 1)]).await;
    let query = EventQuery::new(client("nobody"), EventFilter::Transactions);
    let page = subject.port.query(&query).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
}

/// ES-8: pages of every size, with many events of the same instant.
pub async fn es8_pages_have_no_gap_and_no_double(subject: Subject) {
    let event = |n: i64| {
        let (sender, receiver) = if n % 3 == 0 { ("bob", "ann") } else { ("ann", "bob") };
        transfer(&format!("n{n:02}"), sender, receiver, n / 7)
    };
    append(&subject, (0..50).map(event)).await;
    for filter in [EventFilter::Transactions, EventFilter::Sent] {
        let query = EventQuery::new(client("ann"), filter);
        let whole = all_pages(&*subject.port, &query, 1000).await;
        assert_eq!(whole.len(), if filter == EventFilter::Sent { 33 } else { 50 });
        for size in [1, 2, 7, 10, 49] {
            let paged = all_pages(&*subject.port, &query, size).await;
            assert_eq!(paged, whole, "pages of {size} hold the same events in the same order");
        }
    }
}

/// ES-8: events of all ages arrive between two pages.
pub async fn es8_pages_survive_inserts(subject: Subject) {
    append(&subject, (0..30).map(|n| transfer(&format!("old{n:02}"), "ann", "bob", n))).await;
    let query =
        EventQuery::new(client("ann"), EventFilter::Transactions).with_size(PageSize::new(4).unwrap());
    let mut seen = Vec::new();
    let mut page = subject.port.query(&query).await.unwrap();
    for round in 0.. {
        seen.extend(page.items.iter().map(|stored| stored.event.id().to_string()));
        let Some(token) = page.next else { break };
        for seconds in [round - 1, 15, 100 + round] {
            append(&subject, [transfer(&format!("new{round}-{seconds}"), "ann", "bob", seconds)]).await;
        }
        page = subject.port.query(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "no event is answered twice");
    let old = seen.iter().filter(|name| name.starts_with("old")).count();
    assert_eq!(old, 30, "every event that was there before the first page is answered");
}

/// ES-8: as many events as fit on two pages.
pub async fn es8_the_last_page_has_no_token(subject: Subject) {
    append(&subject, (0..8).map(|n| transfer(&format!("l{n}"), "ann", "bob", n))).await;
    let query =
        EventQuery::new(client("ann"), EventFilter::Transactions).with_size(PageSize::new(4).unwrap());
    let first = subject.port.query(&query).await.unwrap();
    let token = first.next.expect("there is a second page");
    let second = subject.port.query(&query.with_token(&token).unwrap()).await.unwrap();
    assert_eq!((second.items.len(), second.next), (4, None));
}

/// ES-9: the start is in, the end is out, also across pages.
pub async fn es9_ranges_are_half_open(subject: Subject) {
    append(&subject, (0..10).map(|n| transfer(&format!("x{n}"), "ann", "bob", n))).await;
    for (from, to, expected) in [
        (Some(3), Some(6), vec!["x5", "x4", "x3"]),
        (Some(8), None, vec!["x9", "x8"]),
        (None, Some(2), vec!["x1", "x0"]),
        (Some(4), Some(4), vec![]),
    ] {
        let range = TimeRange { from: from.map(at), to: to.map(at) };
        let query = EventQuery::new(client("ann"), EventFilter::Transactions).with_range(range);
        for size in [1, 100] {
            let found = all_pages(&*subject.port, &query, size).await;
            let found: Vec<&str> = found.iter().map(|stored| stored.event.id().as_str()).collect();
            assert_eq!(found, expected, "{range:?} in pages of {size}");
        }
    }
}

/// Names that start, normalise, pad or compare alike.
fn odd_names() -> Vec<String> {
    let long = "x".repeat(256);
    let names =
        ["a", "A", "aa", "a/", "a%2F", "a a", "a\u{301}", "á", "a\u{10ffff}", "ÿ", &long, &long[..255]];
    names.map(str::to_owned).to_vec()
}

fn one_transfer_each(names: &[String], receiver: &str) -> Vec<Event> {
    let names = names.iter().enumerate();
    names.map(|(n, name)| transfer(&format!("s{n}"), name, receiver, 1)).collect()
}

/// ES-10: names that start, normalise, pad or compare alike.
pub async fn es10_clients_that_look_alike_are_apart(subject: Subject) {
    let names = odd_names();
    append(&subject, one_transfer_each(&names, "zoe")).await;
    for (n, name) in names.iter().enumerate() {
        assert_eq!(ids(&subject, name, EventFilter::Transactions).await, [format!("s{n}")], "{name}");
    }
}

/// ES-11: names of all lengths and scripts, and at first none.
pub async fn es11_clients_come_in_byte_order(subject: Subject) {
    let empty = subject.port.clients(&ClientQuery::default()).await.unwrap();
    assert!(empty.items.is_empty() && empty.next.is_none(), "a store without events knows no client");
    let mut names = odd_names();
    append(&subject, one_transfer_each(&names, "zoe")).await;
    names.push("zoe".to_owned());
    names.sort();
    assert_eq!(all_clients(&*subject.port, 1000).await, names);
}

/// ES-11: clients of one kind of event only, and of both.
pub async fn es11_a_client_of_every_role_comes_once(subject: Subject) {
    append(&subject, [transfer("a", "sender", "receiver", 1), transfer("b", "receiver", "both", 2)]).await;
    append(&subject, [deposit("c", "depositor", "north", 3), withdrawal("d", "withdrawer", "north", 4)])
        .await;
    append(&subject, [deposit("e", "both", "north", 5), withdrawal("f", "both", "south", 6)]).await;
    let expected = ["both", "depositor", "receiver", "sender", "withdrawer"];
    for size in [1, 2, 1000] {
        assert_eq!(all_clients(&*subject.port, size).await, expected, "pages of {size}");
    }
}

/// ES-11: what is not stored has no parties.
pub async fn es11_a_conflict_makes_no_client(subject: Subject) {
    append(&subject, [transfer("a", "ann", "bob", 1)]).await;
    append(&subject, [transfer("a", "eve", "bob", 1), transfer("b", "ann", "bob", 1)]).await;
    assert_eq!(all_clients(&*subject.port, 1000).await, ["ann", "bob"]);
}

/// ES-11: pages of every size, the one that holds all included.
pub async fn es11_pages_hold_every_client_once(subject: Subject) {
    let names: Vec<String> = (0..40).map(|n| format!("c{n:02}")).collect();
    // Each with several events, so that a client ends a page and does not start the next.
    for round in 0..3 {
        let event = |(n, name): (usize, &String)| transfer(&format!("{round}-{n}"), name, "shop", round);
        append(&subject, names.iter().enumerate().map(event)).await;
    }
    let expected: Vec<&str> = names.iter().map(String::as_str).chain(["shop"]).collect();
    for size in [1, 7, 40, 41, 1000] {
        assert_eq!(all_clients(&*subject.port, size).await, expected, "pages of {size}");
    }
}

/// ES-11: clients arrive between two pages, before, between and behind the others.
pub async fn es11_pages_survive_inserts(subject: Subject) {
    let old: Vec<String> = (0..12).map(|n| format!("m{n:02}")).collect();
    append(&subject, one_transfer_each(&old, "m12")).await;
    let query = ClientQuery::default().with_size(PageSize::new(3).unwrap());
    let mut seen = Vec::new();
    let mut page = subject.port.clients(&query).await.unwrap();
    for round in 0.. {
        seen.extend(page.items.iter().map(ToString::to_string));
        let Some(token) = page.next else { break };
        let (before, between) = (format!("a{round}"), format!("m{:02}+", 3 * round));
        append(&subject, [transfer(&format!("n{round}"), &before, &between, 1)]).await;
        page = subject.port.clients(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "in order, and none twice: {seen:?}");
    let found = seen.iter().filter(|name| name.starts_with('m') && name.len() == 3).count();
    assert_eq!(found, 13, "every client that was there before the first page: {seen:?}");
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! event_store_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args event_store:
            es1_outcomes_are_dense_and_in_order,
            es2_second_append_is_duplicate,
            es2_a_duplicate_carries_the_times_of_the_first_append,
            es2_other_content_is_conflict_and_changes_nothing,
            es2_untimed_resend_is_duplicate_with_the_stored_time,
            es3_racing_appends_store_once,
            es3_losers_of_a_race_learn_the_times_of_the_winner,
            es4_appended_is_visible_at_once,
            es5_resending_a_partly_stored_batch_is_safe,
            es6_get_answers_what_was_stored,
            es7_newest_first_and_ties_by_descending_id,
            es7_filters_select_by_role,
            es7_an_unknown_client_has_an_empty_page,
            es8_pages_have_no_gap_and_no_double,
            es8_pages_survive_inserts,
            es8_the_last_page_has_no_token,
            es9_ranges_are_half_open,
            es10_clients_that_look_alike_are_apart,
            es11_clients_come_in_byte_order,
            es11_a_client_of_every_role_comes_once,
            es11_a_conflict_makes_no_client,
            es11_pages_hold_every_client_once,
            es11_pages_survive_inserts,
        }
    };
}

/// Emits the [`EventStore`](crate::port::EventStore) suite for the fixture that a future answers.
#[macro_export]
macro_rules! event_store_conformance {
    ($fixture:expr) => {
        $crate::event_store_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
