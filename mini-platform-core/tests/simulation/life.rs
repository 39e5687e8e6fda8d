//! Processes, from their start to their crash.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Whose life it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    Client(usize),
    Dispatcher(usize),
    Worker(usize),
}

impl Host {
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Client(number) | Self::Dispatcher(number) | Self::Worker(number) => number,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(number) => write!(f, "c{number}"),
            Self::Dispatcher(number) => write!(f, "d{number}"),
            Self::Worker(number) => write!(f, "w{number}"),
        }
    }
}

/// One run of a process: `d1#2` is the second of the first dispatcher.
///
/// When it is over, everything that it held in memory is gone: what it asked for is not answered, and what it asks for
/// is not done.
pub(crate) struct Life {
    pub(crate) host: Host,
    pub(crate) run: u64,
    over: CancellationToken,
    is_crashed: AtomicBool,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.host, self.run)
    }
}

impl Life {
    pub(crate) fn start(host: Host, run: u64) -> Self {
        Self { host, run, over: CancellationToken::new(), is_crashed: false.into() }
    }

    /// Ends it when it has done all that it had to.
    pub(crate) fn end(&self) {
        self.over.cancel();
    }

    /// Ends it where it stands.
    pub(crate) fn crash(&self) {
        self.is_crashed.store(true, Ordering::Relaxed);
        self.end();
    }

    pub(crate) fn is_crashed(&self) -> bool {
        self.is_crashed.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Works until the work ends, or drops it with the end of this life.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.is_over() {
            return None;
        }
        self.over.run_until_cancelled(work).await
    }

    /// Works until the work ends; beyond the end of this life there is no answer.
    pub(crate) async fn or_never<T>(&self, work: impl Future<Output = T>) -> T {
        match self.run(work).await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}
