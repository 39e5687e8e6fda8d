//! Where events wait that no worker could finish.

use async_trait::async_trait;

use crate::domain::{
    DeadLetter, LeaseRequest, LeasedParcel, LotStatus, Page, Parcel, ParcelId, ParcelQuery, ParkedParcel,
    Settled, Settlement,
};
use crate::error::LotError;

/// Keeps parcels until they are done, and gives each to one redriver at a time.
///
/// The parcels of one client are a lane. A lane is leased as a whole, and its parcels come in the order in which they
/// were parked; so whoever settles the first one first keeps the order of the client, and a parcel that fails holds
/// up its own lane only.
///
/// # Contract
/// - **PL-1** `park` takes all of its parcels or none. When it answers, they are durable. Parcels are told apart by
///   their ids: one that is parked, leased or dead already is not parked again.
/// - **PL-2** When it would hold more than its [`LotLimits`](crate::domain::LotLimits) allow, the lot answers
///   `Full` and takes none. Parked and dead parcels count alike.
/// - **PL-3** `lease` answers parcels of lanes that are due and not leased, at most as many as asked for: lanes in the
///   order in which they came due, of each lane as many as fit, oldest first.
/// - **PL-4** Of callers that lease at the same time, no two get parcels of the same lane.
/// - **PL-5** A lease ends when all of its parcels of a lane are settled, or with its time; then the lane is due
///   again, unless it was put off.
/// - **PL-6** `settle` answers one [`Settled`] a settlement, in order. Settling under a lease that has ended, or a
///   parcel that was settled before, is `LeaseLost` and changes nothing. What is settled is durable.
/// - **PL-7** A parcel that is done is forgotten. One that is to be retried keeps its place in front of its lane,
///   with the new reason; the lane is not due before its pause is over.
/// - **PL-8** Attempts count retries that count, and the attempt that killed a parcel; they survive a restart of
///   whoever leased.
/// - **PL-9** A dead letter leaves its lane, which goes on behind it. It is answered by `dead_letters` and
///   `dead_letter` until it is redriven or discarded.
/// - **PL-10** `redrive` puts a dead letter behind its lane, due at once and without attempts; `discard` forgets it.
///   Both answer whether there was such a dead letter, and are durable.
/// - **PL-11** `parked` answers the parcels that are parked, leased or not, and `dead_letters` those that are dead,
///   by ascending id. Pages, followed by their tokens, hold every parcel that stays there meanwhile, once.
/// - **PL-12** `status` counts what is held.
/// - **PL-13** Contents are opaque: what is parked comes back byte by byte.
///
/// The times of a lot are those of its own clock, which all that share it share. Cancelling `park`, `settle`,
/// `redrive` or `discard` may still apply it; what a cancelled `lease` leased waits for the end of its time.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ParkingLot: Send + Sync + 'static {
    /// Takes parcels in: 1 to [`MAX_PARCELS`](crate::domain::MAX_PARCELS).
    async fn park(&self, parcels: &[Parcel]) -> Result<(), LotError>;

    /// Gives out parcels that are due.
    async fn lease(&self, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError>;

    /// Takes back what became of leased parcels: up to [`MAX_PARCELS`](crate::domain::MAX_PARCELS).
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, LotError>;

    /// Returns how full the lot is.
    async fn status(&self) -> Result<LotStatus, LotError>;

    /// Returns one page of the parked parcels.
    async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError>;

    /// Returns one page of the dead letters.
    async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError>;

    /// Returns one dead letter, or `None`.
    async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError>;

    /// Parks a dead letter again.
    async fn redrive(&self, id: ParcelId) -> Result<bool, LotError>;

    /// Forgets a dead letter.
    async fn discard(&self, id: ParcelId) -> Result<bool, LotError>;
}
