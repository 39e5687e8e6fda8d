//! The traits between the platform and the outside: one file each.
//!
//! To add a backend:
//! 1. make a crate under `adapters/` that depends on this one and on its driver;
//! 2. implement the ports that the backend can serve, clause by clause (ES-1, AS-1, …);
//! 3. map the driver's errors to [`Fault`](crate::error::Fault) in one table;
//! 4. run the conformance suite of each port on the real backend (feature `testkit`);
//! 5. wire it into the programs, in `bins/src/backend`.
//!
//! Every port works on whole batches and is usable as `dyn`. With the feature `mock`, each has a mock in
//! `mini_platform_core::mock`.

mod adjacency_store;
mod clock;
mod event_store;
mod fraud_registry;
mod fraud_source;
mod long_term_log;
mod membership;
mod outbox;
mod parking_lot;
mod worker_dialer;
mod worker_node;

pub use adjacency_store::AdjacencyStore;
pub use clock::{Clock, SystemClock};
pub use event_store::EventStore;
pub use fraud_registry::{EntryStream, FraudList, FraudRegistry, KEPT_VERSIONS, ReplaceOutcome};
pub use fraud_source::{Fetched, FraudSource, RawList};
pub use long_term_log::{LogReader, LongTermLog, MAX_RECORDS, RecordStream};
pub use membership::{HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, Membership, MembershipLease};
pub use outbox::{Outbox, OutboxPage, OutboxPosition, OutboxStatus};
pub use parking_lot::ParkingLot;
pub use worker_dialer::{Dialled, WorkerDialer};
pub use worker_node::{ClientOverview, FetchAnswer, FetchQuery, WorkerNode};

#[cfg(feature = "mock")]
pub(crate) mod mock {
    pub use super::adjacency_store::MockAdjacencyStore;
    pub use super::clock::MockClock;
    pub use super::event_store::MockEventStore;
    pub use super::fraud_registry::MockFraudRegistry;
    pub use super::fraud_source::MockFraudSource;
    pub use super::long_term_log::{MockLogReader, MockLongTermLog};
    pub use super::membership::MockMembership;
    pub use super::outbox::MockOutbox;
    pub use super::parking_lot::MockParkingLot;
    pub use super::worker_dialer::MockWorkerDialer;
    pub use super::worker_node::MockWorkerNode;
}
