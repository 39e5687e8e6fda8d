//! `fetch`: shows what the platform knows.

use anyhow::{Context, bail};
use serde_json::Value;

use super::output::{ItemsWriter, Layout, write_value};
use super::{Finish, PlatformArgs};
use crate::client::{PlatformClient, path_segment};

/// Arguments of `fetch`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Answers are JSON: indented on a terminal, else on one line. Exit code: 0, or 1 when there is no answer.")]
pub struct FetchArgs {
    #[command(subcommand)]
    what: Wanted,
    #[command(flatten)]
    platform: PlatformArgs,
}

/// What can be fetched.
#[derive(Debug, Clone, clap::Subcommand)]
enum Wanted {
    /// What is known of a client: everything, or one part of it
    Client(ClientArgs),
    /// One stored event
    Event {
        /// The idempotency key
        id: String,
    },
    /// The fraud list in force
    FraudList {
        /// Screen this name instead
        #[arg(long, value_name = "NAME")]
        check: Option<String>,
    },
    /// The workers, and how they do
    Workers,
}

#[derive(Debug, Clone, clap::Args)]
struct ClientArgs {
    /// The client id
    name: String,
    /// Which part; the first page of each if left out
    #[arg(value_enum)]
    section: Option<Section>,
    /// Transactions in one direction only
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// Operations of one type only
    #[arg(long, value_enum)]
    operation: Option<Operation>,
    /// Events of this time or later, RFC 3339
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Events before this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Items per page
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    /// Where a page continues: the `next_page_token` of the one before
    #[arg(long, value_name = "TOKEN", conflicts_with = "all")]
    page_token: Option<String>,
    /// Follow the pages to the end
    #[arg(long)]
    all: bool,
}

/// A part of what is known of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    /// Transactions, newest first
    Transactions,
    /// Deposits and withdrawals, newest first
    Operations,
    /// The clients it had transactions with
    Interactions,
    /// The branches it used
    Branches,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Direction {
    Any,
    Sent,
    Received,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Operation {
    Deposit,
    Withdraw,
}

/// Returns how an argument is written, which is how the API writes it too.
fn wire_name<T: clap::ValueEnum>(value: &T) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_owned())
}

pub(super) async fn run(args: FetchArgs) -> anyhow::Result<Finish> {
    let client = args.platform.client();
    let layout = Layout::of_stdout();
    let path = match &args.what {
        Wanted::Client(wanted) if wanted.all => {
            fetch_all(&client, wanted, layout).await?;
            return Ok(Finish::Complete);
        }
        Wanted::Client(wanted) => wanted.path(wanted.page_token.as_deref())?,
        Wanted::Event { id } => format!("/v1/events/{}", path_segment(id)),
        Wanted::Workers => "/v1/workers".to_owned(),
        Wanted::FraudList { check: None } => "/v1/fraud-list".to_owned(),
        Wanted::FraudList { check: Some(name) } => {
            format!("/v1/fraud-list/check?name={}", path_segment(name))
        }
    };
    write_value(std::io::stdout().lock(), layout, &client.get(&path).await?)?;
    Ok(Finish::Complete)
}

/// Writes the items of all pages as one document; holds one page at a time.
async fn fetch_all(client: &PlatformClient, wanted: &ClientArgs, layout: Layout) -> anyhow::Result<()> {
    if wanted.section.is_none() {
        bail!("--all needs one of transactions, operations, interactions, branches");
    }
    let mut page = client.get(&wanted.path(None)?).await?;
    let mut writer = ItemsWriter::start(std::io::BufWriter::new(std::io::stdout()), layout)?;
    loop {
        let items = page.get("items").and_then(Value::as_array).context("the answer is no page")?;
        for item in items {
            writer.write(item)?;
        }
        let Some(token) = page.get("next_page_token").and_then(Value::as_str) else { break };
        page = client.get(&wanted.path(Some(token))?).await?;
    }
    writer.finish()
}

impl ClientArgs {
    /// Makes the route of one page.
    fn path(&self, page_token: Option<&str>) -> anyhow::Result<String> {
        self.check()?;
        let mut path = format!("/v1/clients/{}", path_segment(&self.name));
        if let Some(section) = self.section.as_ref().and_then(wire_name) {
            path.extend(["/", &section]);
        }
        let parameters = [
            ("direction", self.direction.as_ref().and_then(wire_name)),
            ("operation", self.operation.as_ref().and_then(wire_name)),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("page_token", page_token.map(ToOwned::to_owned)),
        ];
        let mut mark = "?";
        for (name, value) in parameters {
            let Some(value) = value else { continue };
            path.extend([mark, name, "=", &path_segment(&value)]);
            mark = "&";
        }
        Ok(path)
    }

    /// Checks that every filter means something for the section.
    fn check(&self) -> anyhow::Result<()> {
        let is_events = matches!(self.section, Some(Section::Transactions | Section::Operations));
        if self.direction.is_some() && self.section != Some(Section::Transactions) {
            bail!("--direction goes with `transactions` only");
        }
        if self.operation.is_some() && self.section != Some(Section::Operations) {
            bail!("--operation goes with `operations` only");
        }
        if (self.from.is_some() || self.to.is_some()) && !is_events {
            bail!("--from and --to go with `transactions` and `operations` only");
        }
        if self.page_token.is_some() && self.section.is_none() {
            bail!("--page-token needs one of transactions, operations, interactions, branches");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        fetch: FetchArgs,
    }

    fn path(args: &[&str]) -> anyhow::Result<String> {
        let program = Program::try_parse_from(["fetch", "client"].iter().chain(args))?;
        match program.fetch.what {
            Wanted::Client(wanted) => wanted.path(wanted.page_token.as_deref()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_and_filters_are_encoded() {
        assert_eq!(path(&["Václav / Novák"]).unwrap(), "/v1/clients/V%C3%A1clav%20%2F%20Nov%C3%A1k");
        let wanted = ["A1", "transactions", "--direction", "sent", "--from", "2026-01-01T00:00:00+01:00"];
        assert_eq!(
            path(&wanted).unwrap(),
            "/v1/clients/A1/transactions?direction=sent&from=2026-01-01T00%3A00%3A00%2B01%3A00"
        );
        let wanted = ["A1", "operations", "--operation", "withdraw", "--limit", "5", "--page-token", "a=b"];
        assert_eq!(
            path(&wanted).unwrap(),
            "/v1/clients/A1/operations?operation=withdraw&limit=5&page_token=a%3Db"
        );
    }

    #[test]
    fn a_filter_that_means_nothing_is_refused() {
        for args in [
            &["A1", "--direction", "sent"][..],
            &["A1", "operations", "--direction", "sent"],
            &["A1", "branches", "--operation", "deposit"],
            &["A1", "interactions", "--from", "2026-01-01T00:00:00Z"],
            &["A1", "transactions", "--limit", "1001"],
            &["A1", "--page-token", "x"],
        ] {
            assert!(path(args).is_err(), "{args:?} must be refused");
        }
    }
}
