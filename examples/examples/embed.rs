//! The whole platform inside of a program: an embedded store, a fraud list, one screened event.

use std::sync::Arc;

use mini_platform_core::Worker;
use mini_platform_core::domain::{Event, EventBatch, ListEntry, OccurredAt, Timestamp};
use mini_platform_core::port::{FraudList, FraudRegistry, WorkerNode};
use mini_platform_embedded::{Embedded, EmbeddedConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let embedded = Embedded::open(&EmbeddedConfig::new(folder.path()))?;
    let registry = Arc::new(embedded.registry(Default::default())?);
    let names = [Ok(vec![ListEntry::new("Mallory Mole")?])];
    let version = "2026-01-31T08:00:00Z_first".parse()?;
    let chunks = Box::pin(futures_util::stream::iter(names));
    registry.replace(FraudList { version, source: "example".to_owned(), chunks }).await?;

    let worker = Worker::new(Arc::new(embedded.event_store()), Arc::new(embedded.adjacency()), registry);
    let now = OccurredAt::Given("2026-02-01T12:00:00Z".parse::<Timestamp>()?);
    let pay = |id: &str, receiver: &str| -> Result<Event, Box<dyn std::error::Error>> {
        let (amount, currency) = (1_250.try_into()?, "EUR".parse()?);
        Ok(Event::transaction(id.parse()?, "Ann".parse()?, receiver.parse()?, amount, currency, now)?)
    };
    let batch = EventBatch::new(vec![pay("e1", "Bob")?, pay("e2", "MALLORY  mole")?])?;
    for (event, finished) in batch.events().iter().zip(worker.ingest(&batch).await?) {
        println!("{}: {}", event.id(), finished.outcome.as_str());
    }
    drop(worker);
    embedded.close().await;
    Ok(())
}
