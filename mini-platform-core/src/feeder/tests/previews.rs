//! What a preview tells, and that a refresh then does it.

use super::*;

fn names(entries: &[crate::domain::ListEntry]) -> Vec<&str> {
    entries.iter().map(crate::domain::ListEntry::as_str).collect()
}

async fn preview(feeder: &Feeder) -> Preview {
    feeder.preview(MatchMode::Normalized).await.unwrap()
}

#[tokio::test]
async fn it_names_what_is_added_and_removed_and_changes_nothing() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\nBob\nEve\n"));
    let mut feeder = feeder(&registry, &source);
    let first = preview(&feeder).await;
    assert_eq!((names(&first.added), first.removed.len()), (vec!["Ann", "Bob", "Eve"], 0));
    assert!(matches!(first.verdict, PreviewVerdict::Replaced) && first.in_force.is_none(), "{first:?}");
    assert!(registry.in_force().await.unwrap().is_none());

    let in_force = replaced(feeder.refresh().await);
    source.publish(2, "EVE\nZoe\nBob\nYan\nzoe\n");
    let preview = preview(&feeder).await;
    assert_eq!((names(&preview.added), names(&preview.removed)), (vec!["Yan", "Zoe"], vec!["Ann"]));
    assert_eq!((preview.entries, preview.malformed), (4, 0));
    assert_eq!(preview.version, version(2, "EVE\nZoe\nBob\nYan\nzoe\n"));
    assert_eq!(preview.in_force.as_ref(), Some(&in_force.version));
    assert_eq!(registry.in_force().await.unwrap(), Some(in_force));
    assert_eq!(
        replaced(feeder.refresh().await).entries,
        4,
        "a preview does not keep the refresh from reading"
    );
}

#[tokio::test]
async fn in_exact_mode_another_spelling_is_another_name() {
    let registry = Arc::new(MemoryFraudRegistry::new(MatchMode::Exact, Arc::new(SystemClock)));
    let source = TestSource::new("file:list", "Ann\n");
    let mut feeder = feeder(&registry, &source);
    replaced(feeder.refresh().await);
    source.publish(2, "ANN\n");
    let preview = feeder.preview(MatchMode::Exact).await.unwrap();
    assert_eq!((names(&preview.added), names(&preview.removed)), (vec!["ANN"], vec!["Ann"]));
}

#[tokio::test]
async fn a_refresh_does_what_the_preview_says() {
    let (registry, source) = (registry(), TestSource::new("file:list", "A\nB\nC\nD\n"));
    source.publish(100, "A\nB\nC\nD\n");
    let mut feeder = feeder(&registry, &source);
    replaced(feeder.refresh().await);
    for (second, content, changes) in [
        (100, "A\nB\nC\nD\n", (0, 0)),
        (101, "A\n", (0, 3)),
        (102, "<html>", (0, 0)),
        (103, "", (0, 0)),
        (50, "A\nB\nE\n", (1, 2)),
        (51, "<html>", (0, 0)),
        (104, "A\nB\nE\n", (1, 2)),
    ] {
        source.publish(second, content);
        let told = preview(&feeder).await;
        let done = feeder.refresh().await;
        let agrees = match (&told.verdict, &done) {
            (PreviewVerdict::Unchanged, Ok(Refresh::Unchanged))
            | (PreviewVerdict::Replaced, Ok(Refresh::Replaced { .. })) => true,
            (PreviewVerdict::Stale { newest }, Ok(Refresh::Stale { newest: real })) => newest == real,
            (PreviewVerdict::Refused(reason), Err(RefreshError::Refused(real))) => {
                format!("{reason:?}") == format!("{real:?}")
            }
            _ => false,
        };
        assert!(agrees, "{content:?} at {second}: {told:?}, but {done:?}");
        assert_eq!(told.verdict.refusal(), Refusal::of(&done), "{content:?} at {second}");
        assert_eq!((told.added.len(), told.removed.len()), changes, "{content:?} at {second}");
    }
}

#[tokio::test]
async fn after_a_rollback_it_shows_how_the_source_differs_although_nothing_would_change() {
    let (_, feeder, _) = rolled_back().await;
    let preview = preview(&feeder).await;
    assert!(matches!(preview.verdict, PreviewVerdict::Unchanged), "{preview:?}");
    assert_eq!((names(&preview.added), names(&preview.removed)), (vec!["C"], vec!["B"]));
}

#[tokio::test]
async fn a_source_that_fails_is_an_error_and_no_refusal() {
    let (registry, source) = (registry(), TestSource::new("file:list", "A\n"));
    source.publish_with(2, "A\nB\n", Tail::Fail);
    let failed = feeder(&registry, &source).preview(MatchMode::Normalized).await;
    assert!(matches!(failed, Err(RefreshError::Source(_))), "{failed:?}");
    source.publish_with(3, "A\nB\n", Tail::Hang);
    let hangs = feeder(&registry, &source).with_timeout(Duration::from_millis(50));
    assert!(matches!(hangs.preview(MatchMode::Normalized).await, Err(RefreshError::TimedOut(_))));
}
