//! `feed`: one look at the fraud sources.

use std::io::{BufWriter, Write};

use anyhow::Context;
use mini_platform_core::feeder::{Feeder, Preview, PreviewVerdict, Refresh, RefreshError};

use crate::backend::{Connections, fraud_sources};
use crate::cli::Finish;
use crate::config::Config;
use crate::feeding;

/// Arguments of `feed`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Exit code: 0 when the list in force is the newest of its sources, 1 when what they have is refused or older.")]
pub struct FeedArgs {
    /// Prints which names would come and go, and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Takes the list however much it shrank, this once: look at it with --dry-run first
    #[arg(long)]
    allow_shrink: bool,
}

pub(super) async fn run(
    args: &FeedArgs,
    config: &Config,
    connections: &Connections,
) -> anyhow::Result<Finish> {
    let sources = fraud_sources(config).await?;
    let feeder = feeding::feeder(&config.feeder, connections.registry(config)?, sources)?;
    let feeder = if args.allow_shrink { feeder.with_allow_shrink() } else { feeder };
    if args.dry_run { preview(&feeder, config).await } else { refresh(feeder).await }
}

async fn refresh(mut feeder: Feeder) -> anyhow::Result<Finish> {
    let (said, finish) = match feeder.refresh().await {
        Ok(Refresh::Replaced { list, malformed }) => {
            let skipped =
                if malformed == 0 { String::new() } else { format!(", {malformed} malformed lines skipped") };
            (format!("in force: {}, {} entries{skipped}", list.version, list.entries), Finish::Complete)
        }
        Ok(Refresh::Stale { newest }) => {
            (format!("kept out: the source has an older list than {newest}"), Finish::Incomplete)
        }
        Ok(_) => ("unchanged: the registry has the newest list of its sources".to_owned(), Finish::Complete),
        Err(refused @ RefreshError::Refused(_)) => {
            eprintln!("error: {:#}", anyhow::Error::from(refused));
            ("kept out: the list in force stays".to_owned(), Finish::Incomplete)
        }
        Err(error) => return Err(error).context("the list in force stays"),
    };
    say(&said)?;
    Ok(finish)
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

async fn preview(feeder: &Feeder, config: &Config) -> anyhow::Result<Finish> {
    let preview =
        feeder.preview(config.screening.match_mode).await.context("what would change cannot be told")?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (sign, names) in [('-', &preview.removed), ('+', &preview.added)] {
        for name in names {
            writeln!(out, "{sign} {}", name.as_str())?;
        }
    }
    let (verdict, finish) = verdict(&preview);
    writeln!(out, "{verdict}: {}", counts(&preview))?;
    out.flush()?;
    Ok(finish)
}

fn counts(preview: &Preview) -> String {
    let (added, removed) = (preview.added.len(), preview.removed.len());
    let in_force = preview.in_force.as_ref().map_or("no list".to_owned(), ToString::to_string);
    format!(
        "{} with {} entries, {added} added and {removed} removed against {in_force}, {} malformed lines",
        preview.version, preview.entries, preview.malformed
    )
}

fn verdict(preview: &Preview) -> (String, Finish) {
    match &preview.verdict {
        PreviewVerdict::Unchanged => ("would change nothing".to_owned(), Finish::Complete),
        PreviewVerdict::Replaced => ("would come into force".to_owned(), Finish::Complete),
        PreviewVerdict::Stale { newest } => {
            (format!("would stay out, being older than {newest}"), Finish::Incomplete)
        }
        PreviewVerdict::Refused(reason) => {
            let causes: Vec<_> = anyhow::Chain::new(&**reason).map(ToString::to_string).collect();
            (format!("would be refused ({})", causes.join(": ")), Finish::Incomplete)
        }
        _ => ("cannot be told".to_owned(), Finish::Incomplete),
    }
}
