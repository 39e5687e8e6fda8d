//! What the programs of mini-platform share: configuration, wiring, the HTTP server, the command line.
//!
//! The programs themselves are thin: see `src/bin`.

pub mod all_in_one;
pub mod backend;
pub mod bundled;
pub mod cli;
pub mod client;
#[cfg(feature = "cluster")]
mod clustering;
pub mod config;
pub mod dispatching;
pub mod feeding;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod lifecycle;
pub mod operator;
pub mod program;
mod random;
#[cfg(feature = "cluster")]
pub mod standalone_dispatcher;
pub mod standalone_feeder;
#[cfg(feature = "cluster")]
pub mod standalone_worker;
pub mod telemetry;

/// Exit codes of all programs, after sysexits.h.
pub mod exit {
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// The program could not do its work.
    pub const INTERNAL: u8 = 70;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}
