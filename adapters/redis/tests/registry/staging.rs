//! Lists on their way in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mini_platform_core::domain::{ListEntry, MatchMode};
use mini_platform_core::error::{FaultKind, RegistryError, SourceError};
use mini_platform_core::port::{FraudList, FraudRegistry, ReplaceOutcome, SystemClock};
use mini_platform_core::testkit::list_version;
use mini_platform_redis::testkit::{RedisServer, wait_until};
use mini_platform_redis::{Redis, RedisConfig, RedisFraudRegistry};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::common::{entry, fault_kind, feed, hits, server_with_registry, staging_keys};

type Chunk = Result<Vec<ListEntry>, SourceError>;

/// A list whose chunks are sent while it is replaced.
fn open_list(published_at: i64) -> (mpsc::Sender<Chunk>, FraudList) {
    let (sender, receiver) = mpsc::channel(1);
    let chunks = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let list =
        FraudList { version: list_version(published_at), source: "test".to_owned(), chunks: chunks.boxed() };
    (sender, list)
}

/// As many names as are written at once.
fn whole_batch() -> Chunk {
    Ok((0..1_024).map(|number| entry(&format!("Name {number}"))).collect())
}

fn is_staging(server: &RedisServer) -> bool {
    !staging_keys(server).is_empty()
}

async fn with_short_staging(server: &RedisServer) -> RedisFraudRegistry {
    let config = RedisConfig::new(server.url()).with_staging_ttl(Duration::from_secs(1));
    Redis::connect(&config).await.unwrap().registry(MatchMode::default(), Arc::new(SystemClock))
}

/// A replacement that is under way and has written a batch.
async fn staging_feeder(
    server: &RedisServer,
    registry: &RedisFraudRegistry,
) -> (mpsc::Sender<Chunk>, JoinHandle<Result<ReplaceOutcome, RegistryError>>) {
    let (sender, list) = open_list(2);
    let registry = registry.clone();
    let feeder = tokio::spawn(async move { registry.replace(list).await });
    sender.send(whole_batch()).await.unwrap();
    wait_until("a batch is written", || is_staging(server));
    (sender, feeder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crashed_feeder_wrote_goes_by_itself() {
    let Some(server) = RedisServer::start() else { return };
    let registry = with_short_staging(&server).await;
    feed(&registry, 1, &["old"]).await;
    let (_sender, feeder) = staging_feeder(&server, &registry).await;
    feeder.abort();
    wait_until("it is gone", || !is_staging(&server));
    assert_eq!(hits(&registry, &["old", "name 1"]).await.unwrap(), [true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_in_force_does_not_go_by_itself() {
    let Some(server) = RedisServer::start() else { return };
    let registry = with_short_staging(&server).await;
    feed(&registry, 1, &["bad"]).await;
    for key in server.ask::<Vec<String>>(&["KEYS", "*"]) {
        assert_eq!(server.ask::<i64>(&["TTL", &key]), -1, "{key} stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_which_a_part_was_lost_on_the_way_does_not_come_into_force() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["old"]).await;
    let (sender, feeder) = staging_feeder(&server, &registry).await;
    server.ask::<()>(&["FLUSHALL"]);
    sender.send(Ok(vec![entry("the rest")])).await.unwrap();
    drop(sender);
    assert_eq!(fault_kind(feeder.await.unwrap()), FaultKind::Unavailable);
    assert!(matches!(hits(&registry, &["the rest"]).await, Err(RegistryError::NoList)));
    assert!(!is_staging(&server), "the rest is removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_list_leaves_nothing_behind() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    let (sender, list) = open_list(1);
    let feeder = tokio::spawn(async move { registry.replace(list).await });
    sender.send(whole_batch()).await.unwrap();
    wait_until("a batch is written", || is_staging(&server));
    sender.send(Err(SourceError::NotFound { place: "test".to_owned() })).await.unwrap();
    assert!(matches!(feeder.await.unwrap(), Err(RegistryError::Refused(_))));
    assert!(server.ask::<Vec<String>>(&["KEYS", "*"]).is_empty());
}
