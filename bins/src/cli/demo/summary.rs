//! What a demo shows at its end.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::cli::Finish;
use crate::cli::tally::{Tally, rate, write_count};
use crate::client::{BaseUrl, ClientError, PlatformClient, ResultOutcome, path_segment};

/// How many neighbours of a client are shown.
const NEIGHBOURS: usize = 5;

/// What became of a demo's events, one client of it, and what to try next; shown with `Display`.
#[derive(Debug)]
pub struct DemoSummary {
    pub(super) base: BaseUrl,
    pub(super) tally: Tally,
    pub(super) elapsed: Duration,
    pub(super) read_back: ReadBack,
    /// A name of the fraud list.
    pub(super) listed: Option<String>,
}

impl DemoSummary {
    /// Whether every event has a result that it should have.
    #[must_use]
    pub fn finish(&self) -> Finish {
        if self.tally.is_clean() { Finish::Complete } else { Finish::Incomplete }
    }
}

/// What the platform knows of one client.
#[derive(Debug)]
pub(super) struct ReadBack {
    client: String,
    interactions: Vec<String>,
    branches: Vec<String>,
}

impl ReadBack {
    pub(super) async fn fetch(client: &PlatformClient, name: String) -> Result<Self, ClientError> {
        let base = format!("/v1/clients/{}", path_segment(&name));
        let interactions = client.get(&format!("{base}/interactions?limit={NEIGHBOURS}")).await?;
        let branches = client.get(&format!("{base}/branches?limit={NEIGHBOURS}")).await?;
        let interactions = lines(&interactions, |item| {
            Some(format!(
                "{} ({}, last {})",
                text(item, "client")?,
                text(item, "direction")?,
                text(item, "last_at")?
            ))
        });
        let branches = lines(&branches, |item| {
            Some(format!("{} (last {})", text(item, "branch")?, text(item, "last_at")?))
        });
        Ok(Self { client: name, interactions, branches })
    }
}

fn lines(page: &Value, line: impl Fn(&Value) -> Option<String>) -> Vec<String> {
    page.get("items").and_then(Value::as_array).into_iter().flatten().filter_map(line).collect()
}

fn text<'a>(item: &'a Value, field: &str) -> Option<&'a str> {
    item.get(field)?.as_str()
}

impl fmt::Display for DemoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.tally.answered();
        writeln!(
            f,
            "{answered} made-up events in {:.1} s, {} events/s:",
            self.elapsed.as_secs_f64(),
            rate(answered, self.elapsed)
        )?;
        for outcome in ResultOutcome::ALL {
            let count = self.tally.count(outcome);
            if count > 0 {
                write_count(f, outcome.as_str(), count)?;
            }
        }
        let ReadBack { client, interactions, branches } = &self.read_back;
        write_neighbours(f, &format!("{client} has had transactions with"), interactions)?;
        write_neighbours(f, &format!("{client} has been at"), branches)?;
        self.write_try_next(f)
    }
}

fn write_neighbours(f: &mut fmt::Formatter<'_>, title: &str, neighbours: &[String]) -> fmt::Result {
    if neighbours.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}:")?;
    for neighbour in neighbours {
        writeln!(f, "  {neighbour}")?;
    }
    if neighbours.len() == NEIGHBOURS { writeln!(f, "  ...") } else { Ok(()) }
}

impl DemoSummary {
    fn write_try_next(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, .. } = self;
        let client = path_segment(&self.read_back.client);
        writeln!(f, "\nTry next:")?;
        writeln!(f, "  curl '{base}/v1/clients/{client}'")?;
        writeln!(f, "  curl '{base}/v1/clients/{client}/transactions?direction=sent&limit=3'")?;
        if let Some(listed) = &self.listed {
            writeln!(f, "  curl '{base}/v1/fraud-list/check?name={}'", path_segment(listed))?;
            let event = serde_json::json!({"sender": "you", "receiver": listed, "amount": 1250});
            let event = event.to_string().replace('\'', "'\\''");
            writeln!(f, "  curl '{base}/v1/transactions' -H 'content-type: application/json' -d '{event}'")?;
        }
        writeln!(f, "  mini-platform send deposit --url {base} --client you --branch Brno --amount 1250")?;
        writeln!(f, "  mini-platform fetch client you --url {base}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::EventResult;

    #[test]
    fn a_summary_shows_counts_neighbours_and_commands_for_the_real_address() {
        let mut tally = Tally::default();
        for outcome in [ResultOutcome::Stored, ResultOutcome::Stored, ResultOutcome::Fraudulent] {
            tally.add_result("demo", 1, &EventResult { id: None, outcome, error: None });
        }
        let summary = DemoSummary {
            base: "http://127.0.0.1:4711".parse().unwrap(),
            tally,
            elapsed: Duration::from_millis(1500),
            read_back: ReadBack {
                client: "Jana Rossi".to_owned(),
                interactions: vec!["Petr Novák (both, last 2026-01-05T08:00:00Z)".to_owned()],
                branches: Vec::new(),
            },
            listed: Some("Mad O'Eye".to_owned()),
        };
        let expected = "3 made-up events in 1.5 s, 2 events/s:
  stored                     2
  fraudulent                 1

Jana Rossi has had transactions with:
  Petr Novák (both, last 2026-01-05T08:00:00Z)

Try next:
  curl 'http://127.0.0.1:4711/v1/clients/Jana%20Rossi'
  curl 'http://127.0.0.1:4711/v1/clients/Jana%20Rossi/transactions?direction=sent&limit=3'
  curl 'http://127.0.0.1:4711/v1/fraud-list/check?name=Mad%20O%27Eye'
  curl 'http://127.0.0.1:4711/v1/transactions' -H 'content-type: application/json' -d '{\"sender\":\"you\",\"receiver\":\"Mad O'\\''Eye\",\"amount\":1250}'
  mini-platform send deposit --url http://127.0.0.1:4711 --client you --branch Brno --amount 1250
  mini-platform fetch client you --url http://127.0.0.1:4711
";
        assert_eq!(summary.to_string(), expected);
        assert_eq!(summary.finish(), Finish::Complete);
    }
}
