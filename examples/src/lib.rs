//! Small programs that use mini-platform as a library; `cargo run -p mini-platform-examples --example embed`.
//!
//! - `embed`: the whole platform inside of your program, on the embedded store.
//! - `own_event_store`: your own event store behind the port, checked by the conformance suite.
//! - `mock_backed_test`: a unit test of your code against mocked ports.
