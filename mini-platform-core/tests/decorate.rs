//! The decorators: retries, and the copy of the fraud list in the process.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod decorate {
    mod in_process_list;
    mod retrying;
}
