//! Messages and domain values: what is kept on the way, what is refused, and what never changes.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod form;
mod refusals;
mod round_trips;
mod strategies;
