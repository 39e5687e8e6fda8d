//! Ports around ports: each adds one quality to any backend, and is itself the port.
//!
//! To add a decorator: one file, one generic struct, the port's trait implemented with
//! `#[deny(clippy::missing_trait_methods)]`, so that a new method of a port is never passed over.

mod in_process_list;
mod retrying;

pub use crate::retry::RetryPolicy;
pub use in_process_list::InProcessList;
pub use retrying::Retrying;
