//! `parked`: shows what waits to be tried again.

use super::pages::PageArgs;
use super::{Finish, PlatformArgs};

/// Arguments of `parked`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Answers are JSON: indented on a terminal, else on one line. Exit code: 0, or 1 when there is no answer.")]
pub struct ParkedArgs {
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    platform: PlatformArgs,
}

pub(super) async fn run(args: ParkedArgs) -> anyhow::Result<Finish> {
    args.pages.show(&args.platform.client(), "/v1/parked").await
}
