//! `verify` and `rebuild`: the links of clients against their events.

use std::io::{BufWriter, Write};

use anyhow::Context;
use mini_platform_core::domain::Side;
use mini_platform_core::reconcile::{Difference, Mode, Neighbour, ReconcileReport, Reconciler};

use super::progress::Progress;
use crate::backend::Connections;
use crate::cli::Finish;
use crate::config::Config;
use crate::lifecycle;

/// Names every difference; incomplete when there is any.
pub(super) async fn verify(config: &Config, connections: &Connections) -> anyhow::Result<Finish> {
    let stop = lifecycle::stop_on_signals()?;
    let mut out = BufWriter::new(std::io::stdout());
    let mut written = Ok(());
    let stopper = stop.clone();
    let report = reconciler(config, connections)?
        .run(Mode::Report, &stop, |difference| {
            if written.is_ok() {
                written = writeln!(out, "{}", line(difference));
            }
            if written.is_err() {
                stopper.cancel();
            }
        })
        .await
        .context("the comparison stopped half-way")?;
    written?;
    out.flush()?;
    writeln!(out, "{}", summary(&report, "differ"))?;
    out.flush()?;
    let is_clean = report.is_complete && report.differences.total() == 0;
    Ok(if is_clean { Finish::Complete } else { Finish::Incomplete })
}

/// Repairs every difference; incomplete when it was told to stop before the end.
pub(super) async fn rebuild(config: &Config, connections: &Connections) -> anyhow::Result<Finish> {
    let stop = lifecycle::stop_on_signals()?;
    let (mut progress, mut repaired) = (Progress::start(), 0_u64);
    let report = reconciler(config, connections)?
        .run(Mode::Repair, &stop, |_| {
            repaired += 1;
            progress.tell(|| format!("{repaired} links repaired so far"));
        })
        .await;
    progress.finish();
    let report = report
        .context("the rebuild stopped half-way; what was repaired stays, and a new one does the rest")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", summary(&report, "differed"))?;
    writeln!(out, "{} links repaired", report.repaired)?;
    out.flush()?;
    let is_done = report.is_complete && report.repaired == report.differences.total();
    Ok(if is_done { Finish::Complete } else { Finish::Incomplete })
}

fn reconciler(config: &Config, connections: &Connections) -> anyhow::Result<Reconciler> {
    Ok(Reconciler::new(connections.events(config)?, connections.adjacency(config)?))
}

/// Names a difference by its parties, for whoever asked: `missing  Ann -> Bob  sent  implied …`.
fn line(difference: &Difference) -> String {
    let Difference { client, neighbour, kind } = difference;
    let (other, how) = match neighbour {
        Neighbour::Client { counterparty, side: Side::Sent } => (counterparty.as_str(), "sent"),
        Neighbour::Client { counterparty, side: Side::Received } => (counterparty.as_str(), "received"),
        Neighbour::Branch(branch) => (branch.as_str(), "branch"),
    };
    let mut line = format!("{:8}{how:9}{client} -> {other}", kind.as_str(), client = client.as_str());
    for (word, time) in [("is", kind.kept()), ("should be", kind.implied())] {
        if let Some(time) = time {
            line.push_str(&format!("  {word} {time}"));
        }
    }
    line
}

fn summary(report: &ReconcileReport, differ: &str) -> String {
    let ReconcileReport { clients, events, links, differences, is_complete, .. } = report;
    let part = if *is_complete { "" } else { "stopped before the end: " };
    format!(
        "{part}{clients} clients, {events} events read, {links} links compared, {} {differ} \
         ({} missing, {} older, {} newer, {} surplus)",
        differences.total(),
        differences.missing,
        differences.older,
        differences.newer,
        differences.surplus
    )
}

#[cfg(test)]
mod tests {
    use mini_platform_core::domain::{BranchId, ClientId, Timestamp};
    use mini_platform_core::reconcile::DifferenceKind;

    use super::*;

    #[test]
    fn a_difference_names_who_what_and_when() {
        let [early, late] =
            ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"].map(|time| time.parse::<Timestamp>().unwrap());
        let client = |name: &str| ClientId::new(name).unwrap();
        let sent = Neighbour::Client { counterparty: client("Bob B"), side: Side::Sent };
        let branch = Neighbour::Branch(BranchId::new("North").unwrap());
        let told = |neighbour: &Neighbour, kind| {
            line(&Difference { client: client("Ann"), neighbour: neighbour.clone(), kind })
        };
        assert_eq!(
            told(&sent, DifferenceKind::Missing { implied: late }),
            "missing sent     Ann -> Bob B  should be 2026-01-02T00:00:00Z"
        );
        assert_eq!(
            told(&branch, DifferenceKind::Older { kept: early, implied: late }),
            "older   branch   Ann -> North  is 2026-01-01T00:00:00Z  should be 2026-01-02T00:00:00Z"
        );
    }
}
