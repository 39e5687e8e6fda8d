//! What the programs have in common from their first argument to their exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{Config, ConfigProblems, Loaded, Misconfigured, Need, Sources};
use crate::exit;

/// The options that every program has.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key of the configuration, such as http.listen=127.0.0.1:18080
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

impl ConfigArgs {
    /// Sets a key, whatever is set elsewhere.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.set.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Puts the configuration together, and checks it for what somebody is about to do.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(self, needs: &[Need]) -> Result<Loaded, ConfigProblems> {
        Config::load_for(&self.gather()?, needs)
    }

    fn gather(self) -> Result<Sources, ConfigProblems> {
        Sources::gather(self.config.as_deref(), self.set)
    }
}

/// The options of a program that does one thing.
#[derive(Debug, Clone, clap::Args)]
pub struct RoleArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Shows every key of the configuration, its value and where that was written, and ends
    #[arg(long)]
    print_config: bool,
    /// Checks the configuration and ends
    #[arg(long, conflicts_with = "print_config")]
    check_config: bool,
}

/// What one role needs of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    /// What is checked before anything is opened.
    needs: &'static [Need],
    /// Defaults that differ from those that all programs have: the path of a key and its value.
    defaults: &'static [(&'static str, &'static str)],
}

impl Role {
    /// A feeder: it reads sources, and others read its registry.
    pub const FEEDER: Self = Self { needs: &[Need::Source, Need::SharedRegistry], defaults: &[] };
    /// A dispatcher: it needs nothing but workers, which join it when they like.
    pub const DISPATCHER: Self = Self { needs: &[Need::NoBackend, Need::Dispatching], defaults: &[] };
    /// A worker: several of them share their stores, and dispatchers dial it. It listens beside a dispatcher.
    pub const WORKER: Self =
        Self { needs: &[Need::SharedStores, Need::Address], defaults: &[("grpc.listen", "127.0.0.1:9082")] };

    /// Runs a role to its end, or shows or checks its configuration.
    #[must_use]
    pub fn run(self, args: RoleArgs, run: impl AsyncFnOnce(&Config) -> anyhow::Result<()>) -> ExitCode {
        exit_code(self.try_run(args, run))
    }

    fn try_run(
        self,
        args: RoleArgs,
        run: impl AsyncFnOnce(&Config) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        // What is shown need not run.
        let needs = if args.print_config { &[Need::NoBackend] } else { self.needs };
        let loaded = Config::load_for(&args.config.gather()?.with_defaults(self.defaults), needs)?;
        if args.print_config {
            print!("{}", loaded.to_toml());
        } else if args.check_config {
            println!("the configuration is valid");
        } else {
            block_on(run(&loaded.config))?;
        }
        Ok(())
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Reads the command line.
///
/// # Errors
/// The exit code to end with: the command line is wrong, or asks for the help or the version, which are printed.
pub fn parse<C: clap::Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|message| {
        let code = if message.use_stderr() { exit::USAGE } else { 0 };
        match message.print() {
            Ok(()) => code.into(),
            Err(_) => exit::INTERNAL.into(),
        }
    })
}

/// Runs what a program does to its end.
///
/// # Errors
/// What it ends with, or there is no runtime.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(work)
}

/// Turns the end of a program into its exit code, and says on standard error what went wrong.
#[must_use]
pub fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    outcome.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

/// Says on standard error what went wrong, and returns the exit code that goes with it.
#[must_use]
pub fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(problems) = error.downcast_ref::<ConfigProblems>() {
        eprintln!("{problems}");
        return exit::CONFIG.into();
    }
    eprintln!("error: {error:#}");
    let is_misconfigured = error.chain().any(|cause| cause.is::<Misconfigured>());
    if is_misconfigured { exit::CONFIG.into() } else { exit::INTERNAL.into() }
}
