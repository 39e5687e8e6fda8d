//! `dead-letters`: shows what is tried no more, and decides on it.

use std::io::Write;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};

use super::output::{ItemsWriter, Layout, write_value};
use super::pages::{PageArgs, items, next_page_token, with_parameters};
use super::{Finish, PlatformArgs};
use crate::client::{PlatformClient, path_segment};

const ROUTE: &str = "/v1/dead-letters";

/// Arguments of `dead-letters`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Answers are JSON: indented on a terminal, else on one line. Exit code: 0, or 1 when there is no answer, or no dead \
letter of an id.")]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    platform: PlatformArgs,
}

/// What can be done with dead letters.
#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Shows them, oldest first (the default)
    List(PageArgs),
    /// Shows one
    Show {
        /// Its id
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Parks them again, to be tried as if they were new
    Redrive(Selection),
    /// Forgets them, and the events in them
    Discard(Selection),
}

/// Which dead letters are meant.
#[derive(Debug, Clone, clap::Args)]
struct Selection {
    /// Their ids, as `list` shows them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all",
        value_parser = NonEmptyStringValueParser::new())]
    ids: Vec<String>,
    /// All that there are
    #[arg(long)]
    all: bool,
}

/// What is decided on a dead letter.
#[derive(Debug, Clone, Copy)]
enum Decision {
    Redrive,
    Discard,
}

pub(super) async fn run(args: DeadLettersArgs) -> anyhow::Result<Finish> {
    let client = args.platform.client();
    match args.command {
        None => PageArgs::default().show(&client, ROUTE).await,
        Some(Command::List(pages)) => pages.show(&client, ROUTE).await,
        Some(Command::Show { id }) => {
            let letter = client.get(&format!("{ROUTE}/{}", path_segment(&id))).await?;
            write_value(std::io::stdout().lock(), Layout::of_stdout(), &letter)?;
            Ok(Finish::Complete)
        }
        Some(Command::Redrive(selection)) => decide(&client, &selection, Decision::Redrive).await,
        Some(Command::Discard(selection)) => decide(&client, &selection, Decision::Discard).await,
    }
}

/// Decides on dead letters, and shows what was done also when not all of it can be.
async fn decide(
    client: &PlatformClient,
    selection: &Selection,
    decision: Decision,
) -> anyhow::Result<Finish> {
    let mut done = ItemsWriter::start(std::io::BufWriter::new(std::io::stdout()), Layout::of_stdout())?;
    let outcome = if selection.all {
        decision.on_all(client, &mut done).await.map(|()| Finish::Complete)
    } else {
        decision.on_each(client, &selection.ids, &mut done).await
    };
    done.finish()?;
    outcome
}

impl Decision {
    async fn on_each(
        self,
        client: &PlatformClient,
        ids: &[String],
        done: &mut ItemsWriter<impl Write>,
    ) -> anyhow::Result<Finish> {
        let mut finish = Finish::Complete;
        for id in ids {
            if !self.on_one(client, id, done).await? {
                finish = Finish::Incomplete;
            }
        }
        Ok(finish)
    }

    /// Decides on all, page by page. Those on which somebody else decides meanwhile are no failure.
    async fn on_all(self, client: &PlatformClient, done: &mut ItemsWriter<impl Write>) -> anyhow::Result<()> {
        let mut path = ROUTE.to_owned();
        loop {
            let page = client.get(&path).await?;
            for letter in items(&page)? {
                let id =
                    letter.get("id").and_then(Value::as_str).context("the answer is no page of parcels")?;
                self.on_one(client, id, done).await?;
            }
            let Some(token) = next_page_token(&page) else { return Ok(()) };
            path = with_parameters(ROUTE, &[("page_token", Some(token))]);
        }
    }

    /// Decides on one, after those before it: so redriven events of a client keep their order.
    async fn on_one(
        self,
        client: &PlatformClient,
        id: &str,
        done: &mut ItemsWriter<impl Write>,
    ) -> anyhow::Result<bool> {
        let (name, found) = match self {
            Self::Redrive => ("redriven", client.redrive(id).await),
            Self::Discard => ("discarded", client.discard(id).await),
        };
        let found = found.with_context(|| format!("dead letter {id} is not {name}"))?;
        done.write(&json!({"id": id, name: found}))?;
        Ok(found)
    }
}
