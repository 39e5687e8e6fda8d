//! Events that may be appended in any order.

use std::collections::{BTreeMap, HashSet};

use foldhash::fast::RandomState;

use crate::domain::{Event, EventBatch, EventBatchBuilder, EventId, MAX_BATCH, Timestamp};

/// An event, and when it was stored.
pub(super) type Recorded = (Event, Timestamp);

/// Up to [`MAX_BATCH`] events of different ids. As no two are of the same id, it does not matter which is appended
/// first; the first record of an id is in an earlier window than the others, so it is the one that is stored.
#[derive(Debug, Default)]
pub(super) struct Window {
    ids: HashSet<EventId, RandomState>,
    by_time: BTreeMap<Timestamp, EventBatchBuilder>,
}

impl Window {
    /// Adds an event, or gives it back when the window is full or holds its id already.
    pub(super) fn push(&mut self, (event, recorded_at): Recorded) -> Result<(), Recorded> {
        if self.ids.len() == MAX_BATCH || !self.ids.insert(event.id().clone()) {
            return Err((event, recorded_at));
        }
        let batch = self.by_time.entry(recorded_at).or_default();
        batch.push(event).map_err(|event| (event, recorded_at))
    }

    /// Returns the events in batches of the same time.
    pub(super) fn into_batches(self) -> impl Iterator<Item = (Timestamp, EventBatch)> {
        self.by_time.into_iter().filter_map(|(recorded_at, batch)| Some((recorded_at, batch.build()?)))
    }
}
