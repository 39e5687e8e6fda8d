//! The stores are lost, and made anew from the topic.

use mini_platform_bins::client::PlatformClient;
use mini_platform_core::testkit::server;

use crate::same_answers::{everything, import, write_bank};
use crate::support::servers::Servers;
use crate::support::{Running, complaint, printed, wait_until};
use crate::{operate, start_feeder, start_platform};

/// Whether Kafka has every record.
fn is_relayed(platform: &Running) -> bool {
    let (_, metrics) = platform.get("/metrics");
    let waiting = metrics.lines().find_map(|line| line.strip_prefix("mini_platform_outbox_bytes "));
    waiting.and_then(|bytes| bytes.parse::<f64>().ok()) == Some(0.0)
}

#[tokio::test]
async fn mongodb_and_redis_are_made_anew_from_the_topic_and_answer_the_same() {
    let (Some(servers), Some(brokers)) = (Servers::find(), server::brokers("KAFKA")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (clients, listed) = write_bank(folder.path());
    servers.upload(format!("name\n{listed}\n"));
    let (brokers, topic) = (format!("kafka.brokers={brokers}"), format!("kafka.topic={}", servers.name()));
    let outbox = format!("log.outbox_dir={}", folder.path().join("outbox").display());
    let _feeder = start_feeder(&servers);
    let first = start_platform(&servers, &["log.backend=kafka", &brokers, &topic, &outbox]);
    import(&first, folder.path());
    wait_until("Kafka has every record", || first.get("/metrics").1, || is_relayed(&first));

    let Some(empty) = Servers::find() else { return };
    let replay = || operate(&empty, &["replay", "--from", "kafka", "--set", &brokers, "--set", &topic]);
    let replayed = replay();
    assert_eq!(replayed.status.code(), Some(0), "{}", complaint(&replayed));
    assert!(printed(&replayed).contains(" 0 in conflict"), "{}", printed(&replayed));
    assert!(printed(&replay()).contains(" 0 events stored, "), "twice changes nothing");

    empty.upload(format!("name\n{listed}\n"));
    let _other_feeder = start_feeder(&empty);
    let second = start_platform(&empty, &[]);
    let [first, second] =
        [&first, &second].map(|platform| PlatformClient::new(platform.base().parse().unwrap()));
    let mut items = 0;
    for client in &clients {
        let (expected, found) = (everything(&first, client).await, everything(&second, client).await);
        assert_eq!(found, expected, "what is known of {client}");
        items += found.iter().filter(|answer| answer.to_string().contains("\"id\"")).count();
    }
    assert!(items > clients.len(), "the comparison has something to compare");
}
