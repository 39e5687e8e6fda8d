//! Reconciliation: what is named, what is repaired, and that it gets along with a worker.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod reconcile {
    mod beside_a_worker;
    mod differences;
    mod property;
    mod support;
}
