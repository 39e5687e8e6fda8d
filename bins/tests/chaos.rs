//! Servers that are killed and come back under load: nothing acknowledged is lost or doubled, screening fails closed,
//! and the platform recovers without a restart of its own.
//!
//! Skipped without servers: `scripts/test-servers run cargo nextest run -p mini-platform-bins --features full`.

#![cfg(feature = "full")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mini_platform_bins::client::PlatformClient;
use mini_platform_mongodb::testkit::MongoSet;
use mini_platform_redis::testkit::RedisServer;
use support::load::{Load, assert_each_is_stored_once, event};
use support::{PROGRAM, Running, complaint, printed, wait_until};
use tempfile::TempDir;

/// How many events are acknowledged between two blows.
const BETWEEN_BLOWS: usize = 2_000;

/// The platform on servers of its own.
struct Setup {
    mongodb: MongoSet,
    redis: RedisServer,
    platform: Running,
    settings: Vec<String>,
    _folder: TempDir,
}

async fn setup(nodes: usize, more: &[&str]) -> Option<Setup> {
    let (mongodb, redis) = (MongoSet::start(nodes).await?, RedisServer::start()?);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&mongodb, &redis, folder.path(), more);
    let sets: Vec<&str> = settings.iter().map(String::as_str).collect();
    let platform = Running::spawn(Command::new(PROGRAM), &sets, "ready");
    Some(Setup { mongodb, redis, platform, settings, _folder: folder })
}

fn settings(mongodb: &MongoSet, redis: &RedisServer, folder: &Path, more: &[&str]) -> Vec<String> {
    let list = folder.join("list.txt");
    fs::write(&list, "Mallory\n").unwrap();
    let own = [
        "http.listen=127.0.0.1:0".to_owned(),
        "store.backend=mongodb".to_owned(),
        "adjacency.backend=redis".to_owned(),
        "registry.backend=redis".to_owned(),
        format!("mongodb.uri={}", mongodb.uri()),
        format!("redis.url={}", redis.url()),
        format!("feeder.source=file:{}", list.display()),
        "dispatch.timeout=3s".to_owned(),
    ];
    own.into_iter().chain(more.iter().map(|more| (*more).to_owned())).collect()
}

impl Setup {
    fn client(&self) -> PlatformClient {
        PlatformClient::new(self.platform.base().parse().unwrap())
    }

    fn wait_until(&self, what: &str, holds: impl FnMut() -> bool) {
        wait_until(what, || self.platform.log(), holds);
    }
}

fn assert_links_are_as_implied(setup: &Setup) {
    let sets = setup.settings.iter().flat_map(|setting| ["--set", setting]);
    let verified = Command::new(PROGRAM).arg("verify").args(sets).output().unwrap();
    assert!(verified.status.success(), "{}{}", printed(&verified), complaint(&verified));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_servers_are_killed_under_load() {
    let Some(mut setup) = setup(3, &[]).await else { return };
    let load = Load::start(&setup.platform);
    load.go_on(&setup.platform, BETWEEN_BLOWS);
    for _ in 0..2 {
        let primary = setup.mongodb.kill_primary().await;
        load.go_on(&setup.platform, BETWEEN_BLOWS);
        setup.mongodb.restart(primary);
        setup.mongodb.wait_until_steady().await;
        setup.redis.kill();
        // Down for a while: some batches are stored and cannot be linked.
        tokio::time::sleep(Duration::from_secs(1)).await;
        setup.redis.restart();
        load.go_on(&setup.platform, BETWEEN_BLOWS);
    }
    let (events, ledger) = load.finish().await;
    assert_each_is_stored_once(&setup.platform, &events, &ledger).await;
    assert_links_are_as_implied(&setup);
    eprintln!("{} acknowledged", ledger.count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_mongodb_that_is_gone_for_a_while_costs_nothing_but_time() {
    let Some(mut setup) = setup(1, &[]).await else { return };
    let load = Load::start(&setup.platform);
    load.go_on(&setup.platform, BETWEEN_BLOWS);
    setup.mongodb.kill(0);
    setup.wait_until("events are put off", || load.put_off() > 0);
    setup.mongodb.restart(0);
    load.go_on(&setup.platform, BETWEEN_BLOWS);
    let (events, ledger) = load.finish().await;
    assert_each_is_stored_once(&setup.platform, &events, &ledger).await;
    assert_links_are_as_implied(&setup);
}

/// Asks whether a name is on the list.
fn check(setup: &Setup, name: &str) -> (u16, String) {
    setup.platform.get(&format!("/v1/fraud-list/check?name={name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn screening_goes_on_with_the_copy_and_fails_closed_when_that_is_too_old() {
    let Some(mut setup) = setup(1, &["registry.max_staleness=5s"]).await else { return };
    setup.wait_until("there is a copy of the list", || {
        setup.platform.log().contains("screening uses the copy")
    });
    setup.redis.kill();
    let (status, answer) = check(&setup, "Mallory");
    assert_eq!((status, answer.contains("\"hit\"")), (200, true), "the copy answers: {answer}");
    setup.wait_until("the copy is too old", || check(&setup, "Mallory").0 == 503);
    let refused = setup.client().post_event(&event(0, 5)).await;
    let told = refused.map_or_else(|error| error.to_string(), |result| result["outcome"].to_string());
    assert!(!told.contains("stored"), "nothing is stored unscreened: {told}");
    let stored = setup.client().get("/v1/events/s0-5").await;
    assert!(stored.is_err(), "nothing is stored unscreened: {stored:?}");
    setup.redis.restart();
    setup.wait_until("screening is back", || check(&setup, "Mallory").0 == 200);
    assert!(!setup.platform.log().contains("panicked"));
}
