//! A fraud registry in memory.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::lock;
use crate::domain::{ClientId, ListEntry, ListInfo, ListVersion, MatchMode, Screening, Timestamp};
use crate::error::{Fault, FaultKind, RegistryError};
use crate::matching::{FraudIndex, FraudIndexBuilder};
use crate::port::{Clock, EntryStream, FraudList, FraudRegistry, KEPT_VERSIONS, ReplaceOutcome, SystemClock};

/// How many entries are read back at once.
const CHUNK: usize = 1024;

/// A [`FraudRegistry`] in memory. Readers never wait for a replacement.
pub struct MemoryFraudRegistry {
    mode: MatchMode,
    clock: Arc<dyn Clock>,
    in_force: ArcSwapOption<Kept>,
    history: Mutex<History>,
}

#[derive(Debug)]
struct Kept {
    info: ListInfo,
    index: FraudIndex,
}

#[derive(Debug, Default)]
struct History {
    /// Newest publication first.
    kept: Vec<Arc<Kept>>,
    newest: Option<ListVersion>,
    /// When a list was last loaded or confirmed.
    confirmed_at: Option<Timestamp>,
}

impl std::fmt::Debug for MemoryFraudRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFraudRegistry").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Default for MemoryFraudRegistry {
    fn default() -> Self {
        Self::new(MatchMode::default(), Arc::new(SystemClock))
    }
}

impl MemoryFraudRegistry {
    /// Makes a registry without a list.
    #[must_use]
    pub fn new(mode: MatchMode, clock: Arc<dyn Clock>) -> Self {
        Self { mode, clock, in_force: ArcSwapOption::empty(), history: Mutex::default() }
    }

    async fn index(&self, list: FraudList) -> Result<Kept, RegistryError> {
        let FraudList { version, source, mut chunks } = list;
        let mut builder = FraudIndexBuilder::new(self.mode);
        while let Some(chunk) = chunks.next().await {
            for entry in chunk.map_err(RegistryError::Refused)? {
                push(&mut builder, &entry)?;
            }
        }
        let index = builder.build();
        let entries = u64::try_from(index.len()).unwrap_or(u64::MAX);
        let loaded_at = self.clock.now();
        Ok(Kept { info: ListInfo { version, entries, source, loaded_at, confirmed_at: loaded_at }, index })
    }
}

fn push(builder: &mut FraudIndexBuilder, entry: &ListEntry) -> Result<(), RegistryError> {
    builder.push(entry).map_err(|full| {
        Fault::new("memory registry", "index a fraud list", FaultKind::Internal).with_source(full).into()
    })
}

impl History {
    fn refuses(&self, version: &ListVersion) -> Option<ReplaceOutcome> {
        let newest = self.newest.as_ref()?;
        (version <= newest).then(|| ReplaceOutcome::Stale { newest: newest.clone() })
    }

    /// Notes a time, unless a later one is known, and returns what is known of a list in force then.
    fn confirm(&mut self, list: &Kept, at: Timestamp) -> ListInfo {
        self.confirmed_at = self.confirmed_at.max(Some(at));
        self.in_force(list)
    }

    fn in_force(&self, list: &Kept) -> ListInfo {
        let loaded_at = list.info.loaded_at;
        let confirmed_at = self.confirmed_at.map_or(loaded_at, |confirmed| confirmed.max(loaded_at));
        ListInfo { confirmed_at, ..list.info.clone() }
    }
}

#[async_trait]
impl FraudRegistry for MemoryFraudRegistry {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        let list = self.in_force.load();
        let Some(list) = list.as_ref() else { return Err(RegistryError::NoList) };
        Ok(list.index.screen(&list.info.version, subjects))
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        let history = lock(&self.history);
        Ok(self.in_force.load().as_ref().map(|list| history.in_force(list)))
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        let history = lock(&self.history);
        let in_force = self.in_force.load();
        let info = |kept: &Arc<Kept>| match in_force.as_ref() {
            Some(list) if Arc::ptr_eq(list, kept) => history.in_force(kept),
            _ => kept.info.clone(),
        };
        Ok(history.kept.iter().map(info).collect())
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        if let Some(stale) = lock(&self.history).refuses(&list.version) {
            return Ok(stale);
        }
        let kept = Arc::new(self.index(list).await?);
        let mut history = lock(&self.history);
        // Asked again: another replacement may have finished while this one was indexed.
        if let Some(stale) = history.refuses(&kept.info.version) {
            return Ok(stale);
        }
        history.newest = Some(kept.info.version.clone());
        history.kept.insert(0, Arc::clone(&kept));
        history.kept.truncate(KEPT_VERSIONS);
        let info = history.confirm(&kept, kept.info.loaded_at);
        self.in_force.store(Some(kept));
        Ok(ReplaceOutcome::Replaced(info))
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        let history = lock(&self.history);
        let kept = history.kept.iter().find(|kept| kept.info.version == *version);
        let kept = kept.ok_or_else(|| RegistryError::UnknownVersion(version.clone()))?;
        self.in_force.store(Some(Arc::clone(kept)));
        Ok(history.in_force(kept))
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        let mut history = lock(&self.history);
        let list = self.in_force.load_full().filter(|list| list.info.version == *version);
        Ok(list.map(|list| history.confirm(&list, self.clock.now())))
    }

    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        let history = lock(&self.history);
        let kept = history.kept.iter().find(|kept| kept.info.version == *version).cloned();
        let kept = kept.ok_or_else(|| RegistryError::UnknownVersion(version.clone()))?;
        Ok(stream::iter((0..kept.index.len()).step_by(CHUNK))
            .map(move |place| Ok(kept.index.entries_from(place).take(CHUNK).collect()))
            .boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{ManualClock, at, fraud_list, list_version};

    #[tokio::test]
    async fn a_clock_that_goes_back_takes_no_confirmation_back() {
        let clock = Arc::new(ManualClock::new(at(100)));
        let registry = MemoryFraudRegistry::new(MatchMode::default(), Arc::clone(&clock) as _);
        registry.replace(fraud_list(1, &["bad"])).await.unwrap();
        for (now, confirmed_at) in [(200, 200), (50, 200), (300, 300)] {
            clock.set(at(now));
            let confirmed = registry.confirm(&list_version(1)).await.unwrap().unwrap();
            assert_eq!((confirmed.loaded_at, confirmed.confirmed_at), (at(100), at(confirmed_at)));
        }
        clock.set(at(250));
        registry.replace(fraud_list(2, &["bad"])).await.unwrap();
        let list = registry.in_force().await.unwrap().unwrap();
        assert_eq!((list.loaded_at, list.confirmed_at), (at(250), at(300)));
    }
}
