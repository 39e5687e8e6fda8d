//! Servers and clients over real sockets.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod deadlines;
mod hostile;
mod ingest;
mod limits;
mod recovery;
mod skew;
mod stopping;
mod support;
