//! What metrics and logs tell of a feeder.

use super::*;
use crate::telemetry::probe::{Logs, Metrics};
use crate::telemetry::{
    FEEDER_LIST_AGE, FEEDER_LIST_CONFIRMED, FEEDER_LIST_ENTRIES, FEEDER_LIST_PUBLISHED,
    FEEDER_REFRESH_DURATION, FEEDER_REFRESHES, FEEDER_REFUSALS,
};

fn refusals(metrics: &Metrics, refusal: Refusal) -> f64 {
    metrics.labelled(FEEDER_REFUSALS, "reason", refusal.as_str())
}

#[tokio::test]
async fn every_refusal_is_named_in_metric_and_log_and_leaves_the_old_list_in_force() {
    let (metrics, logs) = (Metrics::default(), Logs::default());
    let _recording = metrics::set_default_local_recorder(&metrics);
    let _logging = tracing::subscriber::set_default(logs.clone());
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\nBob\nEve\n"));
    source.publish(100, "Ann\nBob\nEve\n");
    let limits = ListLimits::default().with_max_bytes(1000).with_max_entries(100);
    let mut feeder = feeder(&registry, &source).with_limits(limits);
    let before = replaced(feeder.refresh().await);
    let mut journal = Journal::default();
    let malformed = format!("name,x\n{}Eve\n", "Ann,1\n".repeat(50));
    let many = "A\n".repeat(101);
    let large = "Ann\n".repeat(300);
    let cases = [
        (101, "", Tail::End, Refusal::Empty),
        (102, "<!DOCTYPE html><html>Sign in</html>", Tail::End, Refusal::Html),
        (103, "version https://git-lfs.github.com/spec/v1\noid x\n", Tail::End, Refusal::GitLfsPointer),
        (104, "{\"names\": []}", Tail::End, Refusal::Json),
        (105, "Ann\0Bob\nEve\n", Tail::End, Refusal::Binary),
        (106, "Ann\nBob\nEve\n", Tail::Cut, Refusal::Truncated),
        (107, "name,x\nAnn,1\nBob,2\nEve,3\n\"Zoe,4\n", Tail::End, Refusal::Truncated),
        (108, &malformed, Tail::End, Refusal::Malformed),
        (109, "Ann\n", Tail::End, Refusal::Shrunk),
        (110, &large, Tail::End, Refusal::TooLarge),
        (111, &many, Tail::End, Refusal::TooLarge),
        (99, "Ann\nBob\nOld\n", Tail::End, Refusal::Stale),
    ];
    for (second, content, tail, refusal) in cases {
        source.publish_with(second, content, tail);
        let (counted, told) = (refusals(&metrics, refusal), logs.count(&field(refusal)));
        let result = feeder.refresh().await;
        journal.note(&result, Duration::ZERO);
        assert_eq!(refusals(&metrics, refusal), counted + 1.0, "{refusal:?} at {second}: {result:?}");
        assert_eq!(logs.count(&field(refusal)), told + 1, "{refusal:?} at {second}");
        assert_eq!(registry.in_force().await.unwrap().as_ref(), Some(&before), "{refusal:?} at {second}");
        assert!(stops(&registry, "Ann").await && !stops(&registry, "Old").await);
    }
    let told: f64 = Refusal::ALL.iter().map(|refusal| refusals(&metrics, *refusal)).sum();
    assert_eq!(told, cases.len() as f64, "each is counted under one reason");
    assert_eq!(metrics.labelled(FEEDER_REFRESHES, "result", "refused"), cases.len() as f64 - 1.0);
    assert_eq!(metrics.labelled(FEEDER_REFRESHES, "result", "stale"), 1.0);
    assert_eq!(logs.count("Ann"), 0, "no log shows a name");
}

fn field(refusal: Refusal) -> String {
    format!("refusal.reason={:?}", refusal.as_str())
}

#[tokio::test]
async fn a_refusal_is_counted_at_every_look_as_long_as_it_lasts() {
    let metrics = Metrics::default();
    let _recording = metrics::set_default_local_recorder(&metrics);
    let (registry, source) = (registry(), TestSource::new("file:list", "<html>"));
    let mut feeder = feeder(&registry, &source);
    for _ in 0..3 {
        feeder.refresh().await.unwrap_err();
    }
    assert_eq!((refusals(&metrics, Refusal::Html), source.opened()), (3.0, 1));
}

#[tokio::test]
async fn the_age_of_the_list_counts_from_when_it_was_last_the_newest() {
    let metrics = Metrics::default();
    let _recording = metrics::set_default_local_recorder(&metrics);
    let clock = Arc::new(ManualClock::new(at(1_000)));
    let registry = Arc::new(MemoryFraudRegistry::new(MatchMode::Normalized, Arc::clone(&clock) as _));
    let source = TestSource::new("file:list", "Ann\nBob\n");
    source.publish(600, "Ann\nBob\n");
    let mut feeder = feeder(&registry, &source).with_clock(Arc::clone(&clock) as _);
    let gauges = || {
        [FEEDER_LIST_ENTRIES, FEEDER_LIST_PUBLISHED, FEEDER_LIST_CONFIRMED, FEEDER_LIST_AGE]
            .map(|name| metrics.get(name))
    };
    let mut look = async || {
        let _ = feeder.refresh().await;
        gauges()
    };
    assert_eq!(look().await, [2.0, 600.0, 1_000.0, 0.0], "a new list");
    clock.advance(Duration::from_secs(30));
    assert_eq!(look().await, [2.0, 600.0, 1_030.0, 0.0], "an unchanged source confirms it");
    source.set_down(true);
    clock.advance(Duration::from_secs(30));
    assert_eq!(look().await, [2.0, 600.0, 1_030.0, 30.0], "a source that is down does not");
    source.set_down(false);
    source.publish(700, "");
    clock.advance(Duration::from_secs(30));
    assert_eq!(look().await, [2.0, 600.0, 1_030.0, 60.0], "nor does a refusal");
    source.publish(800, "Ann\n");
    assert_eq!(look().await, [1.0, 800.0, 1_090.0, 0.0]);
    assert_eq!(metrics.get(FEEDER_REFRESH_DURATION), 5.0);
    assert_eq!(metrics.labelled(FEEDER_REFRESHES, "result", "source_failed"), 1.0);
}

#[tokio::test]
async fn after_a_restart_the_age_counts_from_when_the_list_was_loaded() {
    let metrics = Metrics::default();
    let _recording = metrics::set_default_local_recorder(&metrics);
    let clock = Arc::new(ManualClock::new(at(1_000)));
    let registry = Arc::new(MemoryFraudRegistry::new(MatchMode::Normalized, Arc::clone(&clock) as _));
    let source = TestSource::new("file:list", "Ann\n");
    replaced(feeder(&registry, &source).refresh().await);
    clock.advance(Duration::from_secs(500));
    source.set_down(true);
    let restarted = feeder(&registry, &source).with_clock(clock).refresh().await;
    assert!(restarted.is_err());
    assert_eq!((metrics.get(FEEDER_LIST_CONFIRMED), metrics.get(FEEDER_LIST_AGE)), (1_000.0, 500.0));
}
