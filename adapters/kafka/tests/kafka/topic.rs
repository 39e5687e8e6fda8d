//! What stands in a topic, on a shared broker.

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use mini_platform_core::codec::DecodeError;
use mini_platform_core::domain::LogRecord;
use mini_platform_core::error::LogError;
use mini_platform_core::port::{LogReader as _, LongTermLog as _};
use mini_platform_kafka::testkit::shared_broker;
use mini_platform_kafka::{ConnectError, KafkaConfig, KafkaLog, KafkaLogReader};

use crate::common::{TRACE, assert_kept_once, config, raw, read, record, records, write};

async fn opened() -> Option<(String, KafkaConfig, KafkaLog)> {
    let broker = shared_broker()?;
    let config = config(&broker);
    let log = KafkaLog::connect(&config).await.unwrap();
    Some((broker, config, log))
}

#[tokio::test]
async fn every_record_is_read_once_in_the_order_of_its_client() {
    let Some((_, config, log)) = opened().await else { return };
    let published = records(0..2500);
    for call in published.chunks(1024) {
        log.publish(call).await.unwrap();
    }
    assert_kept_once(&read(&config).await, &published);
}

#[tokio::test]
async fn calls_at_the_same_time_all_come_through() {
    let Some((_, config, log)) = opened().await else { return };
    let calls: Vec<Vec<LogRecord>> = (0..50)
        .map(|call| (0..10).map(|n| record(&format!("client {call}"), &format!("{call}-{n}"))).collect())
        .collect();
    futures_util::future::try_join_all(calls.iter().map(|call| log.publish(call))).await.unwrap();
    assert_kept_once(&read(&config).await, &calls.concat());
}

#[tokio::test]
async fn a_record_has_its_client_as_key_and_says_its_schema_and_trace() {
    let Some((broker, config, log)) = opened().await else { return };
    let client = "Ω'%/\\\"🦀 محمد";
    let published = record(client, "a");
    log.publish(std::slice::from_ref(&published)).await.unwrap();
    let [found] = raw(&broker, config.topic(), 1).await.try_into().ok().unwrap();
    assert_eq!(found.key, client.as_bytes());
    assert_eq!(found.value, published.to_json());
    let headers = [("schema-version", "1"), ("traceparent", TRACE)];
    assert_eq!(found.headers, headers.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())));
}

#[tokio::test]
async fn a_client_has_the_partition_that_a_java_client_would_give_it() {
    let Some((broker, config, log)) = opened().await else { return };
    // From Kafka's own test of Utils.murmur2.
    let hashes =
        [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)];
    let published = hashes.map(|(client, _)| record(client, client));
    log.publish(&published).await.unwrap();
    for found in raw(&broker, config.topic(), hashes.len()).await {
        let (client, hash) = *hashes.iter().find(|(client, _)| client.as_bytes() == found.key).unwrap();
        assert_eq!(found.partition, (hash & i32::MAX) % 3, "{client}");
    }
}

#[tokio::test]
async fn a_missing_topic_is_made_with_the_partitions_that_were_asked_for() {
    let Some((_, config, log)) = opened().await else { return };
    log.publish(&records(0..100)).await.unwrap();
    let raw = raw(&shared_broker().unwrap(), config.topic(), 100).await;
    let partitions: HashSet<i32> = raw.iter().map(|message| message.partition).collect();
    assert_eq!(partitions, HashSet::from([0, 1, 2]));
    // Again, now that it is there.
    KafkaLog::connect(&config).await.unwrap();
}

#[tokio::test]
async fn two_that_find_the_topic_missing_may_both_make_it() {
    let Some(broker) = shared_broker() else { return };
    let config = config(&broker);
    let (one, other) = tokio::join!(KafkaLog::connect(&config), KafkaLog::connect(&config));
    drop((one.unwrap(), other.unwrap()));
}

#[tokio::test]
async fn a_missing_topic_is_told_where_it_may_not_be_made() {
    let Some(broker) = shared_broker() else { return };
    let config = config(&broker).with_create_topic(false);
    let expected =
        format!("Kafka at {broker} has no topic {}; make it, or allow that it is made", config.topic());
    for error in [
        KafkaLog::connect(&config).await.unwrap_err(),
        KafkaLogReader::connect(&config.clone().with_create_topic(true)).await.unwrap_err(),
        KafkaLog::connect(&config).await.unwrap_err(),
    ] {
        assert!(matches!(error, ConnectError::NoTopic { .. }), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn an_empty_topic_has_no_records() {
    let Some((_, config, _log)) = opened().await else { return };
    assert_eq!(read(&config).await, []);
}

#[tokio::test]
async fn a_stream_ends_with_what_was_there_when_it_was_opened() {
    let Some((_, config, log)) = opened().await else { return };
    let published = records(0..100);
    log.publish(&published).await.unwrap();
    let reader = KafkaLogReader::connect(&config).await.unwrap();
    let stream = reader.records().await.unwrap();
    log.publish(&records(100..200)).await.unwrap();
    assert_kept_once(&stream.try_collect::<Vec<_>>().await.unwrap(), &published);
    // And each begins anew.
    assert_eq!(read(&config).await.len(), 200);
}

#[tokio::test]
async fn what_is_no_record_ends_a_stream_and_is_named_by_its_place() {
    for value in [Some("{\"schema\":1}"), Some(""), None] {
        let Some((broker, config, log)) = opened().await else { return };
        let published = record("ann", "a");
        log.publish(std::slice::from_ref(&published)).await.unwrap();
        // Behind the record, in the partition that is read last.
        let [first] = raw(&broker, config.topic(), 1).await.try_into().ok().unwrap();
        write(&broker, config.topic(), first.partition, value).await;
        let reader = KafkaLogReader::connect(&config).await.unwrap();
        let mut stream = reader.records().await.unwrap();
        assert_eq!(stream.try_next().await.unwrap(), Some(published));
        let error = stream.try_next().await.unwrap_err();
        let LogError::Undecodable { place, reason } = error else { panic!("{error:?}") };
        assert_eq!(place, format!("offset 1 of partition {} of {}", first.partition, config.topic()));
        assert!(reason.is::<DecodeError>());
        assert_eq!(stream.try_next().await.unwrap(), None, "an error is the end");
    }
}

#[tokio::test]
async fn a_record_of_a_newer_program_is_named_as_such() {
    let Some((broker, config, _log)) = opened().await else { return };
    write(&broker, config.topic(), 1, Some("{\"schema\":99}")).await;
    let reader = KafkaLogReader::connect(&config).await.unwrap();
    let error = reader.records().await.unwrap().try_next().await.unwrap_err();
    assert!(mini_platform_core::error::Causes(&error).to_string().contains("read it with a newer program"));
}
