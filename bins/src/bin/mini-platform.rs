//! The platform in one process, and the commands that talk to a running one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, Subcommand};
use mini_platform_bins::all_in_one::AllInOne;
use mini_platform_bins::cli::{self, ClientCommand, DemoArgs, Finish};
use mini_platform_bins::config::{Backend, Config, FeedSource, Loaded, Sources};
use mini_platform_bins::{bundled, exit, lifecycle, telemetry};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Screens bank events against a live fraud list before they are stored.
#[derive(Debug, Parser)]
#[command(name = "mini-platform", version)]
struct Cli {
    /// The configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key of the configuration, such as http.listen=127.0.0.1:18080
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
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
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let Cli { config, set, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => return usage(&message),
    };
    let load = || Sources::gather(config.as_deref(), set).and_then(|sources| Config::load(&sources));
    match command.unwrap_or(Command::Up) {
        Command::Client(command) => cli::exit_code(block_on(cli::run(command))),
        command => match load() {
            Ok(loaded) => run(command, &loaded),
            Err(problems) => {
                eprintln!("{problems}");
                exit::CONFIG.into()
            }
        },
    }
}

/// Prints what clap has to say: help and version are no mistakes.
fn usage(message: &clap::Error) -> ExitCode {
    let code = if message.use_stderr() { exit::USAGE } else { 0 };
    match message.print() {
        Ok(()) => code.into(),
        Err(_) => exit::INTERNAL.into(),
    }
}

fn run(command: Command, loaded: &Loaded) -> ExitCode {
    let outcome = match command {
        Command::CheckConfig => {
            println!("the configuration is valid");
            Ok(())
        }
        Command::PrintConfig => {
            print!("{}", loaded.to_toml());
            Ok(())
        }
        Command::Demo { args, once } => block_on(demo(loaded.config.clone(), args, once)),
        Command::Up | Command::Client(_) => block_on(up(&loaded.config)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit::INTERNAL.into()
        }
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(work)
}

async fn up(config: &Config) -> anyhow::Result<()> {
    start(config, lifecycle::stop_on_signals()?).await?.run().await?;
    tracing::info!("stopped");
    Ok(())
}

async fn start(config: &Config, stop: CancellationToken) -> anyhow::Result<AllInOne> {
    telemetry::init(&config.log.level)?;
    tracing::info!("mini-platform {}", env!("CARGO_PKG_VERSION"));
    let platform = AllInOne::start(config, stop).await?;
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

/// Runs the platform in memory with the bundled list, whatever is configured for a real one.
async fn demo(mut config: Config, args: DemoArgs, once: bool) -> anyhow::Result<()> {
    config.store.backend = Backend::Memory;
    config.adjacency.backend = Backend::Memory;
    config.registry.backend = Backend::Memory;
    config.feeder.source = vec![FeedSource::Bundled];
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
