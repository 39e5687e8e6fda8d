//! The suite of the fraud registry on a shared server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mini_platform_core::fraud_registry_conformance!(support::registry());
