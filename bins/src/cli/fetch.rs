//! `fetch`: shows what the platform knows.

use anyhow::bail;

use super::output::{Layout, write_value};
use super::pages::{PageArgs, with_parameters};
use super::{Finish, PlatformArgs};
use crate::client::path_segment;

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
    #[command(flatten)]
    pages: PageArgs,
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
    let path = match &args.what {
        Wanted::Client(wanted) => return wanted.pages.show(&client, &wanted.path()?).await,
        Wanted::Event { id } => format!("/v1/events/{}", path_segment(id)),
        Wanted::Workers => "/v1/workers".to_owned(),
        Wanted::FraudList { check: None } => "/v1/fraud-list".to_owned(),
        Wanted::FraudList { check: Some(name) } => {
            format!("/v1/fraud-list/check?name={}", path_segment(name))
        }
    };
    write_value(std::io::stdout().lock(), Layout::of_stdout(), &client.get(&path).await?)?;
    Ok(Finish::Complete)
}

impl ClientArgs {
    /// Makes the route, without what chooses the page.
    fn path(&self) -> anyhow::Result<String> {
        self.check()?;
        let mut path = format!("/v1/clients/{}", path_segment(&self.name));
        if let Some(section) = self.section.as_ref().and_then(wire_name) {
            path.extend(["/", &section]);
        }
        let direction = self.direction.as_ref().and_then(wire_name);
        let operation = self.operation.as_ref().and_then(wire_name);
        let parameters = [
            ("direction", direction.as_deref()),
            ("operation", operation.as_deref()),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
        ];
        Ok(with_parameters(&path, &parameters))
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
        let chooses_page = self.pages.page_token.is_some() || self.pages.all;
        if chooses_page && self.section.is_none() {
            bail!("--page-token and --all need one of transactions, operations, interactions, branches");
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
            Wanted::Client(wanted) => {
                Ok(wanted.pages.path(&wanted.path()?, wanted.pages.page_token.as_deref()))
            }
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
            &["A1", "--all"],
            &["A1", "branches", "--all", "--page-token", "x"],
        ] {
            assert!(path(args).is_err(), "{args:?} must be refused");
        }
    }
}
