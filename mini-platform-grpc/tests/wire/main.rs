//! Messages and domain values: what is kept on the way, what is refused, and what never changes.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster_refusals;
mod debug;
mod evolution;
mod form;
mod refusals;
mod round_trips;
mod schema;
mod strategies;
mod submissions;
mod worker_refusals;
