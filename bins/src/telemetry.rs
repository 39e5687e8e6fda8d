//! Logs: one line an event on standard error.

use std::io::{self, IsTerminal};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Quiets the embedded engine, unless the configured filter names it.
const ENGINE_FILTER: &str = "fjall=warn,lsm_tree=warn";

/// Starts logging; `filter` is a level or a list of directives such as `info,mini_platform_core=debug`.
///
/// # Errors
/// The filter cannot be understood, or logging was started before.
pub fn init(filter: &str) -> anyhow::Result<()> {
    // The engine's own steps are of interest only to who asks for them.
    let filter = format!("{ENGINE_FILTER},{filter}");
    let filter = EnvFilter::try_new(filter).context("log.level is no level and no list of directives")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}
