//! What stands in a topic, on a broker.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mini_platform_core::port::LongTermLog as _;
use mini_platform_kafka::KafkaLog;
use mini_platform_kafka::testkit::shared_broker;
use support::{config, ids_by_client, read, record, records};

#[tokio::test]
async fn every_record_is_read_once_in_the_order_of_its_client() {
    let Some(broker) = shared_broker() else { return };
    let config = config(&broker);
    let log = KafkaLog::connect(&config).await.unwrap();
    let published = records(0..5000);
    for call in published.chunks(1024) {
        log.publish(call).await.unwrap();
    }
    let found = read(&config).await;
    assert_eq!(found.len(), published.len());
    assert_eq!(ids_by_client(&found), ids_by_client(&published));
}
