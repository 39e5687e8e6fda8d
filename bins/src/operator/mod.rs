//! The sub-commands that open the configured backends themselves, beside a running platform or without one.
//!
//! Results go to standard output, progress and errors to standard error. The embedded store serves one process at a
//! time, so on it they need the platform stopped, and say so; on MongoDB and Redis the platform goes on meanwhile.

mod feed;
mod lists;
mod progress;
mod reconcile;
mod replay;

use std::process::ExitCode;

pub use feed::FeedArgs;
pub use lists::RollbackArgs;
pub use replay::ReplayArgs;

use anyhow::Context;

use crate::backend::{Connections, Port};
use crate::cli::Finish;
use crate::config::{Config, Need};
use crate::program::{self, ConfigArgs};

/// The sub-commands that work on the backends.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum OperatorCommand {
    /// Looks at the fraud sources once, puts their list in force if it is newer, and ends
    Feed(FeedArgs),
    /// Shows the versions of the fraud list that are kept, and which is in force
    Lists,
    /// Puts a kept version of the fraud list back in force
    Rollback(RollbackArgs),
    /// Compares the links of all clients with their events, and names every difference
    Verify,
    /// Makes the links of all clients what their events imply
    Rebuild,
    /// Stores and links the events that the long-term log tells of; what is there already stays
    Replay(ReplayArgs),
}

impl OperatorCommand {
    fn needs(&self) -> &'static [Need] {
        match self {
            Self::Feed(_) => &[Need::Source, Need::LastingRegistry],
            Self::Lists | Self::Rollback(_) => &[Need::LastingRegistry],
            Self::Verify | Self::Rebuild | Self::Replay(_) => &[Need::LastingStores],
        }
    }

    fn ports(&self) -> &'static [Port] {
        match self {
            Self::Feed(_) | Self::Lists | Self::Rollback(_) => &[Port::Registry],
            Self::Verify | Self::Rebuild | Self::Replay(_) => &[Port::Events, Port::Adjacency],
        }
    }
}

/// Runs a sub-command and returns its exit code: 0, 1 for differences and conflicts, 70 for failures, 78 for the configuration.
#[must_use]
pub fn exit_code(command: OperatorCommand, config: ConfigArgs) -> ExitCode {
    let outcome = match config.load(command.needs()) {
        Ok(loaded) => program::block_on(run(command, &loaded.config)),
        Err(problems) => Err(problems.into()),
    };
    match outcome {
        Ok(finish) => finish.code().into(),
        Err(error) if crate::cli::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => program::failed(&error),
    }
}

async fn run(command: OperatorCommand, config: &Config) -> anyhow::Result<Finish> {
    let connections =
        Connections::open(config, command.ports()).await.context("the backends cannot be opened")?;
    let outcome = match command {
        OperatorCommand::Feed(args) => feed::run(&args, config, &connections).await,
        OperatorCommand::Lists => lists::show(config, &connections).await,
        OperatorCommand::Rollback(args) => lists::rollback(&args, config, &connections).await,
        OperatorCommand::Verify => reconcile::verify(config, &connections).await,
        OperatorCommand::Rebuild => reconcile::rebuild(config, &connections).await,
        OperatorCommand::Replay(args) => replay::run(args, config, &connections).await,
    };
    connections.close().await;
    outcome
}
