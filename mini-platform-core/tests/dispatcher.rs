//! What the dispatcher promises when workers are slow, failing or gone. Time is paused throughout.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dispatcher {
    mod contact;
    mod forwarding;
    mod gathering;
    mod hedging;
    mod overload;
    mod parking;
    mod support;
}
