//! The parking lot on a shared server, and on servers, clusters and networks that fail.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod access;
mod cluster;
mod common;
mod durability;
mod loss;
mod network;

use mini_platform_core::testkit::model;

mini_platform_core::parking_lot_conformance!(common::shared());

#[test]
fn a_parking_lot_agrees_with_the_one_in_memory() {
    let Some(server) = common::server() else { return };
    model::parking_lot_agrees_with_memory(async || common::fixture_at(server.url()).await);
}
