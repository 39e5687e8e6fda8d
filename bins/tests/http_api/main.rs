//! The HTTP API, seen from outside: real sockets, memory stores.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

mod array;
mod fetch;
mod health;
mod ingest;
mod limits;
mod lines;
mod parking;
mod parking_commands;
mod shutdown;
mod support;
mod workers;
