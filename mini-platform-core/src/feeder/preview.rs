//! What a refresh would do, without doing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;

use super::guard::Guard;
use super::{Feeder, RefreshError, Refusal};
use crate::domain::{ListEntry, ListInfo, ListVersion, MatchMode};
use crate::error::{Fault, FaultKind, RegistryError, SourceError};
use crate::matching::{FraudIndex, FraudIndexBuilder, IndexFull};
use crate::port::RawList;

/// What a refresh would come to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PreviewVerdict {
    /// Nothing would change: the registry holds this publication, in force or rolled back from.
    Unchanged,
    /// The list would be put in force.
    Replaced,
    /// The list is older than one that the registry held, and would stay out.
    Stale {
        /// The newest publication that the registry ever held.
        newest: ListVersion,
    },
    /// The list would be refused; the cause is the same as that of [`RefreshError::Refused`].
    Refused(Arc<SourceError>),
}

impl PreviewVerdict {
    /// Returns why the list would be kept out, if it would.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Unchanged | Self::Replaced => None,
            Self::Stale { .. } => Some(Refusal::Stale),
            Self::Refused(reason) => Some(Refusal::of_source(reason)),
        }
    }
}

/// What a refresh would do. Names are compared in the registry's match mode, so a new spelling is no change.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Preview {
    /// Which publication the sources have.
    pub version: ListVersion,
    /// The version in force, if there is one.
    pub in_force: Option<ListVersion>,
    /// How many different names the sources have.
    pub entries: u64,
    /// The names that are not in the list in force, in ascending order.
    pub added: Vec<ListEntry>,
    /// The names of the list in force that the sources have not, in ascending order.
    pub removed: Vec<ListEntry>,
    /// How many malformed lines would be skipped.
    pub malformed: u64,
    /// What a refresh would come to. What cannot be read to its end is refused with no names at all.
    pub verdict: PreviewVerdict,
}

pub(super) async fn preview(feeder: &Feeder, mode: MatchMode) -> Result<Preview, RefreshError> {
    let (held, in_force) = feeder.look().await?;
    let (lists, is_known) = fetch(feeder, held.newest.as_ref()).await?;
    let version = super::version_of(&lists)?;
    let malformed = Arc::new(AtomicU64::new(0));
    let mut guard = Guard::new(in_force.as_ref().map_or(0, |list| list.entries), feeder.max_shrink);
    let decoded = decode(feeder.decode(lists, &malformed), &mut guard, mode).await;
    let (new, refused) = match decoded {
        Ok(new) => {
            let place = feeder.place();
            let shrunk = guard.check().err();
            let refused =
                shrunk.map(|shrunk| Arc::new(SourceError::Unacceptable { place, reason: shrunk.into() }));
            (Some(new), refused)
        }
        Err(error) => match RefreshError::from(error) {
            RefreshError::Refused(reason) => (None, Some(reason)),
            other => return Err(other),
        },
    };
    let verdict = match (held.newest, refused) {
        (Some(newest), _) if is_known || newest == version => PreviewVerdict::Unchanged,
        (Some(newest), _) if newest > version => PreviewVerdict::Stale { newest },
        (_, Some(reason)) => PreviewVerdict::Refused(reason),
        _ => PreviewVerdict::Replaced,
    };
    let (added, removed) = match &new {
        Some(new) => changes(feeder, in_force.as_ref(), new, mode).await?,
        None => Default::default(),
    };
    Ok(Preview {
        version,
        in_force: in_force.map(|list| list.version),
        entries: new.as_ref().map_or(0, FraudIndex::len) as u64,
        added,
        removed,
        malformed: malformed.load(Ordering::Relaxed),
        verdict,
    })
}

/// Fetches the lists of all sources, and whether they are those of the registry's newest version.
///
/// A source goes by that version where it can, as in a refresh after a start: it may tell two publications of one
/// moment apart by it.
async fn fetch(feeder: &Feeder, newest: Option<&ListVersion>) -> Result<(Vec<RawList>, bool), SourceError> {
    let known = match (newest, feeder.sources.as_slice()) {
        (Some(newest), [_]) => vec![newest.clone()],
        _ => Vec::new(),
    };
    match feeder.fetch(&known).await? {
        Some(lists) => Ok((lists, false)),
        None => Ok((feeder.fetch(&[]).await?.unwrap_or_default(), true)),
    }
}

async fn decode(
    mut chunks: super::guard::EntryChunks,
    guard: &mut Guard,
    mode: MatchMode,
) -> Result<FraudIndex, SourceError> {
    let mut index = FraudIndexBuilder::new(mode);
    while let Some(chunk) = chunks.next().await {
        let entries = chunk?;
        guard.count(&entries);
        push(&mut index, &entries)?;
    }
    Ok(index.build())
}

async fn changes(
    feeder: &Feeder,
    in_force: Option<&ListInfo>,
    new: &FraudIndex,
    mode: MatchMode,
) -> Result<(Vec<ListEntry>, Vec<ListEntry>), RegistryError> {
    let mut old = FraudIndexBuilder::new(mode);
    if let Some(list) = in_force {
        let mut chunks = feeder.registry.entries(&list.version).await?;
        while let Some(chunk) = chunks.next().await {
            push(&mut old, &chunk?)?;
        }
    }
    let old = old.build();
    Ok((only_in(new, &old), only_in(&old, new)))
}

fn push(index: &mut FraudIndexBuilder, entries: &[ListEntry]) -> Result<(), Fault> {
    let full =
        |full: IndexFull| Fault::new("feeder", "hold a fraud list", FaultKind::Internal).with_source(full);
    entries.iter().try_for_each(|entry| index.push(entry).map_err(full))
}

/// Returns the entries of one list that match none of another, in ascending order.
fn only_in(list: &FraudIndex, other: &FraudIndex) -> Vec<ListEntry> {
    let mut scratch = String::new();
    let is_absent = |entry: &ListEntry| other.find_with(entry.as_str(), &mut scratch).is_none();
    let mut only: Vec<ListEntry> = list.entries_from(0).filter(is_absent).collect();
    only.sort_unstable();
    only
}
