//! Lists that are read back.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt};
use mini_platform_core::error::{FaultKind, RegistryError};
use mini_platform_core::port::{EntryStream, FraudRegistry};
use mini_platform_core::testkit::{fraud_list, list_version};

use crate::common::{fault_kind, feed, long_list, server_with_registry};
use crate::support;

async fn collect(stream: EntryStream) -> Result<Vec<String>, RegistryError> {
    let chunks: Vec<_> = stream.try_collect().await?;
    Ok(chunks.concat().iter().map(|entry| entry.as_str().to_owned()).collect())
}

#[tokio::test]
async fn every_entry_of_a_long_list_comes_once() {
    let Some(fixture) = support::registry().await else { return };
    // Just over a power of two, where the server is moving the names to a larger table.
    fixture.port.replace(long_list(1, 33_000)).await.unwrap();
    let entries = collect(fixture.port.entries(&list_version(1)).await.unwrap()).await.unwrap();
    let different: HashSet<&String> = entries.iter().collect();
    assert_eq!((entries.len(), different.len()), (33_000, 33_000));
    assert!(different.contains(&"Name 7".to_owned()), "as it was published");
}

#[tokio::test]
async fn a_list_without_names_has_no_entries() {
    let Some(fixture) = support::registry().await else { return };
    fixture.port.replace(fraud_list(1, &[])).await.unwrap();
    let entries = collect(fixture.port.entries(&list_version(1)).await.unwrap()).await.unwrap();
    assert!(entries.is_empty());
}

#[tokio::test]
async fn a_list_that_is_dropped_while_it_is_read_ends_with_an_error() {
    let Some(fixture) = support::registry().await else { return };
    fixture.port.replace(long_list(1, 5_000)).await.unwrap();
    let mut stream = fixture.port.entries(&list_version(1)).await.unwrap();
    stream.next().await.unwrap().unwrap();
    for published_at in 2..=6 {
        fixture.port.replace(long_list(published_at, 5_000)).await.unwrap();
    }
    let rest = collect(stream).await;
    assert!(matches!(rest, Err(RegistryError::UnknownVersion(_))), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_orders_the_names_anew_while_they_are_read_is_noticed() {
    let Some((mut server, registry)) = server_with_registry(&[]).await else { return };
    registry.replace(long_list(1, 20_000)).await.unwrap();
    let mut stream = registry.entries(&list_version(1)).await.unwrap();
    stream.next().await.unwrap().unwrap();
    server.restart();
    // The connection breaks once; what is read after that comes in another order.
    drop(registry.in_force().await);
    assert_eq!(fault_kind(collect(stream).await), FaultKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_was_changed_by_another_hand_is_noticed() {
    let Some((server, registry)) = server_with_registry(&[]).await else { return };
    feed(&registry, 1, &["Bad", "Worse"]).await;
    for key in server.ask::<Vec<String>>(&["KEYS", "*:names:*"]) {
        server.ask::<()>(&["HSET", &key, "bad", "Good"]);
    }
    let stream = registry.entries(&list_version(1)).await.unwrap();
    assert_eq!(fault_kind(collect(stream).await), FaultKind::Unavailable);
}
