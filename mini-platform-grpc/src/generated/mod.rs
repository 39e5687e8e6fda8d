//! What prost makes of the files in `proto/`.
//!
//! Never edited by hand: `proto/README.md` says how to write it anew, and a test fails when it is stale.

/// The package `mini_platform.v1`.
#[rustfmt::skip]
#[path = "mini_platform.v1.rs"]
pub mod v1;
