//! A unit test against mocked ports: no server, no store, and the calls are checked.
//!
//! Run it as a test, `cargo test -p mini-platform-examples --examples`, or as a program.

use std::sync::Arc;

use mini_platform_core::Worker;
use mini_platform_core::domain::{Screening, Verdict};
use mini_platform_core::error::{Fault, FaultKind, IngestError, StoreError};
use mini_platform_core::mock::{MockAdjacencyStore, MockEventStore, MockFraudRegistry};
use mini_platform_core::port::WorkerNode;
use mini_platform_core::testkit::{batch, list_version, transfer};

/// What a program of yours might do: try once, and say whether trying again makes sense.
async fn submit(worker: &dyn WorkerNode) -> Result<usize, IngestError> {
    let outcomes = worker.ingest(&batch([transfer("t1", "Ann", "Bob", 0)])).await?;
    Ok(outcomes.len())
}

async fn a_store_that_is_down_means_try_again() {
    let mut registry = MockFraudRegistry::new();
    registry.expect_screen().times(1).returning(|subjects| {
        Ok(Screening { version: list_version(1), verdicts: vec![Verdict::Clear; subjects.len()] })
    });
    let mut events = MockEventStore::new();
    events.expect_append().times(1).returning(|_, _| {
        Err(StoreError::Fault(Fault::new("mock", "append events", FaultKind::Unavailable)))
    });
    let mut adjacency = MockAdjacencyStore::new();
    adjacency.expect_link().never();

    let worker = Worker::new(Arc::new(events), Arc::new(adjacency), Arc::new(registry));
    let error = submit(&worker).await.err();
    let retry = error.map(|error| error.retry());
    assert_eq!(retry, Some(mini_platform_core::error::Retry::Backoff));
}

#[tokio::main]
async fn main() {
    a_store_that_is_down_means_try_again().await;
    println!("the mocked store was asked once, and no link was made");
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_store_that_is_down_means_try_again() {
        super::a_store_that_is_down_means_try_again().await;
    }
}
