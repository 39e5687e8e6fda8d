//! The HTTP server: what clients of the platform talk to.
//!
//! A warp filter tells paths apart (`routes`); it is served as a hyper service, which brings graceful shutdown, time
//! limits and a limit of connections (`server`, `connection`). What is not an answer is a `problem`. Events come in
//! one by one (`ingest`), as lines (`lines`) or as an array (`array`); the last two share a `pipeline`. Reads are in
//! `fetch`, what waits in the parking lot (`lot`) in `parked` and `dead_letters`, the members of the cluster in `workers`,
//! probes in `health`, and the few pages of a feeder or worker of its own in `feeder` and `worker`.
//!
//! Nothing here knows a worker or a store: everything but those pages goes through the
//! [`Dispatcher`](mini_platform_core::Dispatcher).

mod array;
mod body;
mod connection;
mod dead_letters;
mod event_json;
mod feeder;
mod fetch;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod health;
mod ingest;
mod lines;
mod log_limit;
mod lot;
mod parked;
mod pipeline;
mod problem;
mod query;
mod render;
mod request;
mod routes;
mod server;
mod serving;
mod settings;
mod socket;
mod state;
#[cfg(feature = "cluster")]
mod worker;
mod workers;

pub use feeder::FeederApi;
pub use server::HttpServer;
pub use settings::HttpSettings;
pub use state::Api;
#[cfg(feature = "cluster")]
pub use worker::WorkerApi;
