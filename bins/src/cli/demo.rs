//! `demo`: a small made-up bank that is busy for a moment, and what became of its events.
//!
//! Starting the platform is not here: [`demo`] needs one that is ready.

mod bank;
mod summary;

pub use summary::DemoSummary;

use anyhow::Context;

use self::bank::DemoBank;
use self::summary::ReadBack;
use super::delivery::{Delivery, Source};
use super::progress::Progress;
use super::rows::Blocks;
use super::tally::Tally;
use crate::client::{BaseUrl, PlatformClient};

/// Arguments of `demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// How many events to make up
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// The same seed makes up the same events
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// Sends made-up events to a running platform and looks at what became of them.
///
/// `listed` are names of the fraud list in force: some events involve them. Running again with the same
/// arguments makes the same events, which are then duplicates.
///
/// # Errors
/// The platform does not answer.
pub async fn demo(base: BaseUrl, args: &DemoArgs, listed: &[String]) -> anyhow::Result<DemoSummary> {
    let client = PlatformClient::new(base.clone());
    let bank = DemoBank::new(args.seed, args.events, listed);
    let busiest = bank.busiest_client().to_owned();
    let progress = Progress::start(Some(args.events));
    let mut delivery = Delivery { client: &client, tally: Tally::default(), progress, acknowledged: None };
    let source = Source { name: "demo".to_owned(), blocks: Blocks::read_ahead(bank)? };
    let outcome = delivery.deliver(source).await;
    let Delivery { tally, progress, .. } = delivery;
    let elapsed = progress.finish();
    outcome.context("the demo's events did not reach the platform")?;
    let read_back = ReadBack::fetch(&client, busiest).await?;
    Ok(DemoSummary { base, tally, elapsed, read_back, listed: listed.first().cloned() })
}
