//! How programs end: by a signal, of which the first asks and the second does not; or because a part of them ended.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The exit code after a second signal: 128 + SIGINT.
const FORCED: i32 = 130;

/// Returns a token that is cancelled by the first SIGINT or SIGTERM. A second one ends the process at once.
///
/// # Errors
/// The handlers cannot be installed.
pub fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let stop = CancellationToken::new();
    tokio::spawn(escalate(interrupt, terminate, stop.clone()));
    Ok(stop)
}

/// Runs a part that the program cannot do without: when it ends, even by a panic, the program is asked to stop.
pub(crate) fn spawn_part<T: Send + 'static>(
    stop: &CancellationToken,
    part: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let ends_the_program = stop.clone().drop_guard();
    tokio::spawn(async move {
        let outcome = part.await;
        drop(ends_the_program);
        outcome
    })
}

/// Ends the program when a store broke, with an error: whoever watches over it starts it again.
pub(crate) async fn end_when_broken(
    broken: impl Future<Output = ()>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    match stop.run_until_cancelled(broken).await {
        None => Ok(()),
        Some(()) => {
            tracing::error!("the embedded store failed to write and takes nothing any more: stopping");
            stop.cancel();
            anyhow::bail!(
                "the embedded store failed to write; what was acknowledged is there: make room on the disk, if it is \
                 full, and start again"
            )
        }
    }
}

async fn escalate(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    for forced in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if forced {
            tracing::warn!("second signal: leaving at once; what was acknowledged is durable");
            std::process::exit(FORCED);
        }
        tracing::info!("stopping: finishing what was accepted; signal again to leave at once");
        stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_whose_store_broke_stops_with_an_error() {
        let stop = CancellationToken::new();
        let ended = end_when_broken(std::future::ready(()), stop.clone()).await;
        assert!(stop.is_cancelled() && ended.is_err());
    }

    #[tokio::test]
    async fn a_program_that_is_stopped_does_not_wait_for_its_store_to_break() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(end_when_broken(std::future::pending(), stop).await.is_ok());
    }

    #[tokio::test]
    async fn a_program_stops_when_a_part_of_it_breaks() {
        let stop = CancellationToken::new();
        let part = spawn_part(&stop, async { assert!(std::hint::black_box(false), "it breaks") });
        stop.cancelled().await;
        assert!(part.await.is_err());
    }
}
