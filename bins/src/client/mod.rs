//! The client side of the HTTP API: what the sub-commands talk to a running platform with.
//!
//! Plain `http://` only, streaming both ways, and nothing that grows with the number of events: a request
//! body is pulled from a stream as fast as the platform reads, and results are handed over as they arrive.
//! What the results mean for a whole import is the business of [`cli`](crate::cli).

mod activity;
mod base_url;
mod error;
mod platform;
mod results;

pub use base_url::BaseUrl;
pub use error::{ClientError, Problem};
pub use platform::{PlatformClient, path_segment};
pub use results::{EventResult, EventResults, ResultError, ResultOutcome};
