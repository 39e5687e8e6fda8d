//! A broker of one's own that dies, hangs, or loses its answers.

use std::time::Duration;

use mini_platform_core::error::FaultKind;
use mini_platform_core::port::LongTermLog as _;
use mini_platform_core::testkit::server::{Fault, FaultProxy, free_port};
use mini_platform_kafka::testkit::KafkaBroker;
use mini_platform_kafka::{KafkaConfig, KafkaLog};
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};

use crate::common::{assert_kept, assert_kept_once, config, fault, read, record, records};

/// What only a request to write has in it, though compressed.
const WRITES: &str = "transaction";

/// A broker behind a network that fails.
async fn behind_proxy() -> Option<(KafkaBroker, FaultProxy)> {
    let port = free_port();
    let proxy = FaultProxy::start(format!("127.0.0.1:{port}")).await;
    Some((KafkaBroker::start_behind(port, proxy.port())?, proxy))
}

fn behind(proxy: &FaultProxy) -> KafkaConfig {
    config(&proxy.addr().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    let Some(mut broker) = KafkaBroker::start() else { return };
    let config = config(&broker.address());
    let log = KafkaLog::connect(&config).await.unwrap();
    let mut published = Vec::new();
    for round in 0..5 {
        let call = records(round * 100..(round + 1) * 100);
        log.publish(&call).await.unwrap();
        published.extend(call);
        block_in_place(|| broker.kill());
        block_in_place(|| broker.restart());
    }
    assert_kept_once(&read(&config).await, &published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_during_publishing_loses_nothing_and_keeps_the_order() {
    let Some(mut broker) = KafkaBroker::start() else { return };
    let config = config(&broker.address());
    let log = KafkaLog::connect(&config).await.unwrap();
    let published = records(0..3_000);
    let publishing = async {
        for call in published.chunks(20) {
            // As the outbox does: the same records again, until they are taken.
            while log.publish(call).await.is_err() {}
        }
    };
    let killing = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            block_in_place(|| broker.kill());
            tokio::time::sleep(Duration::from_millis(200)).await;
            block_in_place(|| broker.restart());
        }
    };
    tokio::join!(publishing, killing);
    assert_kept(&read(&config).await, &published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_waits_for_a_broker_that_is_away_is_told_so_in_time() {
    let Some(mut broker) = KafkaBroker::start() else { return };
    let limit = Duration::from_secs(2);
    let config = config(&broker.address()).with_timeout(limit);
    let log = KafkaLog::connect(&config).await.unwrap();
    block_in_place(|| broker.kill());
    let start = Instant::now();
    let (kind, told) = fault(log.publish(&records(0..10)).await);
    assert!(start.elapsed() < limit * 2, "it took {:?}", start.elapsed());
    assert_eq!(kind, FaultKind::Unavailable);
    assert!(told.contains("no answer within 2s; last trouble: AllBrokersDown"), "{told}");
    block_in_place(|| broker.restart());
    let again = records(0..10);
    while log.publish(&again).await.is_err() {}
    assert_kept(&read(&config).await, &again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_whose_acknowledgement_is_lost_are_written_once() {
    let Some((_broker, proxy)) = behind_proxy().await else { return };
    let config = behind(&proxy);
    let log = KafkaLog::connect(&config).await.unwrap();
    let published = records(0..300);
    for (round, call) in published.chunks(100).enumerate() {
        proxy.set_times(2, Fault::ResetAfterForward.when(WRITES));
        log.publish(call).await.unwrap();
        assert_eq!(proxy.hits(), 2 * (round + 1), "the acknowledgement was lost twice");
    }
    assert_kept_once(&read(&config).await, &published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_get_lost_are_sent_again_in_order() {
    let Some((_broker, proxy)) = behind_proxy().await else { return };
    let config = behind(&proxy);
    let log = KafkaLog::connect(&config).await.unwrap();
    let published = records(0..1000);
    for call in published.chunks(100) {
        proxy.set_once(Fault::ResetBeforeForward.when(WRITES));
        log.publish(call).await.unwrap();
    }
    assert_kept_once(&read(&config).await, &published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_never_comes_behind_a_later_one() {
    let Some((_broker, proxy)) = behind_proxy().await else { return };
    let config = behind(&proxy);
    let log = KafkaLog::connect(&config).await.unwrap();
    let mut published = Vec::new();
    for round in 0..5 {
        let (given_up, later) = (record("ann", &format!("{round}-a")), record("ann", &format!("{round}-b")));
        proxy.set(Fault::ResetBeforeForward);
        let call = timeout(Duration::from_millis(100), log.publish(std::slice::from_ref(&given_up)));
        call.await.expect_err("no request goes through");
        proxy.set(Fault::Pass);
        log.publish(std::slice::from_ref(&later)).await.unwrap();
        published.extend([given_up, later]);
    }
    // All were handed over before they were given up, so all are there.
    assert_kept_once(&read(&config).await, &published);
}
