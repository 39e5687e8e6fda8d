//! Which trace the work of a request belongs to.
//!
//! A task-local value, like the [`deadline`](crate::deadline): whoever takes a request in sets it, and the dispatcher
//! puts it into the records of the long-term log.

use std::future::Future;

use crate::domain::TraceContext;

tokio::task_local! {
    static TRACE: TraceContext;
}

/// Works for a request of a trace.
pub async fn within<T>(trace: TraceContext, work: impl Future<Output = T>) -> T {
    TRACE.scope(trace, work).await
}

/// Returns the trace of the request that is worked on, if it is known.
#[must_use]
pub fn current() -> Option<TraceContext> {
    TRACE.try_with(|trace| *trace).ok()
}
