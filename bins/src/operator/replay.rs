//! `replay`: the stores, made anew from the long-term log.

use std::io::{BufWriter, Write};

use anyhow::Context;
use mini_platform_core::replay::{ReplayReport, Replayer};

use super::progress::Progress;
use crate::backend::{Connections, LogPlace, log_dir, log_reader};
use crate::cli::Finish;
use crate::config::{Config, LogBackend};
use crate::lifecycle;

/// Arguments of `replay`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Exit code: 0 when all that the log tells is in the stores, 1 when they hold another event in the place of one, or when \
it was told to stop before the end.")]
pub struct ReplayArgs {
    /// The log: a folder of files, or `kafka` for the configured topic [default: the configured log]
    #[arg(long, value_name = "FOLDER|kafka")]
    from: Option<LogPlace>,
}

fn configured(config: &Config) -> anyhow::Result<LogPlace> {
    match config.log.backend {
        LogBackend::Files => Ok(LogPlace::Folder(log_dir(config))),
        LogBackend::Kafka => Ok(LogPlace::Kafka),
        LogBackend::None => anyhow::bail!("no log is configured (log.backend); say which with --from"),
    }
}

/// Names every event in whose place the store holds another one; incomplete when there is any.
pub(super) async fn run(
    args: ReplayArgs,
    config: &Config,
    connections: &Connections,
) -> anyhow::Result<Finish> {
    let stop = lifecycle::stop_on_signals()?;
    let place = args.from.map_or_else(|| configured(config), Ok)?;
    let log = log_reader(&place, config).await?;
    let replayer = Replayer::new(connections.events(config)?, connections.adjacency(config)?);
    let (mut out, mut progress) = (BufWriter::new(std::io::stdout()), Progress::start());
    let mut written = Ok(());
    let report = replayer
        .run(&*log, &stop, |step| {
            progress.tell(|| format!("{} records read so far", step.report.records));
            for id in step.conflicts {
                if written.is_ok() {
                    written = writeln!(out, "conflict {id}");
                }
            }
        })
        .await;
    progress.finish();
    written?;
    out.flush()?;
    let report =
        report.context("the replay stopped half-way; what was stored stays, and a new one does the rest")?;
    writeln!(out, "{}", summary(&report))?;
    out.flush()?;
    let is_done = report.is_complete && report.conflict == 0;
    Ok(if is_done { Finish::Complete } else { Finish::Incomplete })
}

fn summary(report: &ReplayReport) -> String {
    let ReplayReport { records, stored, duplicate, conflict, skipped, is_complete, .. } = report;
    let part = if *is_complete { "" } else { "stopped before the end: " };
    format!(
        "{part}{records} records read, {stored} events stored, {duplicate} were there already, {conflict} in conflict \
         with what is stored, {skipped} records of events that were not stored"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_a_topic_or_a_folder() {
        assert_eq!("kafka".parse(), Ok(LogPlace::Kafka));
        for folder in ["data/log", "./kafka", "kafka/"] {
            assert_eq!(folder.parse(), Ok(LogPlace::Folder(folder.into())));
        }
    }
}
