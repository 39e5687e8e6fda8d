//! The fraud registry where things go wrong: servers that die, forget, fill up or deny, networks that fail.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod cluster;
mod common;
mod entries;
mod loss;
mod network;
mod sentinels;
mod staging;
#[path = "../support/mod.rs"]
mod support;
mod swaps;
