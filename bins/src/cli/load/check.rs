//! Asks a running platform for all that an [`Audit`] has to see.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use mini_platform_core::port::LogReader;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::audit::{Audit, PutOff, Report};
use super::event::LoadEvent;
use super::ledger::LedgerReader;
use crate::cli::pages::{items, next_page_token, with_parameters};
use crate::client::{ClientError, PlatformClient, path_segment};

/// Events that pages show and that are asked for by their id as well: enough to find an index that lost a part, and a
/// few seconds of any platform.
const LOOKED_UP_TOO: usize = 10_000;

/// The longest page that there is.
const PAGE: &str = "1000";

/// Clients whose pages are fetched at once, and ids that are asked for at once.
const READS_AT_ONCE: usize = 16;

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
    checker.clients(&mut audit).await?;
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

/// The first page of a route, if there is one.
struct FirstPage {
    route: String,
    page: Option<Value>,
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

    /// Fetches the first page of a route. A platform without a parking lot has none of one.
    async fn first_page(&self, route: String) -> anyhow::Result<FirstPage> {
        let page = self.get(&format!("{route}?limit={PAGE}")).await?;
        Ok(FirstPage { route, page })
    }

    /// Takes a page and those that come after it.
    async fn follow<T: DeserializeOwned>(
        &self,
        FirstPage { route, mut page }: FirstPage,
        mut take: impl FnMut(T),
    ) -> anyhow::Result<()> {
        while let Some(read) = page {
            for item in items(&read)? {
                take(T::deserialize(item).context("an item of a page cannot be read")?);
            }
            let Some(token) = next_page_token(&read) else { break };
            let path = with_parameters(&route, &[("limit", Some(PAGE)), ("page_token", Some(token))]);
            page = self.get(&path).await?;
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
        self.follow(self.first_page(route.to_owned()).await?, |parcel: Parcel| {
            if let Some(event) = &parcel.event {
                audit.put_off(place, event);
            }
        })
        .await
    }

    /// Takes the pages of all clients, one client after the other. The first pages of the next ones are fetched meanwhile.
    async fn clients(&self, audit: &mut Audit) -> anyhow::Result<()> {
        let mut clients = stream::iter(audit.names())
            .map(|name| async {
                let first = |part| self.first_page(format!("/v1/clients/{}/{part}", path_segment(&name)));
                // The events first, then the links that they imply.
                let events = (first("transactions").await?, first("operations").await?);
                let links = (first("interactions").await?, first("branches").await?);
                anyhow::Ok((name, events, links))
            })
            .buffered(READS_AT_ONCE);
        while let Some((name, (transactions, operations), (interactions, branches))) =
            clients.try_next().await?
        {
            let mut client = audit.client(&name);
            self.follow(transactions, |event| client.transaction(&event)).await?;
            self.follow(operations, |event| client.operation(&event)).await?;
            self.follow(interactions, |link| client.interaction(&link)).await?;
            self.follow(branches, |link| client.branch(&link)).await?;
            client.finish();
        }
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
            .buffer_unordered(READS_AT_ONCE);
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
