//! `lists` and `rollback`: the versions of the fraud list that the registry keeps.

use std::io::Write;

use anyhow::Context;
use mini_platform_core::domain::{ListInfo, ListVersion};
use mini_platform_core::error::RegistryError;

use crate::backend::Connections;
use crate::cli::Finish;
use crate::config::Config;

/// Arguments of `rollback`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
The feeder does not undo a rollback: only a list that is published later than every one before replaces it.")]
pub struct RollbackArgs {
    /// The version, as `lists` shows it
    version: ListVersion,
}

pub(super) async fn show(config: &Config, connections: &Connections) -> anyhow::Result<Finish> {
    let registry = connections.registry(config)?;
    let (in_force, kept) = tokio::try_join!(registry.in_force(), registry.history())?;
    let in_force = in_force.map(|list| list.version);
    let mut out = std::io::stdout().lock();
    if kept.is_empty() {
        writeln!(out, "no fraud list was loaded yet")?;
    }
    for list in &kept {
        let mark = if in_force.as_ref() == Some(&list.version) { "in force" } else { "kept    " };
        writeln!(out, "{mark}  {}", line(list))?;
    }
    out.flush()?;
    Ok(Finish::Complete)
}

fn line(list: &ListInfo) -> String {
    let ListInfo { version, entries, source, loaded_at, confirmed_at } = list;
    let published_at = version.published_at();
    format!(
        "{version}  {entries} entries  published {published_at}  loaded {loaded_at}  confirmed {confirmed_at}  from {source}"
    )
}

pub(super) async fn rollback(
    args: &RollbackArgs,
    config: &Config,
    connections: &Connections,
) -> anyhow::Result<Finish> {
    let registry = connections.registry(config)?;
    let list = registry.rollback(&args.version).await.map_err(|error| match error {
        unknown @ RegistryError::UnknownVersion(_) => {
            anyhow::Error::from(unknown).context("nothing was changed; `lists` shows what is kept")
        }
        other => other.into(),
    });
    let list = list.context("the list was not rolled back")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "in force  {}", line(&list))?;
    out.flush()?;
    Ok(Finish::Complete)
}
