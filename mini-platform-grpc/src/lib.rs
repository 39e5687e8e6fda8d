#![doc = include_str!("../README.md")]

pub mod convert;
mod debug;
pub mod generated;

pub use convert::{ConvertError, Problem};
pub use generated::v1;
