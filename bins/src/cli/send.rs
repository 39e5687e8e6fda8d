//! `send`: submits one event and shows its result.

use anyhow::{Context, bail};
use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;

use super::event_line::EventLine;
use super::output::{Layout, write_value};
use super::{Finish, PlatformArgs};

/// Arguments of `send`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    after_help = "\
Exit code: 0 when the event is stored, a duplicate or parked, 3 when it is fraudulent, 1 otherwise."
)]
pub struct SendArgs {
    #[command(subcommand)]
    event: Option<SendEvent>,
    /// The event as JSON, with its `type`
    #[arg(long, value_name = "EVENT", required = true)]
    json: Option<String>,
    #[command(flatten)]
    platform: PlatformArgs,
}

/// The kinds of event that can be sent.
#[derive(Debug, Clone, clap::Subcommand)]
enum SendEvent {
    /// A transfer from one client to another
    Transaction {
        /// The client that pays
        #[arg(long, value_name = "CLIENT", value_parser = NonEmptyStringValueParser::new())]
        from: String,
        /// The client that is paid
        #[arg(long, value_name = "CLIENT", value_parser = NonEmptyStringValueParser::new())]
        to: String,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// A client brings money to a branch
    Deposit(OperationArgs),
    /// A client takes money from a branch
    Withdraw(OperationArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct OperationArgs {
    /// Whose account it is
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    client: String,
    /// Where it happens
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    branch: String,
    #[command(flatten)]
    common: CommonArgs,
}

/// What every event has.
#[derive(Debug, Clone, clap::Args)]
struct CommonArgs {
    /// In minor units of the currency: 1250 is 12.50 EUR
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    amount: i64,
    /// ISO 4217 code; the platform's default if left out
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// The idempotency key; the platform makes one if left out
    #[arg(long)]
    id: Option<String>,
    /// When it happened, RFC 3339; now if left out
    #[arg(long, value_name = "TIME")]
    occurred_at: Option<String>,
}

impl SendEvent {
    fn line(&self) -> EventLine<'_> {
        let (mut event, common) = match self {
            Self::Transaction { from, to, common } => {
                (EventLine::transaction(from, to, common.amount), common)
            }
            Self::Deposit(OperationArgs { client, branch, common }) => {
                (EventLine::deposit(client, branch, common.amount), common)
            }
            Self::Withdraw(OperationArgs { client, branch, common }) => {
                (EventLine::withdraw(client, branch, common.amount), common)
            }
        };
        event.id = common.id.as_deref();
        event.currency = common.currency.as_deref();
        event.occurred_at = common.occurred_at.as_deref();
        event
    }
}

pub(super) async fn run(args: SendArgs) -> anyhow::Result<Finish> {
    let event = event(&args)?;
    let result = args.platform.client().post_event(&event).await?;
    write_value(std::io::stdout().lock(), Layout::of_stdout(), &result)?;
    Ok(finish(&result))
}

fn event(args: &SendArgs) -> anyhow::Result<Value> {
    match (&args.event, &args.json) {
        (Some(_), Some(_)) => bail!("--json goes without transaction, deposit or withdraw"),
        (Some(event), None) => Ok(serde_json::to_value(event.line())?),
        (None, json) => serde_json::from_str(json.as_deref().unwrap_or_default())
            .context("the value of --json is no JSON"),
    }
}

fn finish(result: &Value) -> Finish {
    match result.get("outcome").and_then(Value::as_str) {
        Some("stored" | "duplicate" | "parked") => Finish::Complete,
        Some("fraudulent") => Finish::Fraudulent,
        _ => Finish::Incomplete,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        send: SendArgs,
    }

    fn parsed(line: &str) -> anyhow::Result<Value> {
        event(&Program::try_parse_from(line.split(' '))?.send)
    }

    #[test]
    fn arguments_become_an_event_without_what_was_left_out() {
        assert_eq!(
            parsed("send transaction --from ann --to bob --amount 1250").unwrap(),
            json!({"type": "transaction", "sender": "ann", "receiver": "bob", "amount": 1250})
        );
        assert_eq!(
            parsed(
                "send withdraw --client ann --branch Brno --amount 1 --currency CZK --id e1 \
                 --occurred-at 2026-01-01T00:00:00Z"
            )
            .unwrap(),
            json!({
                "type": "operation", "id": "e1", "client": "ann", "branch": "Brno", "operation": "withdraw",
                "amount": 1, "currency": "CZK", "occurred_at": "2026-01-01T00:00:00Z"
            })
        );
    }

    #[test]
    fn an_event_is_given_by_arguments_or_as_json_and_not_as_both() {
        assert_eq!(parsed(r#"send --json {"amount":1}"#).unwrap(), json!({"amount": 1}));
        assert!(parsed("send --json {").is_err());
        assert!(parsed("send").is_err());
        assert!(parsed("send --json {} deposit --client a --branch b --amount 1").is_err());
    }

    #[test]
    fn the_platform_can_be_named_before_and_behind_the_kind_of_event() {
        for line in [
            "send deposit --client a --branch b --amount 1 --url http://host:1",
            "send --url http://host:1 deposit --client a --branch b --amount 1",
        ] {
            let program = Program::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(program.send.platform.url.to_string(), "http://host:1", "{line}");
        }
    }

    #[test]
    fn an_amount_is_a_positive_whole_number() {
        for amount in ["0", "-5", "12.50", ""] {
            let line = ["send", "deposit", "--client", "a", "--branch", "b", "--amount", amount];
            assert!(Program::try_parse_from(line).is_err(), "{amount} must be refused");
        }
    }

    #[test]
    fn exit_codes_follow_the_outcome() {
        let cases = [
            ("stored", 0),
            ("duplicate", 0),
            ("parked", 0),
            ("fraudulent", 3),
            ("conflict", 1),
            ("rejected", 1),
        ];
        for (outcome, code) in cases {
            assert_eq!(finish(&json!({"outcome": outcome})).code(), code, "{outcome}");
        }
        assert_eq!(finish(&json!({})), Finish::Incomplete);
    }
}
