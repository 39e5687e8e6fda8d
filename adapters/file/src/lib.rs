#![doc = include_str!("../README.md")]

mod background;
mod error;
mod fraud_source;
mod long_term_log;
mod outbox;
mod segments;

pub use error::OpenError;
pub use fraud_source::FileSource;
pub use long_term_log::{DEFAULT_SEGMENT_AGE, DEFAULT_SEGMENT_BYTES, FileLog, FileLogConfig, FileLogReader};
pub use outbox::{DEFAULT_MAX_BYTES, FileOutbox, FileOutboxConfig};
