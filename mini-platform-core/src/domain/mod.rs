//! Plain data: what an event is, what can be asked, what can be answered.
//!
//! Every type is made by a fallible constructor, so a value that exists is valid. Nothing here knows a
//! backend, a protocol or a clock.

mod adjacency;
mod batch;
mod event;
mod id;
mod list;
mod log_record;
mod money;
mod outcome;
mod page;
mod parcel;
mod query;
mod screening;
mod time;
mod trace;
mod worker;

pub use adjacency::{BranchLink, Direction, Edge, Interaction, Side};
pub use batch::{EventBatch, EventBatchBuilder, InvalidBatch, MAX_BATCH};
pub use event::{Event, EventDetails, OccurredAt, OperationType, PartyRole, SameParty, StoredEvent};
pub use id::{BranchId, ClientId, EventId, InvalidId, MAX_EVENT_ID_BYTES, MAX_NAME_BYTES};
pub use list::{Etag, InvalidListVersion, ListEntry, ListInfo, ListVersion, MAX_ENTRY_BYTES};
pub use log_record::LogRecord;
pub use money::{Amount, Currency, InvalidMoney};
pub use outcome::{AppendOutcome, IngestOutcome, Outcome, Recording};
pub use page::{InvalidPage, MAX_PAGE_SIZE, Page, PageSize, PageToken};
pub use parcel::{
    DeadLetter, DeathCause, InvalidParcelId, LeaseId, LeaseRequest, LeasedParcel, LotLimits, LotStatus,
    MAX_PARCEL_BYTES, MAX_PARCELS, Parcel, ParcelContent, ParcelId, ParcelTooLarge, ParcelVerdict,
    ParkReason, ParkedParcel, Settled, Settlement,
};
pub use query::{
    ClientQuery, EventFilter, EventPosition, EventQuery, NeighbourQuery, ParcelQuery, TimeRange,
};
pub use screening::{EventScreening, MatchMode, Screening, Verdict};
pub use time::{InvalidTimestamp, Timestamp};
pub use trace::{InvalidTraceContext, TraceContext};
pub use worker::{
    Epoch, Incarnation, InvalidNodeAddress, JoinToken, MAX_ADDRESS_BYTES, MAX_TOKEN_BYTES,
    MAX_WORKER_ID_BYTES, NodeAddress, ProtocolVersion, WorkerId,
};
