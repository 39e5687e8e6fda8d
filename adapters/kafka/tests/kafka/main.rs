//! What the suite of the port does not ask: the form of records, and what happens when Kafka fails.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod broker;
mod common;
mod mock;
mod topic;
