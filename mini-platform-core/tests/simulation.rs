//! The whole platform on virtual time, under faults that a seed chooses, and the laws that hold all the same.
//!
//! Clients send events through a bad network to dispatchers, these to workers, these to stores; processes crash at any
//! step and come back; stores, lot, log and outboxes fail, hang, lose answers and do half of what they were asked;
//! clocks jump; fraud lists change. Then everything heals, and the laws are checked (`laws`; those that can be checked
//! at once, in `ledger`). Nothing but the seed decides what happens: a seed that breaks a law breaks it again.
//!
//! - `cargo nextest run -p mini-platform-core --test simulation` runs the seeds of CI.
//! - `scripts/simulate 5000` runs thousands on all cores, `scripts/simulate 1 123` runs seed 123 and shows its history.
//! - `scripts/simulate mutations` shows that it has teeth: each patch in `simulation/mutations` breaks one promise in the
//!   code, as its first line says, and one of the first 200 seeds must notice. Who makes a new promise adds a patch.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod simulation {
    mod chance;
    mod client;
    mod coverage;
    mod disk;
    mod dispatcher;
    mod facts;
    mod history;
    mod laws;
    mod ledger;
    mod life;
    mod log;
    mod lot;
    mod network;
    mod plan;
    mod run;
    mod seeds;
    mod stores;
    mod trouble;
    mod weather;
    mod wire;
    mod worker;
    mod world;
}
