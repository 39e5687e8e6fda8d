//! Signals: the first asks a program to stop, the second does not ask.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
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
