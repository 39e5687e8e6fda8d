//! One client: what differs, and its repair.
//!
//! Why this is right while workers store and link events, each event before its links:
//!
//! - *Links are read before events.* So every link that was read belongs to an event that is found, unless no event
//!   implies it. What a link holds beyond the events is wrong for sure.
//! - *What is missing may be on its way.* Adding it is harmless: it would come anyway. A report, which is there to
//!   find faults, gives an event that was stored a moment ago some time and reads the links again. A repair does not:
//!   after a loss of all links it would wait for every client that is busy.
//! - *A removal names what was seen*, so a link that was renewed meanwhile stays. Two things can still happen to a
//!   link between reading and removing it: an earlier event is linked, which leaves no trace in a link that holds a
//!   later time, or an event of just that time is. Hence the events are read again after the removal, and what they
//!   imply is linked. Whatever is stored later is linked later, too.

use crate::domain::{ClientId, Edge, MAX_BATCH};
use crate::error::StoreError;

use super::difference::{Difference, DifferenceKind};
use super::read::{self, ImpliedLinks, Links};
use super::{Mode, Reconciler};

/// How many edges one call links or unlinks: what a full batch of transactions makes.
const EDGES_PER_CALL: usize = 2 * MAX_BATCH;

/// What came of one client.
#[derive(Debug)]
pub(super) struct Reconciled {
    pub(super) events: u64,
    pub(super) links: u64,
    pub(super) differences: Vec<Difference>,
    pub(super) is_repaired: bool,
}

impl Reconciler {
    /// Compares one client, and repairs its links if asked to.
    pub(super) async fn reconcile(&self, client: ClientId, mode: Mode) -> Result<Reconciled, StoreError> {
        let links = read::links(&*self.adjacency, &client).await?;
        let implied = read::implied(&*self.events, &client).await?;
        let mut differences = differences(&client, &links, &implied);
        let is_repaired = mode == Mode::Repair;
        if is_repaired {
            self.repair(&client, &differences).await?;
        } else if self.any_on_its_way(&differences, &implied) {
            self.settle(&client, &mut differences).await?;
        }
        differences.sort_by(|a, b| a.neighbour.order().cmp(&b.neighbour.order()));
        Ok(Reconciled { events: implied.events, links: links.len() as u64, differences, is_repaired })
    }

    /// Whether a link that lags behind is implied by an event that was stored a moment ago.
    fn any_on_its_way(&self, differences: &[Difference], implied: &ImpliedLinks) -> bool {
        let now = self.clock.now();
        let lags = differences.iter().filter(|difference| !difference.kind.is_excess());
        lags.filter_map(|difference| implied.links.get(&difference.neighbour))
            .any(|implied| now.since(implied.recorded_at) < self.settle)
    }

    /// Waits, and drops the differences that have gone by then. Excess is certain already and stays.
    async fn settle(&self, client: &ClientId, differences: &mut Vec<Difference>) -> Result<(), StoreError> {
        tokio::time::sleep(self.settle).await;
        let links = read::links(&*self.adjacency, client).await?;
        differences.retain_mut(|difference| {
            if difference.kind.is_excess() {
                return true;
            }
            let kept = links.get(&difference.neighbour).copied();
            let lag = DifferenceKind::of(kept, difference.kind.implied()).filter(|kind| !kind.is_excess());
            lag.inspect(|kind| difference.kind = *kind).is_some()
        });
        Ok(())
    }

    async fn repair(&self, client: &ClientId, differences: &[Difference]) -> Result<(), StoreError> {
        let excess: Vec<Edge> = differences.iter().filter_map(Difference::excess).collect();
        for edges in excess.chunks(EDGES_PER_CALL) {
            self.adjacency.unlink(edges).await?;
        }
        let implied: Vec<Edge> = differences.iter().filter_map(Difference::implied).collect();
        self.link(&implied).await?;
        if excess.is_empty() {
            return Ok(());
        }
        let now_implied = read::implied(&*self.events, client).await?;
        let touched = differences.iter().filter(|difference| difference.kind.is_excess());
        let again: Vec<Edge> = touched
            .filter_map(|difference| {
                let implied = now_implied.links.get(&difference.neighbour)?;
                (Some(implied.at) != difference.kind.implied())
                    .then(|| difference.neighbour.edge(client, implied.at))
            })
            .collect();
        self.link(&again).await
    }

    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        for edges in edges.chunks(EDGES_PER_CALL) {
            self.adjacency.link(edges).await?;
        }
        Ok(())
    }
}

fn differences(client: &ClientId, links: &Links, implied: &ImpliedLinks) -> Vec<Difference> {
    let difference = |neighbour: &super::Neighbour, kind| Difference {
        client: client.clone(),
        neighbour: neighbour.clone(),
        kind,
    };
    let due = implied.links.iter().filter_map(|(neighbour, implied)| {
        let kind = DifferenceKind::of(links.get(neighbour).copied(), Some(implied.at))?;
        Some(difference(neighbour, kind))
    });
    let surplus = links
        .iter()
        .filter(|(neighbour, _)| !implied.links.contains_key(*neighbour))
        .map(|(neighbour, kept)| difference(neighbour, DifferenceKind::Surplus { kept: *kept }));
    due.chain(surplus).collect()
}
