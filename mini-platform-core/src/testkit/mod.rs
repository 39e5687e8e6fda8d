//! Conformance suites: what every adapter of a port must do, as one list of cases a port.
//!
//! An adapter's `tests/conformance.rs` is one macro a port, which emits one named test a case:
//!
//! ```
//! # #[cfg(test)] mod tests {
//! use mini_platform_core::memory::MemoryEventStore;
//! use mini_platform_core::testkit::Fixture;
//!
//! async fn fixture() -> Fixture<dyn mini_platform_core::port::EventStore> {
//!     Fixture::new(std::sync::Arc::new(MemoryEventStore::default()))
//! }
//!
//! mini_platform_core::event_store_conformance!(fixture());
//! # }
//! ```
//!
//! Cases are named after the numbered clauses of the port's documentation. They are themselves tested against
//! deliberately broken adapters (`tests/suite_has_teeth.rs`). To add a case: write it beside the others, add it to
//! the list at the end of its file, and break an adapter for it in the teeth test, which does not compile
//! without.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a suite fails by panicking"
)]

pub mod adjacency_store;
mod clock;
pub mod event_store;
mod events;
mod faulty;
pub mod fraud_registry;
pub mod fraud_source;
pub mod long_term_log;
pub mod membership;
pub mod model;
pub mod outbox;
pub mod parking_lot;
pub mod server;
pub mod worker_node;

use std::any::Any;
use std::sync::Arc;

pub use clock::{ManualClock, VirtualClock};
pub use events::{
    at, batch, branch, client, deposit, fraud_list, id, list_version, log_record, transfer, untimed_transfer,
    withdrawal,
};
pub use faulty::{Fate, Faulty};

/// A fresh, empty port, and what must outlive it: a folder, a server, a namespace.
pub struct Fixture<P: ?Sized> {
    /// The port under test.
    pub port: Arc<P>,
    _guard: Box<dyn Any + Send + Sync>,
}

impl<P: ?Sized> std::fmt::Debug for Fixture<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixture").finish_non_exhaustive()
    }
}

impl<P: ?Sized> Fixture<P> {
    /// Makes a fixture that needs nothing but the port.
    #[must_use]
    pub fn new(port: Arc<P>) -> Self {
        Self::with_guard(port, ())
    }

    /// Makes a fixture that drops its guard after the port.
    #[must_use]
    pub fn with_guard(port: Arc<P>, guard: impl Any + Send + Sync) -> Self {
        Self { port, _guard: Box::new(guard) }
    }
}

/// What a suite runs on: a fixture, or `None` where its server is missing and the case is skipped.
pub trait IntoFixture {
    /// The port under test.
    type Port: ?Sized;

    /// Returns the fixture, if there is one.
    fn into_fixture(self) -> Option<Fixture<Self::Port>>;
}

impl<P: ?Sized> IntoFixture for Fixture<P> {
    type Port = P;

    fn into_fixture(self) -> Option<Self> {
        Some(self)
    }
}

impl<P: ?Sized> IntoFixture for Option<Fixture<P>> {
    type Port = P;

    fn into_fixture(self) -> Self {
        self
    }
}

/// Emits one named test a case; used by the `…_conformance` macros.
///
/// The fixture is what implements [`IntoFixture`].
#[doc(hidden)]
#[macro_export]
macro_rules! emit_conformance_tests {
    ([$fixture:expr] $suite:ident: $($case:ident),+ $(,)?) => {
        mod $suite {
            use super::*;
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(fixture) = $crate::testkit::IntoFixture::into_fixture($fixture.await) {
                        $crate::testkit::$suite::$case(fixture).await;
                    }
                }
            )+
        }
    };
}
