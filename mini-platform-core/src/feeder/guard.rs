//! The last check of a decoded list: it may be neither empty nor much smaller than the list in force.

use std::hash::BuildHasher;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use foldhash::fast::RandomState;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use hashbrown::HashSet;

use super::Ratio;
use crate::domain::ListEntry;
use crate::error::SourceError;
use crate::matching::normalize;

/// Entries on their way from a source to the registry.
pub(super) type EntryChunks = BoxStream<'static, Result<Vec<ListEntry>, SourceError>>;

/// The new list has too few different names to replace the list in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the new list has {new} different names and the list in force has {in_force}, of which {required} must stay; \
     if this is right, allow the list to shrink"
)]
pub struct ListShrunk {
    /// How many different names the new list has.
    pub new: u64,
    /// How many the list in force has.
    pub in_force: u64,
    /// The fewest that are taken.
    pub required: u64,
}

/// How many different names a new list must have.
///
/// Names count once when they are equal after normalisation. They are remembered, as 8-byte hashes, until there
/// are enough: memory is bounded by the list in force, not by the new one.
#[derive(Debug)]
pub(super) struct Guard {
    in_force: u64,
    required: u64,
    seen: HashSet<u64, RandomState>,
    hasher: RandomState,
    scratch: String,
}

impl Guard {
    /// Guards against the loss of more than a share of the names in force.
    pub(super) fn new(in_force: u64, max_shrink: Ratio) -> Self {
        Self {
            in_force,
            // Never empty, whatever may be lost.
            required: (in_force - max_shrink.of(in_force)).max(1),
            seen: HashSet::default(),
            hasher: RandomState::default(),
            scratch: String::new(),
        }
    }

    fn has_enough(&self) -> bool {
        self.seen.len() as u64 >= self.required
    }

    pub(super) fn count(&mut self, entries: &[ListEntry]) {
        for entry in entries {
            if self.has_enough() {
                return;
            }
            self.scratch.clear();
            normalize(entry.as_str(), &mut self.scratch);
            self.seen.insert(self.hasher.hash_one(&self.scratch));
        }
    }

    pub(super) fn check(&self) -> Result<(), ListShrunk> {
        let Self { in_force, required, .. } = *self;
        let new = self.seen.len() as u64;
        if self.has_enough() { Ok(()) } else { Err(ListShrunk { new, in_force, required }) }
    }
}

/// Passes chunks on, and ends in an `Err` when the guard has not seen enough names.
pub(super) struct Guarded {
    chunks: Option<EntryChunks>,
    guard: Guard,
    place: String,
}

impl Guarded {
    /// Guards the chunks of a list that comes from a place.
    pub(super) fn new(chunks: EntryChunks, guard: Guard, place: String) -> Self {
        Self { chunks: Some(chunks), guard, place }
    }

    fn end(&mut self) -> Option<Result<Vec<ListEntry>, SourceError>> {
        self.chunks = None;
        let refused = self.guard.check().err()?;
        Some(Err(SourceError::Unacceptable { place: self.place.clone(), reason: refused.into() }))
    }
}

impl Stream for Guarded {
    type Item = Result<Vec<ListEntry>, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(chunks) = &mut this.chunks else { return Poll::Ready(None) };
        Poll::Ready(match ready!(chunks.as_mut().poll_next(context)) {
            Some(Ok(entries)) => {
                this.guard.count(&entries);
                Some(Ok(entries))
            }
            Some(Err(error)) => {
                this.chunks = None;
                Some(Err(error))
            }
            None => this.end(),
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    fn entries(names: &[&str]) -> Vec<ListEntry> {
        names.iter().map(|name| ListEntry::new(name).unwrap()).collect()
    }

    /// Returns what is passed on of the chunks, and how they end.
    fn guarded(guard: Guard, chunks: &[&[&str]]) -> (usize, Option<String>) {
        let chunks: Vec<_> = chunks.iter().map(|names| Ok(entries(names))).collect();
        let items: Vec<_> = Guarded::new(stream::iter(chunks).boxed(), guard, "file:list".to_owned())
            .collect()
            .now_or_never()
            .expect("nothing waits");
        let passed = items.iter().flatten().map(Vec::len).sum();
        let reason = items
            .into_iter()
            .find_map(Result::err)
            .map(|error| std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
        (passed, reason)
    }

    #[test]
    fn exactly_the_allowed_share_may_be_lost() {
        let half = || Guard::new(4, Ratio::HALF);
        assert_eq!(guarded(half(), &[&["a"], &["b"]]), (2, None));
        let (passed, reason) = guarded(half(), &[&["a"]]);
        assert_eq!(passed, 1, "what came is passed on before the end is known");
        assert!(reason.unwrap().contains("has 1 different names and the list in force has 4"));
        assert_eq!(guarded(Guard::new(3, Ratio::HALF), &[&["a", "b"]]).1, None);
        assert!(guarded(Guard::new(3, Ratio::HALF), &[&["a"]]).1.is_some());
    }

    #[test]
    fn repeated_names_do_not_make_up_for_lost_ones() {
        let names = &["Ann", "ANN", " ann", "Ａnn"][..];
        assert!(guarded(Guard::new(4, Ratio::HALF), &[names, names]).1.is_some());
    }

    #[test]
    fn an_empty_list_is_refused_even_when_it_may_shrink() {
        for in_force in [0, 4] {
            assert!(guarded(Guard::new(in_force, Ratio::ALL), &[]).1.is_some());
            assert_eq!(guarded(Guard::new(in_force, Ratio::ALL), &[&["a"]]).1, None);
        }
    }

    #[test]
    fn nothing_follows_an_error_of_the_chunks() {
        let fail = SourceError::NotFound { place: "file:list".to_owned() };
        let chunks = stream::iter([Ok(entries(&["a"])), Err(fail), Ok(entries(&["b"]))]).boxed();
        let guarded = Guarded::new(chunks, Guard::new(0, Ratio::HALF), "file:list".to_owned());
        let items: Vec<_> = guarded.collect().now_or_never().unwrap();
        assert!(matches!(&items[..], [Ok(_), Err(SourceError::NotFound { .. })]));
    }

    #[test]
    fn the_guard_remembers_no_more_than_it_needs() {
        let mut guard = Guard::new(4, Ratio::HALF);
        guard.count(&entries(&["a", "b", "c", "d"]));
        assert_eq!(guard.seen.len(), 2);
    }
}
