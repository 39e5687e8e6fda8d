//! Fuzz targets: one function for each kind of input that comes from outside.
//!
//! A target takes any bytes and panics when a law of its subject is broken; each file says which laws these are.
//! `scripts/fuzz` looks for inputs that break one, from the programs in `bins/fuzz` on, and `tests/fuzz_corpus.rs`
//! runs those that are kept in `bins/fuzz/corpus`: readable beginnings, and whatever once broke a law.
//!
//! Where a target has choices beside its input, they are the first line of the bytes.
//!
//! To add a target:
//! 1. a file here with its laws, and its row in [`TARGETS`];
//! 2. a program `bins/fuzz/fuzz_targets/NAME.rs`, and its `[[bin]]`;
//! 3. a few small inputs in `bins/fuzz/corpus/NAME/`, with made-up names only;
//! 4. the words of its language in `bins/fuzz/dictionaries/NAME.dict`, if it has any.

#![expect(clippy::expect_used, clippy::panic, reason = "a target says by a panic that a law is broken")]

mod config;
mod http_body;
mod json;
mod json_array;
mod list_formats;
mod many;
mod ndjson;
mod page_token;
mod parcel;
mod protobuf;

pub use config::config;
pub use http_body::http_body;
pub use json_array::json_array;
pub use list_formats::list_formats;
pub use ndjson::ndjson;
pub use page_token::page_token;
pub use parcel::parcel;
pub use protobuf::{MESSAGES, protobuf};

use mini_platform_core::domain::Timestamp;
use mini_platform_core::port::Clock;

/// Checks the laws of a target on one input, and panics when one is broken.
pub type Target = fn(&[u8]);

/// Every target under its name.
pub const TARGETS: [(&str, Target); 8] = [
    ("http_body", http_body),
    ("ndjson", ndjson),
    ("json_array", json_array),
    ("list_formats", list_formats),
    ("page_token", page_token),
    ("config", config),
    ("protobuf", protobuf),
    ("parcel", parcel),
];

/// Divides bytes into the first line, without its end, and the rest.
fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    (line, rest.strip_prefix(b"\n").unwrap_or_default())
}

/// A clock that stands still, so that an input always leads to the same.
#[derive(Debug, Clone, Copy)]
struct StandingClock;

impl StandingClock {
    /// 2026-02-01T00:00:00Z.
    const MICROS: i64 = 1_769_904_000_000_000;
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(Self::MICROS).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
