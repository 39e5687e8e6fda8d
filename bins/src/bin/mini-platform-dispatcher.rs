//! The dispatcher in a process of its own, for workers that join it.

use std::process::ExitCode;

use clap::Parser;
use mini_platform_bins::config::Config;
use mini_platform_bins::lifecycle;
use mini_platform_bins::program::{self, Role, RoleArgs};
use mini_platform_bins::standalone_dispatcher::StandaloneDispatcher;
use mini_platform_bins::telemetry::{self, Metrics};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes events and reads from clients and balances them over the workers that join it.
#[derive(Debug, Parser)]
#[command(name = "mini-platform-dispatcher", version)]
struct Cli {
    #[command(flatten)]
    args: RoleArgs,
}

fn main() -> ExitCode {
    match program::parse::<Cli>() {
        Ok(cli) => Role::DISPATCHER.run(cli.args, run),
        Err(code) => code,
    }
}

async fn run(config: &Config) -> anyhow::Result<()> {
    telemetry::init(&config.log.level)?;
    tracing::info!("mini-platform-dispatcher {}", env!("CARGO_PKG_VERSION"));
    let stop = lifecycle::stop_on_signals()?;
    let dispatcher = StandaloneDispatcher::start(config, Metrics::install()?, stop).await?;
    tracing::info!("listening on http://{}", dispatcher.http_addr());
    tracing::info!("serving gRPC on http://{}", dispatcher.grpc_addr());
    dispatcher.run().await?;
    tracing::info!("stopped");
    Ok(())
}
