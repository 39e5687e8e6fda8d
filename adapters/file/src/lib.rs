#![doc = include_str!("../README.md")]

mod error;
mod fraud_source;

pub use fraud_source::FileSource;
