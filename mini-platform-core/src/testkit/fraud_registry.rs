//! What every [`FraudRegistry`] must do. The fixture matches names in the default mode, normalised.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use super::{Fixture, client, fraud_list, list_version};
use crate::domain::{ListEntry, ListInfo, ListVersion, Screening, Verdict};
use crate::error::{RegistryError, SourceError};
use crate::port::{FraudList, FraudRegistry, KEPT_VERSIONS, ReplaceOutcome};

type Subject = Fixture<dyn FraudRegistry>;

async fn replace(subject: &Subject, published_at: i64, names: &[&str]) -> ReplaceOutcome {
    subject.port.replace(fraud_list(published_at, names)).await.unwrap()
}

async fn screen(subject: &Subject, names: &[&str]) -> Screening {
    let subjects: Vec<_> = names.iter().map(|name| client(name)).collect();
    subject.port.screen(&subjects).await.unwrap()
}

async fn hits(subject: &Subject, names: &[&str]) -> Vec<bool> {
    screen(subject, names).await.verdicts.iter().map(|verdict| *verdict != Verdict::Clear).collect()
}

async fn in_force(subject: &Subject) -> ListInfo {
    subject.port.in_force().await.unwrap().expect("a list is in force")
}

/// FR-1: hits and clear names mixed, repeated, and none at all.
pub async fn fr1_verdicts_are_dense_and_in_order(subject: Subject) {
    replace(&subject, 1, &["bad", "worse"]).await;
    let screening = screen(&subject, &["good", "bad", "good", "worse", "bad"]).await;
    assert_eq!(screening.version, list_version(1));
    assert_eq!(
        hits(&subject, &["good", "bad", "good", "worse", "bad"]).await,
        [false, true, false, true, true]
    );
    assert!(screen(&subject, &[]).await.verdicts.is_empty());
}

/// FR-2: a fresh registry.
pub async fn fr2_without_a_list_nothing_is_clear(subject: Subject) {
    for subjects in [vec![], vec![client("good")]] {
        let refused = subject.port.screen(&subjects).await;
        assert!(matches!(refused, Err(RegistryError::NoList)), "no list means no verdict: {refused:?}");
    }
    assert_eq!(subject.port.in_force().await.unwrap(), None);
    assert!(subject.port.history().await.unwrap().is_empty());
}

/// FR-3: spelling does not help, and the hit shows the published spelling.
pub async fn fr3_a_hit_names_the_entry_as_published(subject: Subject) {
    replace(&subject, 1, &["MALKEVICH,  Alexander", "Straße & Söhne"]).await;
    for (name, entry) in
        [("malkevich, ALEXANDER", "MALKEVICH,  Alexander"), ("STRASSE & SO\u{308}HNE", "Straße & Söhne")]
    {
        let expected = Verdict::Hit { entry: ListEntry::new(entry).unwrap() };
        assert_eq!(screen(&subject, &[name]).await.verdicts, [expected], "{name}");
    }
}

/// FR-4: a removed name passes, an added one is stopped.
pub async fn fr4_replace_removes_and_adds(subject: Subject) {
    replace(&subject, 1, &["old", "both"]).await;
    let outcome = replace(&subject, 2, &["both", "new"]).await;
    let ReplaceOutcome::Replaced(info) = outcome else { panic!("a newer list replaces: {outcome:?}") };
    assert_eq!((info.version.clone(), info.entries), (list_version(2), 2));
    assert_eq!(info.source, "test");
    assert_eq!(in_force(&subject).await, info);
    assert_eq!(hits(&subject, &["old", "both", "new"]).await, [false, true, true]);
}

/// FR-4: readers during thirty swaps between two lists that share no name.
pub async fn fr4_readers_never_see_a_mix(subject: Subject) {
    let lists = [["a1", "a2", "a3", "a4"], ["b1", "b2", "b3", "b4"]];
    replace(&subject, 0, &lists[0]).await;
    let (reads, mut read) = watch::channel(0_u32);
    let reader = tokio::spawn(check_until_nobody_watches(subject.port.clone(), lists.concat(), reads));
    for published_at in 1..=30_usize {
        replace(&subject, i64::try_from(published_at).unwrap(), &lists[published_at % 2]).await;
        // The reader looks at least once between two swaps; it drops its end when it finds a mix.
        if read.changed().await.is_err() {
            break;
        }
    }
    drop(read);
    reader.await.unwrap();
}

async fn check_until_nobody_watches(
    port: Arc<dyn FraudRegistry>,
    names: Vec<&str>,
    reads: watch::Sender<u32>,
) {
    let subjects: Vec<_> = names.iter().map(|name| client(name)).collect();
    while !reads.is_closed() {
        let screening = port.screen(&subjects).await.unwrap();
        let hits: Vec<bool> = screening.verdicts.iter().map(|verdict| *verdict != Verdict::Clear).collect();
        let second = screening.version.published_at().as_micros() / 1_000_000 % 2 == 1;
        let expected: Vec<bool> = (0..hits.len()).map(|n| (n >= 4) == second).collect();
        assert_eq!(hits, expected, "all verdicts come from the version that is named");
        reads.send_modify(|count| *count += 1);
        tokio::task::yield_now().await;
    }
}

/// FR-5: the stream breaks after its first chunk.
pub async fn fr5_a_broken_stream_leaves_the_old_list(subject: Subject) {
    replace(&subject, 1, &["old"]).await;
    let broken = SourceError::NotFound { place: "test".to_owned() };
    let chunks = vec![Ok(vec![ListEntry::new("new").unwrap()]), Err(broken)];
    let list = FraudList {
        version: list_version(2),
        source: "test".to_owned(),
        chunks: stream::iter(chunks).boxed(),
    };
    let refused = subject.port.replace(list).await;
    assert!(matches!(refused, Err(RegistryError::Refused(SourceError::NotFound { .. }))), "{refused:?}");
    assert_eq!(hits(&subject, &["old", "new"]).await, [true, false]);
    assert_eq!(in_force(&subject).await.version, list_version(1));
    let again = replace(&subject, 2, &["new"]).await;
    assert!(matches!(again, ReplaceOutcome::Replaced(_)), "the version may be tried again: {again:?}");
}

/// FR-6: an older list and the same one.
pub async fn fr6_an_older_or_equal_list_is_stale(subject: Subject) {
    replace(&subject, 5, &["new"]).await;
    for published_at in [4, 5] {
        let outcome = replace(&subject, published_at, &["other"]).await;
        assert_eq!(outcome, ReplaceOutcome::Stale { newest: list_version(5) });
    }
    assert_eq!(hits(&subject, &["new", "other"]).await, [true, false]);
}

/// FR-6: what was rolled back does not come back by itself.
pub async fn fr6_a_rollback_is_not_undone_by_the_same_list(subject: Subject) {
    replace(&subject, 1, &["old"]).await;
    replace(&subject, 2, &["mistake"]).await;
    subject.port.rollback(&list_version(1)).await.unwrap();
    assert_eq!(replace(&subject, 2, &["mistake"]).await, ReplaceOutcome::Stale { newest: list_version(2) });
    assert_eq!(hits(&subject, &["old", "mistake"]).await, [true, false]);
    assert!(matches!(replace(&subject, 3, &["mended"]).await, ReplaceOutcome::Replaced(_)));
}

/// FR-8: two more versions than are kept.
pub async fn fr8_the_last_versions_are_kept(subject: Subject) {
    let count = i64::try_from(KEPT_VERSIONS).unwrap() + 2;
    for published_at in 1..=count {
        replace(&subject, published_at, &["name"]).await;
    }
    let history = subject.port.history().await.unwrap();
    let versions: Vec<_> = history.into_iter().map(|info| info.version).collect();
    let expected: Vec<_> = (3..=count).rev().map(list_version).collect();
    assert_eq!(versions, expected, "the newest publications, newest first");
}

/// FR-9: back to an older version, and forth again.
pub async fn fr9_rollback_puts_a_kept_version_in_force(subject: Subject) {
    replace(&subject, 1, &["one"]).await;
    replace(&subject, 2, &["two"]).await;
    let info = subject.port.rollback(&list_version(1)).await.unwrap();
    assert_eq!((info.version, info.entries), (list_version(1), 1));
    assert_eq!(screen(&subject, &[]).await.version, list_version(1));
    assert_eq!(hits(&subject, &["one", "two"]).await, [true, false]);
    subject.port.rollback(&list_version(2)).await.unwrap();
    assert_eq!(hits(&subject, &["one", "two"]).await, [false, true]);
    assert_eq!(subject.port.history().await.unwrap().len(), 2, "a rollback loses no version");
}

/// FR-9: a version that never was, and one that is kept no more.
pub async fn fr9_an_unknown_version_is_refused(subject: Subject) {
    for published_at in 1..=i64::try_from(KEPT_VERSIONS).unwrap() + 1 {
        replace(&subject, published_at, &["name"]).await;
    }
    for published_at in [1, 99] {
        let refused = subject.port.rollback(&list_version(published_at)).await;
        assert!(matches!(refused, Err(RegistryError::UnknownVersion(_))), "{refused:?}");
    }
    assert_eq!(in_force(&subject).await.version, list_version(6));
}

/// FR-10: two spellings of one name.
pub async fn fr10_equal_entries_count_once(subject: Subject) {
    let outcome = replace(&subject, 1, &["Ann Bee", "ANN  BEE", "Bob", "bob"]).await;
    let ReplaceOutcome::Replaced(info) = outcome else { panic!("the first list replaces: {outcome:?}") };
    assert_eq!(info.entries, 2);
}

/// Reads the entries of a version back, in order of their texts.
pub(super) async fn all_entries(
    registry: &dyn FraudRegistry,
    version: &ListVersion,
) -> Result<Vec<String>, RegistryError> {
    let chunks: Vec<_> = registry.entries(version).await?.try_collect().await?;
    let mut texts: Vec<String> = chunks.concat().iter().map(|entry| entry.as_str().to_owned()).collect();
    texts.sort();
    Ok(texts)
}

async fn entries(subject: &Subject, published_at: i64) -> Vec<String> {
    all_entries(&*subject.port, &list_version(published_at)).await.unwrap()
}

/// FR-11: of the list in force, of an older one, and after a rollback, as they were published.
pub async fn fr11_entries_are_those_of_the_version(subject: Subject) {
    replace(&subject, 1, &["old", "BOTH  Of them"]).await;
    replace(&subject, 2, &["Straße & Söhne", "both of them", "O'Neil \"\\🦀"]).await;
    let check = async || {
        assert_eq!(entries(&subject, 1).await, ["BOTH  Of them", "old"]);
        assert_eq!(entries(&subject, 2).await, ["O'Neil \"\\🦀", "Straße & Söhne", "both of them"]);
    };
    check().await;
    subject.port.rollback(&list_version(1)).await.unwrap();
    check().await;
}

/// FR-11: before the first list, a version that never was, and one that is kept no more.
pub async fn fr11_an_unknown_version_is_refused(subject: Subject) {
    let refused = subject.port.entries(&list_version(1)).await.err();
    assert!(matches!(refused, Some(RegistryError::UnknownVersion(_))), "{refused:?}");
    for published_at in 1..=i64::try_from(KEPT_VERSIONS).unwrap() + 1 {
        replace(&subject, published_at, &["name"]).await;
    }
    for published_at in [1, 99] {
        let refused = subject.port.entries(&list_version(published_at)).await.err();
        assert!(matches!(refused, Some(RegistryError::UnknownVersion(_))), "{refused:?}");
    }
}

/// FR-11: two spellings of one name; either is what its publisher wrote.
pub async fn fr11_equal_entries_come_once(subject: Subject) {
    replace(&subject, 1, &["Ann Bee", "Bob", "ANN  BEE", "Zoe"]).await;
    let entries = entries(&subject, 1).await;
    assert_eq!(u64::try_from(entries.len()).unwrap(), in_force(&subject).await.entries);
    assert!(["ANN  BEE", "Ann Bee"].contains(&entries[0].as_str()), "{entries:?}");
    assert_eq!(entries[1..], ["Bob", "Zoe"]);
}

/// Returns a list of many names, in chunks of 700.
fn large_list(published_at: i64, names: &[String]) -> FraudList {
    let entries: Vec<ListEntry> = names.iter().map(|name| ListEntry::new(name).unwrap()).collect();
    let chunks: Vec<_> = entries.chunks(700).map(|chunk| Ok(chunk.to_vec())).collect();
    let chunks = stream::iter(chunks).boxed();
    FraudList { version: list_version(published_at), source: "test".to_owned(), chunks }
}

/// How many names a large list has: more than a backend answers at once.
const LARGE: usize = 5_000;

fn large_names() -> Vec<String> {
    (0..LARGE).map(|n| format!("Name {n:05} of a list that is large")).collect()
}

/// FR-11: five thousand names.
pub async fn fr11_a_large_list_is_read_whole(subject: Subject) {
    let names = large_names();
    subject.port.replace(large_list(1, &names)).await.unwrap();
    let entries = entries(&subject, 1).await;
    assert_eq!(entries.len(), LARGE);
    assert!(entries == names, "each name comes once");
}

/// FR-11: the version is trimmed while it is read.
pub async fn fr11_a_list_that_is_trimmed_is_never_read_short(subject: Subject) {
    subject.port.replace(large_list(1, &large_names())).await.unwrap();
    let mut chunks = subject.port.entries(&list_version(1)).await.unwrap();
    let mut read = chunks.next().await.expect("the list is not empty").unwrap().len();
    for published_at in 2..=i64::try_from(KEPT_VERSIONS).unwrap() + 1 {
        replace(&subject, published_at, &["name"]).await;
    }
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => read += chunk.len(),
            Err(_) => return,
        }
    }
    assert_eq!(read, LARGE, "a stream without an error is whole");
}

/// Confirms a list at a later time than whatever happened before.
async fn confirm(subject: &Subject, published_at: i64) -> Option<ListInfo> {
    // Longer than the finest clock needs to show another time.
    tokio::time::sleep(Duration::from_millis(2)).await;
    subject.port.confirm(&list_version(published_at)).await.unwrap()
}

/// FR-12: twice, and nothing else of the list changes.
pub async fn fr12_the_list_in_force_tells_when_it_was_confirmed(subject: Subject) {
    let outcome = replace(&subject, 1, &["bad"]).await;
    let ReplaceOutcome::Replaced(mut last) = outcome else { panic!("the first list replaces: {outcome:?}") };
    assert_eq!(last.confirmed_at, last.loaded_at, "nobody has confirmed it yet");
    for _ in 0..2 {
        let confirmed = confirm(&subject, 1).await.expect("it is in force");
        assert!(confirmed.confirmed_at > last.confirmed_at, "{confirmed:?} after {last:?}");
        assert_eq!(confirmed, ListInfo { confirmed_at: confirmed.confirmed_at, ..last });
        assert_eq!(in_force(&subject).await, confirmed);
        assert_eq!(subject.port.history().await.unwrap(), std::slice::from_ref(&confirmed));
        last = confirmed;
    }
    assert_eq!(hits(&subject, &["good", "bad"]).await, [false, true]);
}

/// FR-12: before the first list, a kept version that is not in force, and one that never was.
pub async fn fr12_only_the_version_in_force_is_confirmed(subject: Subject) {
    assert_eq!(confirm(&subject, 1).await, None);
    replace(&subject, 1, &["old"]).await;
    replace(&subject, 2, &["new"]).await;
    let (before, history) = (in_force(&subject).await, subject.port.history().await.unwrap());
    for published_at in [1, 99] {
        assert_eq!(confirm(&subject, published_at).await, None);
    }
    assert_eq!(in_force(&subject).await, before);
    assert_eq!(subject.port.history().await.unwrap(), history);
    let confirmed = confirm(&subject, 2).await.expect("it is in force");
    let old = subject.port.history().await.unwrap().pop().expect("two lists are kept");
    assert_eq!((old.version, old.confirmed_at), (list_version(1), old.loaded_at), "after {confirmed:?}");
}

/// FR-12: a rollback and a new list, each after a list was confirmed.
pub async fn fr12_a_change_of_the_list_takes_no_confirmation_back(subject: Subject) {
    replace(&subject, 1, &["old"]).await;
    replace(&subject, 2, &["mistake"]).await;
    let confirmed = confirm(&subject, 2).await.expect("it is in force").confirmed_at;
    let back = subject.port.rollback(&list_version(1)).await.unwrap();
    assert_eq!((&back.version, back.confirmed_at), (&list_version(1), confirmed));
    assert_eq!(in_force(&subject).await, back);
    assert_eq!(confirm(&subject, 2).await, None, "it is not in force any more");
    let again = confirm(&subject, 1).await.expect("it is in force").confirmed_at;
    assert!(again > confirmed);
    replace(&subject, 3, &["mended"]).await;
    assert!(in_force(&subject).await.confirmed_at >= again);
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! fraud_registry_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args fraud_registry:
            fr1_verdicts_are_dense_and_in_order,
            fr2_without_a_list_nothing_is_clear,
            fr3_a_hit_names_the_entry_as_published,
            fr4_replace_removes_and_adds,
            fr4_readers_never_see_a_mix,
            fr5_a_broken_stream_leaves_the_old_list,
            fr6_an_older_or_equal_list_is_stale,
            fr6_a_rollback_is_not_undone_by_the_same_list,
            fr8_the_last_versions_are_kept,
            fr9_rollback_puts_a_kept_version_in_force,
            fr9_an_unknown_version_is_refused,
            fr10_equal_entries_count_once,
            fr11_entries_are_those_of_the_version,
            fr11_an_unknown_version_is_refused,
            fr11_equal_entries_come_once,
            fr11_a_large_list_is_read_whole,
            fr11_a_list_that_is_trimmed_is_never_read_short,
            fr12_the_list_in_force_tells_when_it_was_confirmed,
            fr12_only_the_version_in_force_is_confirmed,
            fr12_a_change_of_the_list_takes_no_confirmation_back,
        }
    };
}

/// Emits the [`FraudRegistry`](crate::port::FraudRegistry) suite for the fixture that a future answers.
#[macro_export]
macro_rules! fraud_registry_conformance {
    ($fixture:expr) => {
        $crate::fraud_registry_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
