//! Comparing names: normalisation, and an index of a fraud list.

mod index;
mod normalize;

pub use index::{FraudIndex, FraudIndexBuilder, IndexFull};
pub use normalize::normalize;
