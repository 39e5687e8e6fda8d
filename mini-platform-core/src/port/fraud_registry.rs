//! Where the fraud list in force is kept.

use std::fmt;

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use crate::domain::{ClientId, ListEntry, ListInfo, ListVersion, Screening};
use crate::error::{RegistryError, SourceError};

/// How many versions of the list a registry keeps, the one in force included.
///
/// Enough to roll back over a bad night of half-hourly mistakes without keeping large lists for ever.
pub const KEPT_VERSIONS: usize = 5;

/// A new fraud list on its way into a registry.
pub struct FraudList {
    /// Which publication it is.
    pub version: ListVersion,
    /// Where it came from, such as `file:list.csv`.
    pub source: String,
    /// Its entries, in chunks. An `Err` item aborts the replacement.
    pub chunks: BoxStream<'static, Result<Vec<ListEntry>, SourceError>>,
}

impl fmt::Debug for FraudList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FraudList").field("version", &self.version).field("source", &self.source).finish()
    }
}

/// The entries of a list that a registry holds, in chunks. An `Err` item ends it: the list is not whole.
pub type EntryStream = BoxStream<'static, Result<Vec<ListEntry>, RegistryError>>;

/// What became of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplaceOutcome {
    /// The new list is in force.
    Replaced(ListInfo),
    /// The registry once held a list that was published at the same time or later; nothing changed.
    Stale {
        /// The newest publication that the registry ever held.
        newest: ListVersion,
    },
}

/// Holds the fraud list in force and screens names against it.
///
/// # Contract
/// - **FR-1** `screen` answers one verdict a subject, in order, all from one version of the list, which it names.
/// - **FR-2** Without any list, `screen` answers `NoList`: nothing is clear by default.
/// - **FR-3** Names are compared in the registry's [`MatchMode`](crate::domain::MatchMode); a hit names the entry
///   as its publisher wrote it.
/// - **FR-4** `replace` is atomic: readers see the old list or the new one, never a mix. Names that are not in
///   the new list are clear from then on.
/// - **FR-5** An `Err` in the list's stream makes `replace` answer `Refused`; the list in force stays.
/// - **FR-6** A list that was not published later than every list the registry ever held is `Stale`, so that a
///   slow feeder cannot undo a fast one, nor a feeder a rollback.
/// - **FR-7** When `replace` or `rollback` answers, the change is durable.
/// - **FR-8** The last [`KEPT_VERSIONS`] versions are kept and answered by `history`, newest publication first.
/// - **FR-9** `rollback` puts a kept version back in force; one that is not kept is `UnknownVersion`.
/// - **FR-10** Entries that are equal under the match mode count once.
/// - **FR-11** `entries` streams every counted entry of a kept version once, as its publisher wrote it, in any
///   order. When the version is trimmed meanwhile the stream ends with an `Err`, never short without one.
/// - **FR-12** `confirm` sets `confirmed_at` of the list in force to the registry's time when that is the version
///   given; else it changes nothing and answers `None`. Whatever is in force, its `confirmed_at` never goes back:
///   not by a clock, and not by a rollback, which says nothing of when the sources were looked at. A list that is
///   not in force shows its `loaded_at`.
///
/// Cancelling `replace` or `rollback` leaves the old list or the new one, whole.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait FraudRegistry: Send + Sync + 'static {
    /// Screens names against the list in force.
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError>;

    /// Returns what is known of the list in force, or `None` before the first.
    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError>;

    /// Returns the kept versions, newest publication first.
    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError>;

    /// Puts a new list in force.
    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError>;

    /// Puts a kept version back in force.
    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError>;

    /// Notes that nothing newer is to come in the place of a version, and returns what is known of it then; `None`
    /// when it is not in force.
    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError>;

    /// Opens the entries of a kept version, or answers `UnknownVersion`.
    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError>;
}
