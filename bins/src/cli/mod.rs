//! The sub-commands that talk HTTP to a running platform.
//!
//! Answers go to standard output, progress and errors to standard error, and exit codes tell the truth
//! (see [`Finish`]). What starts a platform is not here.
//!
//! To add an import format: write its `RowSource` in a file of its own, then add it to [`ImportFormat`] and
//! to where `import.rs` opens sources.

mod acknowledged;
mod berka;
mod dead_letters;
mod delimited;
mod delivery;
mod demo;
mod event_line;
mod fetch;
mod import;
mod lines;
mod load;
mod ndjson;
mod output;
mod pages;
mod parked;
mod progress;
mod rows;
mod send;
mod tally;

use std::process::ExitCode;

pub use dead_letters::DeadLettersArgs;
pub use demo::{DemoArgs, DemoSummary, demo};
pub use fetch::FetchArgs;
pub use import::{ImportArgs, ImportFormat};
pub use load::LoadArgs;
pub use parked::ParkedArgs;
pub use send::SendArgs;

pub(crate) use output::is_closed;

use crate::client::{BaseUrl, PlatformClient};
use crate::program::ConfigArgs;

/// Where the platform listens when nobody says otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// The sub-commands that need a running platform.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ClientCommand {
    /// Brings files of events into a running platform
    Import(ImportArgs),
    /// Sends made-up events at a steady pace, and checks what became of them
    Load(Box<LoadArgs>),
    /// Submits one event and shows its result
    Send(SendArgs),
    /// Shows what the platform knows
    Fetch(FetchArgs),
    /// Shows the events that wait to be tried again
    Parked(ParkedArgs),
    /// Shows the events that are tried no more; redrives or discards them
    DeadLetters(DeadLettersArgs),
}

/// Where the running platform is.
#[derive(Debug, Clone, clap::Args)]
pub struct PlatformArgs {
    /// The running platform
    #[arg(long, global = true, value_name = "URL", default_value = DEFAULT_URL)]
    url: BaseUrl,
}

impl PlatformArgs {
    fn client(&self) -> PlatformClient {
        PlatformClient::new(self.url.clone())
    }
}

/// How a sub-command that ran to its end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// Everything is accounted for.
    Complete,
    /// Something was refused, lost or left unanswered.
    Incomplete,
    /// The one event that was sent is fraudulent.
    Fraudulent,
}

impl Finish {
    /// Returns the exit code: 0, 1 or 3.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Incomplete => 1,
            Self::Fraudulent => 3,
        }
    }
}

/// Runs a sub-command.
///
/// # Errors
/// It could not do its work; nothing was written to standard output, or not all of it.
pub async fn run(command: ClientCommand, config: ConfigArgs) -> anyhow::Result<Finish> {
    match command {
        ClientCommand::Import(args) => import::run(args).await,
        ClientCommand::Load(args) => load::run(*args, config).await,
        ClientCommand::Send(args) => send::run(args).await,
        ClientCommand::Fetch(args) => fetch::run(args).await,
        ClientCommand::Parked(args) => parked::run(args).await,
        ClientCommand::DeadLetters(args) => dead_letters::run(args).await,
    }
}

/// Turns the end of a sub-command into an exit code, and says what went wrong on standard error.
#[must_use]
pub fn exit_code(outcome: anyhow::Result<Finish>) -> ExitCode {
    match outcome {
        Ok(finish) => finish.code().into(),
        // Whoever read the output, such as `head`, has seen enough.
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            Finish::Incomplete.code().into()
        }
    }
}
