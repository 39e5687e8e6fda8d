//! The platform in one process, and the commands that go with it.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use mini_platform_bins::all_in_one::AllInOne;
use mini_platform_bins::cli::{self, ClientCommand, DemoArgs, Finish};
use mini_platform_bins::config::{Config, FeedSource};
use mini_platform_bins::operator::{self, OperatorCommand};
use mini_platform_bins::program::{self, ConfigArgs, block_on};
use mini_platform_bins::telemetry::{self, Metrics};
use mini_platform_bins::{bundled, lifecycle};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Screens bank events against a live fraud list before they are stored.
#[derive(Debug, Parser)]
#[command(name = "mini-platform", version)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the platform until it is told to stop (the default)
    Up,
    /// Runs the platform on a throw-away store, with a made-up bank that is busy for a moment
    Demo {
        #[command(flatten)]
        args: DemoArgs,
        /// Ends after the summary, instead of staying up for you to look around
        #[arg(long)]
        once: bool,
    },
    /// Checks the configuration and ends
    CheckConfig,
    /// Shows every key of the configuration, its value and where that was written
    PrintConfig,
    #[command(flatten)]
    Client(ClientCommand),
    #[command(flatten)]
    Operator(OperatorCommand),
}

/// The demo runs in memory with the bundled list, whatever is configured for a real platform.
const DEMO: [(&str, &str); 6] = [
    ("store.backend", "memory"),
    ("adjacency.backend", "memory"),
    ("registry.backend", "memory"),
    ("parking.backend", "memory"),
    ("log.backend", "none"),
    ("feeder.source", "bundled"),
];

fn main() -> ExitCode {
    let Cli { config, command } = match program::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match command.unwrap_or(Command::Up) {
        Command::Client(command) => cli::exit_code(block_on(cli::run(command, config))),
        Command::Operator(command) => operator::exit_code(command, config),
        Command::Up => program::exit_code(configured(config, |config| block_on(up(&config)))),
        Command::Demo { args, once } => {
            let config = DEMO.into_iter().fold(config, |config, (key, value)| config.with(key, value));
            program::exit_code(configured(config, |config| block_on(demo(config, args, once))))
        }
        Command::CheckConfig => program::exit_code(configured(config, |_| {
            println!("the configuration is valid");
            Ok(())
        })),
        Command::PrintConfig => program::exit_code(config.load(&[]).map_err(Into::into).map(|loaded| {
            print!("{}", loaded.to_toml());
        })),
    }
}

fn configured(args: ConfigArgs, run: impl FnOnce(Config) -> anyhow::Result<()>) -> anyhow::Result<()> {
    run(args.load(&[])?.config)
}

async fn up(config: &Config) -> anyhow::Result<()> {
    start(config, lifecycle::stop_on_signals()?).await?.run().await?;
    tracing::info!("stopped");
    Ok(())
}

async fn start(config: &Config, stop: CancellationToken) -> anyhow::Result<AllInOne> {
    telemetry::init(&config.log.level)?;
    tracing::info!("mini-platform {}", env!("CARGO_PKG_VERSION"));
    let platform = AllInOne::start(config, Metrics::install()?, stop).await?;
    tracing::info!("listening on http://{}", platform.http_addr());
    if config.feeder.source.contains(&FeedSource::Bundled) {
        tracing::warn!("screening against the bundled fictional list; set feeder.source to your own");
    }
    tokio::spawn(announce(platform.ready()));
    Ok(platform)
}

async fn announce(ready: impl Future<Output = ()>) {
    let started = Instant::now();
    ready.await;
    tracing::info!("ready {} ms after listening", started.elapsed().as_millis());
}

async fn demo(config: Config, args: DemoArgs, once: bool) -> anyhow::Result<()> {
    let stop = lifecycle::stop_on_signals()?;
    let platform = start(&config, stop.clone()).await?;
    let (base, ready) = (format!("http://{}", platform.http_addr()).parse()?, platform.ready());
    let serving = tokio::spawn(platform.run());
    ready.await;
    let summary = cli::demo(base, &args, &bundled::names()).await;
    if once || summary.is_err() {
        stop.cancel();
    }
    let summary = summary?;
    println!("{summary}");
    if !once {
        println!("The platform stays up for you to look around: Ctrl-C ends it.");
    }
    serving.await??;
    anyhow::ensure!(summary.finish() == Finish::Complete, "not every event of the demo is accounted for");
    Ok(())
}
