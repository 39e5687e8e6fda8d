//! What prost makes of the files in `proto/`.
//!
//! Never edited by hand: `proto/README.md` says how to write it anew, and a test fails when it is stale.

/// The package `mini_platform.v1`.
#[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "the generators write it so")]
#[rustfmt::skip]
#[path = "mini_platform.v1.rs"]
pub mod v1;

/// The descriptors of the files, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("mini_platform.v1.bin");
