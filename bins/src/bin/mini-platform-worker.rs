//! A worker in a process of its own, for stores that several workers share.

use std::process::ExitCode;

use clap::Parser;
use mini_platform_bins::config::Config;
use mini_platform_bins::lifecycle;
use mini_platform_bins::program::{self, Role, RoleArgs};
use mini_platform_bins::standalone_worker::StandaloneWorker;
use mini_platform_bins::telemetry::{self, Metrics};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Screens, stores and finds events for the dispatchers that it joins.
#[derive(Debug, Parser)]
#[command(name = "mini-platform-worker", version)]
struct Cli {
    #[command(flatten)]
    args: RoleArgs,
}

fn main() -> ExitCode {
    match program::parse::<Cli>() {
        Ok(cli) => Role::WORKER.run(cli.args, run),
        Err(code) => code,
    }
}

async fn run(config: &Config) -> anyhow::Result<()> {
    telemetry::init(&config.log.level)?;
    tracing::info!("mini-platform-worker {}", env!("CARGO_PKG_VERSION"));
    let stop = lifecycle::stop_on_signals()?;
    let worker = StandaloneWorker::start(config, Metrics::install()?, stop).await?;
    tracing::info!("listening on http://{}", worker.http_addr());
    tracing::info!(
        worker.id = %worker.id(), "serving gRPC on http://{}, for dispatchers that dial {}",
        worker.grpc_addr(), worker.advertised()
    );
    worker.run().await?;
    tracing::info!("stopped");
    Ok(())
}
