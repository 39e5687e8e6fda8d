//! The conformance suites, and the comparison with the memory adapters.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use mini_platform_core::testkit::model;

mini_platform_core::event_store_conformance!(support::event_store());
mini_platform_core::adjacency_store_conformance!(support::adjacency());
mini_platform_core::fraud_registry_conformance!(support::registry());
mini_platform_core::parking_lot_conformance!(support::parking_lot());
mini_platform_core::worker_node_conformance!(support::worker());

#[test]
fn the_event_store_agrees_with_memory() {
    model::event_store_agrees_with_memory(support::event_store);
}

#[test]
fn the_adjacency_store_agrees_with_memory() {
    model::adjacency_store_agrees_with_memory(support::adjacency);
}

#[test]
fn the_parking_lot_agrees_with_memory() {
    model::parking_lot_agrees_with_memory(support::parking_lot);
}

#[test]
fn the_fraud_registry_agrees_with_memory() {
    model::fraud_registry_agrees_with_memory(support::registry);
}
