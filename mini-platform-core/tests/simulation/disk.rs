//! The disk beside a dispatcher, and the outbox on it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mini_platform_core::domain::LogRecord;
use mini_platform_core::error::LogError;
use mini_platform_core::port::{Outbox, OutboxPage, OutboxPosition, OutboxStatus};
use tokio::sync::Notify;

use super::chance::Chance;
use super::weather::Place;
use super::wire::{Extent, Wire};

/// What is on the disk. Positions count records.
pub(crate) struct Disk {
    max_bytes: u64,
    state: Mutex<State>,
    appended: Notify,
}

#[derive(Default)]
struct State {
    /// From the last place that a crash may go back to.
    records: VecDeque<LogRecord>,
    start: u64,
    front: u64,
}

impl State {
    fn waiting(&self) -> impl Iterator<Item = &LogRecord> {
        self.records.iter().skip(usize::try_from(self.front - self.start).unwrap())
    }

    fn bytes(&self) -> u64 {
        self.waiting().map(bytes).sum()
    }
}

fn bytes(record: &LogRecord) -> u64 {
    record.to_json().len() as u64 + 1
}

impl Disk {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, state: Mutex::default(), appended: Notify::new() }
    }

    /// Returns how many records wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting().count()
    }

    /// What was forgotten last may be back.
    pub(crate) fn crash(&self, chance: &Chance) {
        let mut state = self.state.lock().unwrap();
        if chance.hits(0.5) {
            state.front = state.start;
        }
    }

    fn append(&self, records: &[LogRecord]) -> Result<(), LogError> {
        let mut state = self.state.lock().unwrap();
        if state.bytes() + records.iter().map(bytes).sum::<u64>() > self.max_bytes {
            return Err(LogError::Full);
        }
        state.records.extend(records.iter().cloned());
        drop(state);
        self.appended.notify_waiters();
        Ok(())
    }

    fn read(&self, max: usize) -> OutboxPage {
        let state = self.state.lock().unwrap();
        let records: Vec<LogRecord> = state.waiting().take(max).cloned().collect();
        let end = OutboxPosition(state.front + records.len() as u64);
        OutboxPage { records, end }
    }

    fn forget(&self, before: OutboxPosition, chance: &Chance) {
        let mut state = self.state.lock().unwrap();
        state.front = state.front.max(before.0);
        if chance.hits(0.5) {
            let durable = usize::try_from(state.front - state.start).unwrap();
            state.records.drain(..durable);
            state.start = state.front;
        }
    }
}

/// A dispatcher's way to its disk.
pub(crate) struct DiskLine {
    pub(crate) wire: Wire,
    pub(crate) disk: Arc<Disk>,
}

#[async_trait]
impl Outbox for DiskLine {
    async fn append(&self, records: &[LogRecord]) -> Result<(), LogError> {
        let (world, host) = (Arc::clone(&self.wire.world), self.wire.life.host);
        let (disk, records) = (Arc::clone(&self.disk), records.to_vec());
        let about = format!("{} records", records.len());
        let effect = move |extent| {
            let (world, disk, mut records) = (Arc::clone(&world), Arc::clone(&disk), records.clone());
            async move {
                if extent == Extent::Part {
                    records.truncate(world.chance.below(records.len() + 1));
                }
                let appended = disk.append(&records);
                if let Err(LogError::Full) = &appended {
                    world.meet("an outbox is full");
                    world.note(format_args!("{host} outbox is full, {} records refused", records.len()));
                }
                appended?;
                for record in &records {
                    let (id, outcome) = (record.event.id(), record.outcome.as_str());
                    let number = super::ledger::trace_number(record.trace);
                    world.note(format_args!("{host} outbox takes {id} {outcome} of r{number}"));
                }
                world.ledger().journal(&records);
                Ok(())
            }
        };
        self.wire.call(Place::Journal, about, effect).await
    }

    async fn read(&self, max: usize) -> Result<OutboxPage, LogError> {
        let disk = Arc::clone(&self.disk);
        let effect = move |_| std::future::ready(Ok(disk.read(max)));
        self.wire.call(Place::Relay, "read", effect).await
    }

    async fn forget(&self, before: OutboxPosition) -> Result<(), LogError> {
        let (world, disk) = (Arc::clone(&self.wire.world), Arc::clone(&self.disk));
        let effect = move |_| {
            disk.forget(before, &world.chance);
            std::future::ready(Ok(()))
        };
        self.wire.call(Place::Relay, "forget", effect).await
    }

    fn status(&self) -> OutboxStatus {
        OutboxStatus { bytes: self.disk.state.lock().unwrap().bytes() }
    }

    async fn wait(&self) {
        let appended = self.disk.appended.notified();
        if self.disk.waiting() == 0 {
            self.wire.life.or_never(appended).await;
        }
    }
}
