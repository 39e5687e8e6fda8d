//! Several feeders on one registry.

use super::*;
use crate::telemetry::probe::Logs;

#[tokio::test]
async fn the_newest_publication_wins_however_slow_its_rival() {
    let (registry, source) = (registry(), TestSource::new("file:slow", "Ann\nOld\n"));
    source.publish_with(5, "Ann\nOld\n", Tail::Gate);
    let mut slow = feeder(&registry, &source);
    let slow = tokio::spawn(async move { slow.refresh().await });
    until_opened(&source).await;

    let newer = TestSource::new("file:fast", "Ann\nNew\n");
    newer.publish(9, "Ann\nNew\n");
    let newest = replaced(feeder(&registry, &newer).refresh().await).version;

    source.gate.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap(), Refresh::Stale { newest });
    assert!(stops(&registry, "New").await && !stops(&registry, "Old").await);
}

#[tokio::test]
async fn the_newest_publication_wins_when_it_is_the_slow_one() {
    let (registry, source) = (registry(), TestSource::new("file:slow", "Ann\nNew\n"));
    source.publish_with(9, "Ann\nNew\n", Tail::Gate);
    let mut slow = feeder(&registry, &source);
    let slow = tokio::spawn(async move { slow.refresh().await });
    until_opened(&source).await;

    let older = TestSource::new("file:fast", "Ann\nOld\n");
    older.publish(5, "Ann\nOld\n");
    replaced(feeder(&registry, &older).refresh().await);

    source.gate.add_permits(1);
    replaced(slow.await.unwrap());
    assert!(stops(&registry, "New").await && !stops(&registry, "Old").await);
}

#[tokio::test]
async fn feeders_of_one_source_find_each_others_work_done() {
    let (registry, source) = (registry(), TestSource::new("file:list", "Ann\n"));
    let (mut one, mut other) = (feeder(&registry, &source), feeder(&registry, &source));
    for second in 2..5 {
        source.publish(second, &format!("Ann\nName {second}\n"));
        replaced(one.refresh().await);
        assert_eq!(other.refresh().await.unwrap(), Refresh::Unchanged);
    }
    assert_eq!(registry.history().await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stale_feeder_says_so_once() {
    let logs = Logs::default();
    let _logging = tracing::subscriber::set_default(logs.clone());
    let (registry, source) = (registry(), TestSource::new("file:old", "Ann\nOld\n"));
    let newer = TestSource::new("file:new", "Ann\nNew\n");
    newer.publish(9, "Ann\nNew\n");
    replaced(feeder(&registry, &newer).refresh().await);

    let shutdown = CancellationToken::new();
    let stale = feeder(&registry, &source).with_interval(Duration::from_secs(5));
    let running = tokio::spawn(stale.run(shutdown.clone()));
    eventually("it goes on to look", async || source.looks() > 5).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(logs.count("refusal.reason=\"stale\""), 1);
    assert!(stops(&registry, "New").await && !stops(&registry, "Old").await);
}

#[test]
fn jitter_only_shortens_pauses_and_differs_between_feeders() {
    let interval = Duration::from_secs(30);
    let pauses = |share: f64, seed: u64| -> Vec<Duration> {
        let source = TestSource::new("file:list", "Ann\n");
        let mut feeder = feeder(&registry(), &source)
            .with_interval(interval)
            .with_jitter(Ratio::new(share).unwrap(), seed);
        (0..100).map(|_| feeder.pause()).collect()
    };
    assert!(pauses(0.0, 1).iter().all(|pause| *pause == interval));
    let tenth = pauses(0.1, 1);
    assert!(tenth.iter().all(|pause| (27_000..=30_000).contains(&pause.as_millis())), "{tenth:?}");
    assert!(tenth.iter().any(|pause| pause.as_millis() < 27_500));
    assert!(tenth.iter().any(|pause| pause.as_millis() > 29_500));
    assert_eq!(tenth, pauses(0.1, 1));
    assert_ne!(tenth, pauses(0.1, 2));
    assert!(pauses(1.0, 1).iter().all(|pause| *pause >= MIN_INTERVAL), "no jitter makes it spin");
}
