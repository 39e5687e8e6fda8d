//! The feeder in a process of its own, for a registry that several processes share.

use std::process::ExitCode;

use clap::Parser;
use mini_platform_bins::config::Config;
use mini_platform_bins::lifecycle;
use mini_platform_bins::program::{self, Role, RoleArgs};
use mini_platform_bins::standalone_feeder::StandaloneFeeder;
use mini_platform_bins::telemetry::{self, Metrics};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps the fraud list in a shared registry the one that its sources publish.
#[derive(Debug, Parser)]
#[command(name = "mini-platform-feeder", version)]
struct Cli {
    #[command(flatten)]
    args: RoleArgs,
}

fn main() -> ExitCode {
    match program::parse::<Cli>() {
        Ok(cli) => Role::FEEDER.run(cli.args, run),
        Err(code) => code,
    }
}

async fn run(config: &Config) -> anyhow::Result<()> {
    telemetry::init(&config.log.level)?;
    tracing::info!("mini-platform-feeder {}", env!("CARGO_PKG_VERSION"));
    let stop = lifecycle::stop_on_signals()?;
    let feeder = StandaloneFeeder::start(config, Metrics::install()?, stop).await?;
    tracing::info!("listening on http://{}", feeder.http_addr());
    feeder.run().await?;
    tracing::info!("stopped");
    Ok(())
}
