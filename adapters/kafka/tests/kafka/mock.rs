//! A cluster in the process that answers errors when it is told to.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mini_platform_core::error::{Causes, FaultKind};
use mini_platform_core::port::{LogReader as _, LongTermLog as _};
use mini_platform_kafka::{ConnectError, KafkaConfig, KafkaLog, KafkaLogReader};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};
use tokio::time::{Instant, timeout};

use crate::common::{assert_kept, assert_kept_once, config, fault, read, record, records};

type Cluster = MockCluster<'static, DefaultProducerContext>;

const BROKERS: i32 = 3;

const ALL: i32 = -1;

/// A cluster that has the topic.
fn cluster() -> (Cluster, KafkaConfig) {
    let cluster = MockCluster::new(BROKERS).unwrap();
    let config = config(&cluster.bootstrap_servers());
    cluster.create_topic(config.topic(), 3, 3).unwrap();
    (cluster, config)
}

async fn connected() -> (Cluster, KafkaConfig, KafkaLog) {
    let (cluster, config) = cluster();
    let log = KafkaLog::connect(&config).await.unwrap();
    (cluster, config, log)
}

#[tokio::test]
async fn what_a_broker_may_answer_for_a_moment_is_sent_again_once() {
    for answer in [
        Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Answer::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        // The connection ends.
        Answer::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        let (cluster, config, log) = connected().await;
        let published = records(0..6);
        for call in published.chunks(1) {
            cluster.request_errors(Api::Produce, &[answer; 2]);
            log.publish(call).await.unwrap_or_else(|error| panic!("{answer:?}: {}", Causes(&error)));
        }
        assert_kept_once(&read(&config).await, &published);
    }
}

#[tokio::test]
async fn more_records_than_the_driver_may_hold_go_through_in_pieces() {
    let (_cluster, config, log) = connected().await;
    let published = records(0..10_000);
    log.publish(&published).await.unwrap();
    assert_kept_once(&read(&config).await, &published);
}

#[tokio::test]
async fn brokers_that_are_away_are_waited_for() {
    let (cluster, config, log) = connected().await;
    for partition in 0..3 {
        cluster.partition_leader(config.topic(), partition, Some(partition + 1)).unwrap();
    }
    let published = records(0..1000);
    for broker in [1, 2, 3, ALL] {
        cluster.broker_down(broker).unwrap();
        let mut publishing = Box::pin(log.publish(&published));
        timeout(Duration::from_millis(500), &mut publishing).await.expect_err("it waits");
        cluster.broker_up(broker).unwrap();
        publishing.await.unwrap();
    }
    assert_kept(&read(&config).await, &published);
    assert_eq!(read(&config).await.len(), 4 * published.len(), "each call once");
}

#[tokio::test]
async fn callers_that_give_up_and_call_again_leave_few_copies_behind() {
    let (cluster, config, log) = connected().await;
    let published = records(0..1000);
    cluster.broker_down(ALL).unwrap();
    for _ in 0..50 {
        timeout(Duration::from_millis(10), log.publish(&published)).await.expect_err("it waits");
    }
    cluster.broker_up(ALL).unwrap();
    log.publish(&published).await.unwrap();
    let found = read(&config).await;
    assert_kept(&found, &published);
    assert!(found.len() <= 5 * published.len(), "{} records", found.len());
}

#[tokio::test]
async fn a_producer_that_is_at_its_end_is_followed_by_another() {
    for (answer, kind) in [
        (Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, FaultKind::Denied),
        (Answer::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, FaultKind::Unavailable),
        (Answer::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, FaultKind::Unavailable),
        (Answer::RD_KAFKA_RESP_ERR_INVALID_RECORD, FaultKind::Corrupt),
        (Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, FaultKind::Internal),
    ] {
        let (cluster, config, log) = connected().await;
        let published = records(0..20);
        for (number, call) in published.chunks(1).enumerate() {
            if number % 3 == 1 {
                cluster.request_errors(Api::Produce, &[answer]);
                let failed = log.publish(call).await;
                assert!(failed.is_err(), "{answer:?} is an error");
                let (found, told) = fault(failed);
                assert_eq!(found, kind, "{answer:?}: {told}");
            }
            log.publish(call).await.unwrap_or_else(|error| panic!("{answer:?}: {}", Causes(&error)));
        }
        assert_kept_once(&read(&config).await, &published);
    }
}

#[tokio::test]
async fn whatever_a_broker_answers_records_are_taken_when_they_are_sent_again() {
    for answer in [
        Answer::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
        Answer::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        Answer::RD_KAFKA_RESP_ERR_UNKNOWN,
        Answer::RD_KAFKA_RESP_ERR_INVALID_MSG,
    ] {
        let (cluster, config, log) = connected().await;
        let published = records(0..20);
        for call in published.chunks(1) {
            cluster.request_errors(Api::Produce, &[answer; 3]);
            while log.publish(call).await.is_err() {}
        }
        assert_kept_once(&read(&config).await, &published);
    }
}

#[tokio::test]
async fn nothing_that_follows_a_lost_record_is_written_without_it() {
    let (cluster, config, log) = connected().await;
    let first = record("ann", "first");
    log.publish(std::slice::from_ref(&first)).await.unwrap();
    // As many requests as are under way at a time, slowly, and all of them fail.
    cluster.broker_round_trip_time(ALL, Duration::from_millis(500)).unwrap();
    cluster.request_errors(Api::Produce, &[Answer::RD_KAFKA_RESP_ERR_INVALID_RECORD; 5]);
    let published: Vec<_> = (0..10).map(|number| record("ann", &number.to_string())).collect();
    let calls = published.iter().zip(0..).map(|(record, place)| {
        let log = &log;
        async move {
            // Each in a request of its own.
            tokio::time::sleep(Duration::from_millis(20) * place).await;
            log.publish(std::slice::from_ref(record)).await.unwrap_err();
        }
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(read(&config).await, [first], "what waited behind the lost records is not written either");
}

#[tokio::test]
async fn a_producer_that_may_not_be_idempotent_says_so() {
    let (cluster, config) = cluster();
    let denied = [Answer::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 10];
    cluster.request_errors(Api::InitProducerId, &denied);
    let log = KafkaLog::connect(&config).await.unwrap();
    let (kind, told) = fault(log.publish(&records(0..1)).await);
    assert_eq!(kind, FaultKind::Denied, "{told}");
}

#[tokio::test]
async fn a_reader_that_gets_nothing_is_told_so_in_time() {
    let (cluster, config, log) = connected().await;
    let published = records(0..10);
    log.publish(&published).await.unwrap();
    for answer in [Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, Answer::RD_KAFKA_RESP_ERR__TRANSPORT] {
        let limit = Duration::from_secs(2);
        let reader = KafkaLogReader::connect(&config.clone().with_timeout(limit)).await.unwrap();
        cluster.request_errors(Api::Fetch, &[answer; 10_000]);
        let mut stream = reader.records().await.unwrap();
        let start = Instant::now();
        let (kind, told) = fault(stream.try_next().await.map(drop));
        assert!(start.elapsed() < limit * 2, "it took {:?}", start.elapsed());
        assert!(matches!(kind, FaultKind::Timeout | FaultKind::Unavailable), "{kind:?}: {told}");
        assert!(told.contains("failed to read records"), "{told}");
        cluster.clear_request_errors(Api::Fetch);
        assert_kept_once(&read(&config).await, &published);
    }
}

#[tokio::test]
async fn a_reader_that_is_denied_the_topic_is_told_so() {
    let (cluster, config, log) = connected().await;
    log.publish(&records(0..10)).await.unwrap();
    let reader = KafkaLogReader::connect(&config).await.unwrap();
    cluster.request_errors(Api::Fetch, &[Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 100]);
    let (kind, told) = fault(reader.records().await.unwrap().try_next().await.map(drop));
    assert_eq!(kind, FaultKind::Denied, "{told}");
}

#[tokio::test]
async fn nobody_at_the_brokers_is_told_in_time() {
    let limit = Duration::from_secs(1);
    let address = format!("127.0.0.1:{}", mini_platform_core::testkit::server::free_port());
    let start = Instant::now();
    let error = KafkaLog::connect(&config(&address).with_timeout(limit)).await.unwrap_err();
    assert!(start.elapsed() < limit * 2, "it took {:?}", start.elapsed());
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    let told = Causes(&error).to_string();
    assert!(told.contains(&format!("no Kafka broker can be reached at {address}")), "{told}");
    assert!(told.contains("AllBrokersDown"), "{told}");
    let error = KafkaLogReader::connect(&config(&address).with_timeout(limit)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_topic_that_is_denied_is_told() {
    let (cluster, config) = cluster();
    cluster.topic_error(config.topic(), Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let error = KafkaLog::connect(&config).await.unwrap_err();
    assert!(matches!(error, ConnectError::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn a_topic_that_cannot_be_made_is_told_in_time() {
    // This cluster makes no topics when it is asked to.
    let cluster = MockCluster::new(BROKERS).unwrap();
    let limit = Duration::from_secs(2);
    let start = Instant::now();
    let error =
        KafkaLog::connect(&config(&cluster.bootstrap_servers()).with_timeout(limit)).await.unwrap_err();
    assert!(start.elapsed() < limit * 3, "it took {:?}", start.elapsed());
    assert!(matches!(error, ConnectError::CannotCreateTopic { .. }), "{error:?}");
}
