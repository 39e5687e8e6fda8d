#![doc = include_str!("../README.md")]

pub mod codec;
pub mod deadline;
pub mod decorate;
pub mod dispatcher;
pub mod domain;
pub mod error;
#[cfg(feature = "list-formats")]
pub mod feeder;
pub mod lanes;
pub mod matching;
pub mod memory;
pub mod outbox;
pub mod port;
pub mod reconcile;
pub mod replay;
mod retry;
pub mod telemetry;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod trace;
pub mod worker;

/// Mocks of every port, made by mockall.
#[cfg(feature = "mock")]
pub mod mock {
    pub use crate::port::mock::{
        MockAdjacencyStore, MockClock, MockEventStore, MockFraudRegistry, MockFraudSource, MockLogReader,
        MockLongTermLog, MockMembership, MockOutbox, MockParkingLot, MockWorkerDialer, MockWorkerNode,
    };
}

pub use dispatcher::{Dispatcher, LoadBalancer};
pub use domain::{Event, EventBatch};
pub use worker::{ScreenedParties, Worker};
