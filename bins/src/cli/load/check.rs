//! Asks a running platform for all that an [`Audit`] has to see.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use mini_platform_core::port::LogReader;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::audit::{Audit, Branch, Interaction, PutOff, Report};
use super::event::LoadEvent;
use super::ledger::LedgerReader;
use crate::cli::pages::{items, next_page_token, with_parameters};
use crate::client::{ClientError, PlatformClient, path_segment};

/// Events that pages show and that are asked for by their id as well: enough to find an index that lost a part, and a
/// few seconds of any platform.
const LOOKED_UP_TOO: usize = 10_000;

/// Ids that are asked for at once.
const LOOK_UPS_AT_ONCE: usize = 16;

/// How long a read is tried again that the platform puts off.
const READ_PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two tries, and between two looks at a parking lot that is to be empty.
const PAUSE: Duration = Duration::from_millis(250);

/// Checks a ledger against a platform and the long-term logs of its dispatchers, if there are any.
///
/// # Errors
/// The ledger, the log or the platform cannot be read; nothing is said about the laws then.
pub(super) async fn check(
    platform: &PlatformClient,
    ledger: &Path,
    logs: &[Arc<dyn LogReader>],
    settle: Duration,
) -> anyhow::Result<Report> {
    let mut audit = read_ledger(ledger)?;
    let checker = Checker { platform };
    checker.wait_until_settled(settle).await?;
    for (place, route) in [(PutOff::Parked, "/v1/parked"), (PutOff::Dead, "/v1/dead-letters")] {
        checker.put_off(&mut audit, place, route).await?;
    }
    for name in audit.names() {
        checker.client(&mut audit, &name).await?;
    }
    checker.look_up(&mut audit).await?;
    for log in logs {
        read_log(&mut audit, &**log).await?;
    }
    Ok(audit.finish())
}

fn read_ledger(path: &Path) -> anyhow::Result<Audit> {
    let (mut reader, run, platforms) = LedgerReader::open(path)?;
    let mut audit = Audit::new(&run, platforms);
    while let Some((line, entry)) = reader.next()? {
        audit.entry(line, &entry).with_context(|| path.display().to_string())?;
    }
    Ok(audit)
}

struct Checker<'a> {
    platform: &'a PlatformClient,
}

impl Checker<'_> {
    /// Fetches an answer; `None` when there is nothing at the path.
    async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let deadline = Instant::now() + READ_PATIENCE;
        loop {
            match self.platform.get(path).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(ClientError::Problem(problem)) if problem.status == StatusCode::NOT_FOUND => {
                    return Ok(None);
                }
                Err(error) if Instant::now() < deadline && may_pass(&error) => sleep(PAUSE).await,
                // The path is not told: it names a client.
                Err(error) => return Err(error).context("the platform cannot be read"),
            }
        }
    }

    /// Follows the pages of a route to their end. A platform without a parking lot has no pages of one.
    async fn pages<T: DeserializeOwned>(&self, route: &str, mut take: impl FnMut(T)) -> anyhow::Result<()> {
        let mut path = format!("{route}?limit=1000");
        while let Some(page) = self.get(&path).await? {
            for item in items(&page)? {
                take(T::deserialize(item).context("an item of a page cannot be read")?);
            }
            let Some(token) = next_page_token(&page) else { break };
            path = with_parameters(route, &[("limit", Some("1000")), ("page_token", Some(token))]);
        }
        Ok(())
    }

    /// Waits until nothing is parked, so long at most.
    async fn wait_until_settled(&self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let parked = self.get("/v1/parked?limit=1").await?;
            if parked.as_ref().map(items).transpose()?.is_none_or(<[_]>::is_empty) {
                break;
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn put_off(&self, audit: &mut Audit, place: PutOff, route: &str) -> anyhow::Result<()> {
        self.pages(route, |parcel: Parcel| {
            if let Some(event) = &parcel.event {
                audit.put_off(place, event);
            }
        })
        .await
    }

    async fn client(&self, audit: &mut Audit, name: &str) -> anyhow::Result<()> {
        let route = format!("/v1/clients/{}", path_segment(name));
        let mut client = audit.client(name);
        self.pages(&format!("{route}/transactions"), |event: LoadEvent| client.transaction(&event)).await?;
        self.pages(&format!("{route}/operations"), |event: LoadEvent| client.operation(&event)).await?;
        self.pages(&format!("{route}/interactions"), |link: Interaction| client.interaction(&link)).await?;
        self.pages(&format!("{route}/branches"), |link: Branch| client.branch(&link)).await?;
        client.finish();
        Ok(())
    }

    async fn look_up(&self, audit: &mut Audit) -> anyhow::Result<()> {
        let ids = audit.to_look_up(LOOKED_UP_TOO);
        let mut answers = stream::iter(ids)
            .map(|id| async {
                let found = self.get(&format!("/v1/events/{}", path_segment(&id))).await?;
                let found: Option<LoadEvent> = found.map(serde_json::from_value).transpose()?;
                anyhow::Ok((id, found))
            })
            .buffer_unordered(LOOK_UPS_AT_ONCE);
        while let Some(answer) = answers.next().await {
            let (id, found) = answer?;
            audit.looked_up(&id, found.as_ref());
        }
        Ok(())
    }
}

/// What is parked, or was given up; an event that cannot be decoded is none of a load's.
#[derive(Debug, serde::Deserialize)]
struct Parcel {
    event: Option<LoadEvent>,
}

/// Whether a read may succeed in a moment.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Problem(problem) => problem.status == StatusCode::SERVICE_UNAVAILABLE,
        ClientError::Connect { .. } | ClientError::Unanswered { .. } | ClientError::Broken { .. } => true,
        _ => false,
    }
}

async fn read_log(audit: &mut Audit, log: &dyn LogReader) -> anyhow::Result<()> {
    const FAILED: &str = "the long-term log cannot be read";
    audit.expect_log();
    let mut records = log.records().await.context(FAILED)?;
    while let Some(record) = records.next().await {
        let record = record.context(FAILED)?;
        audit.logged(&LoadEvent::from(&record.event), record.outcome);
    }
    Ok(())
}
