//! `load`: sends events at a steady pace, keeps a ledger of what was promised, and checks that the promises are kept.
//!
//! `plan` makes the events up, `drive` sends them, `ledger` keeps what was answered, `check` asks the platform, and
//! `audit` knows the laws.

mod audit;
mod check;
mod drive;
mod event;
mod ledger;
mod plan;
mod tally;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use self::drive::{Pace, drive};
use self::ledger::{Entry, Ledger};
use self::plan::Plan;
use super::{DEFAULT_URL, Finish};
use crate::backend::{LogPlace, log_reader};
use crate::client::{BaseUrl, PlatformClient};
use crate::config::Need;
use crate::program::ConfigArgs;
use crate::random::random_seed;
use crate::{bundled, lifecycle};

/// Arguments of `load`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Exit code: 0 when every event was sent and acknowledged, 1 when any was not sent, given up, in conflict or answered \
otherwise."
)]
pub struct LoadArgs {
    #[command(subcommand)]
    action: Option<LoadAction>,
    #[command(flatten)]
    send: LoadSendArgs,
}

/// What else can be done with a load.
#[derive(Debug, Clone, clap::Subcommand)]
enum LoadAction {
    /// Accounts for every event of a ledger: acknowledged, stored, parked, dead, logged
    Check(LoadCheckArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct LoadSendArgs {
    /// The running platform; repeat it for several dispatchers, and each client's events start with the same one
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    url: Vec<BaseUrl>,
    /// Events a second, whether or not the platform keeps up
    #[arg(long, value_name = "EVENTS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long to send
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Distinct clients, made up for this run
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    clients: u32,
    /// Which part of the events has a subject of the fraud list
    #[arg(long, value_name = "PART", default_value_t = 0.01, value_parser = part)]
    fraudulent: f64,
    /// A name of the fraud list in force; the bundled list's names if left out
    #[arg(long, value_name = "NAME")]
    fraud_name: Vec<String>,
    /// The same seed makes the same events
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Requests that are under way at once; an event that finds none free for 2 s is not sent
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Let each client have one event under way at a time
    #[arg(long)]
    in_order: bool,
    /// How long one answer may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// How long an event is sent again that is answered 503 or not at all
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    give_up_after: Duration,
    /// Write every event and every answer to this new file before it counts
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Keeps 24 bytes an event in memory. Names of clients are not printed. Exit code: 0 when every law holds, 1 when one is \
broken or something cannot be read.")]
struct LoadCheckArgs {
    /// What `load --ledger` wrote; the load has to be over
    ledger: PathBuf,
    /// The running platform
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    url: BaseUrl,
    /// The long-term log: a folder of files, or `kafka` for the configured topic; repeat it when several dispatchers
    /// have a folder each
    #[arg(long, value_name = "FOLDER|kafka")]
    log: Vec<LogPlace>,
    /// How long to wait until nothing is parked any more
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    settle: Duration,
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("expected a number from 0 to 1, such as 0.01".to_owned()),
    }
}

pub(super) async fn run(args: LoadArgs, config: ConfigArgs) -> anyhow::Result<Finish> {
    match args.action {
        Some(LoadAction::Check(args)) => check(args, config).await,
        None => send(args.send).await,
    }
}

async fn send(args: LoadSendArgs) -> anyhow::Result<Finish> {
    let run = run_name();
    let listed = if args.fraud_name.is_empty() { bundled::names() } else { args.fraud_name.clone() };
    let clients = usize::try_from(args.clients)?;
    let plan = Plan::new(&run, args.seed, clients, &listed, args.fraudulent);
    let platforms: Vec<PlatformClient> = args.url.iter().cloned().map(PlatformClient::new).collect();
    let dispatchers = u8::try_from(platforms.len()).context("there are too many platforms")?;
    let (ledger, file) = args.ledger.as_deref().map(Ledger::create).transpose()?.unzip();
    if let Some(ledger) = &ledger {
        ledger.note(&Entry::run(&run, args.seed, dispatchers)).await?;
    }
    eprintln!("run {run}, seed {}", args.seed);
    let in_order = if args.in_order { clients } else { 0 };
    let started = Instant::now();
    let driven = drive(platforms, args.pace(), plan, in_order, ledger, lifecycle::stop_on_signals()?).await;
    let closed = file.map_or(Ok(()), ledger::LedgerFile::close);
    // Why the ledger could not be written is known where it was written.
    let tally = closed.and(driven)?;
    print(&tally.summary(started.elapsed()))?;
    Ok(if tally.is_clean() { Finish::Complete } else { Finish::Incomplete })
}

impl LoadSendArgs {
    fn pace(&self) -> Pace {
        Pace {
            rate: self.rate,
            duration: self.duration,
            connections: self.connections.into(),
            timeout: self.timeout,
            give_up_after: self.give_up_after,
            seed: self.seed,
        }
    }
}

/// Returns a name that no other run has, so that runs do not meet in ids or clients.
fn run_name() -> String {
    format!("{:010x}", random_seed() & 0xff_ffff_ffff)
}

async fn check(args: LoadCheckArgs, config: ConfigArgs) -> anyhow::Result<Finish> {
    let config = config.load(&[Need::NoBackend])?.config;
    let mut logs = Vec::new();
    for place in &args.log {
        logs.push(log_reader(place, &config).await?);
    }
    let platform = PlatformClient::new(args.url);
    let report = check::check(&platform, &args.ledger, &logs, args.settle).await?;
    print(&report)?;
    Ok(if report.is_clean() { Finish::Complete } else { Finish::Incomplete })
}

fn print(text: &impl std::fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")?;
    out.flush().context("the summary cannot be written")
}
