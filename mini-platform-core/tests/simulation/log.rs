//! The long-term log, reached by wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use mini_platform_core::domain::LogRecord;
use mini_platform_core::error::{Fault, FaultKind, LogError};
use mini_platform_core::port::LongTermLog;

use super::weather::Place;
use super::wire::{Extent, Wire};

/// A dispatcher's way to the log. Of one life, a call that is given up on has no effect behind a later one.
pub(crate) struct LogLine {
    wire: Wire,
    newest: Arc<AtomicU64>,
}

impl LogLine {
    pub(crate) fn new(wire: Wire) -> Self {
        Self { wire, newest: Arc::default() }
    }
}

#[async_trait]
impl LongTermLog for LogLine {
    async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
        let (world, life) = (Arc::clone(&self.wire.world), Arc::clone(&self.wire.life));
        let (newest, records) = (Arc::clone(&self.newest), records.to_vec());
        let number = newest.fetch_add(1, Ordering::Relaxed) + 1;
        let about = format!("{} records", records.len());
        let effect = move |extent| {
            let (world, life, newest) = (Arc::clone(&world), Arc::clone(&life), Arc::clone(&newest));
            let mut records = records.clone();
            async move {
                if newest.load(Ordering::Relaxed) != number {
                    return Err(Fault::new("log", "take what is out of turn", FaultKind::Internal).into());
                }
                if extent == Extent::Part {
                    records.truncate(world.chance.below(records.len() + 1));
                }
                world.log.publish(&records).await?;
                let ids: Vec<&str> = records.iter().map(|record| record.event.id().as_str()).collect();
                world.note(format_args!("log takes of {life}: {}", ids.join(" ")));
                Ok(())
            }
        };
        self.wire.call(Place::Publish, about, effect).await
    }
}
