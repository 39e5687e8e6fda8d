//! Membership of a cluster, the dispatcher's side and the worker's. Time is paused throughout.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod membership {
    mod attendance;
    mod joining;
    mod leases;
    mod model;
    mod support;
}
