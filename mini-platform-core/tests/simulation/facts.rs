//! What there is in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use mini_platform_core::domain::{
    ClientId, ClientQuery, DeadLetter, Edge, Event, EventFilter, EventId, EventQuery, EventScreening,
    LogRecord, LotStatus, NeighbourQuery, OccurredAt, Outcome, Side, StoredEvent, Timestamp,
};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore};
use mini_platform_core::port::{AdjacencyStore, EventStore, LogReader};
use mini_platform_core::replay::{ReplayReport, Replayer};
use tokio_util::sync::CancellationToken;

use super::ledger::{Answer, Ledger, trace_number};
use super::world::World;

/// A link: whose, to what, and on which side of an interaction.
pub(crate) type Link = (ClientId, String, Option<Side>);

pub(crate) fn link_of(edge: &Edge) -> (Link, Timestamp) {
    match edge {
        Edge::Interaction { client, counterparty, side, at } => {
            ((client.clone(), counterparty.as_str().to_owned(), Some(*side)), *at)
        }
        Edge::Branch { client, branch, at } => ((client.clone(), branch.as_str().to_owned(), None), *at),
    }
}

macro_rules! all_pages {
    ($query:expr, $ask:expr) => {{
        let (mut items, mut query) = (Vec::new(), $query);
        loop {
            let page = $ask(query.clone()).await.unwrap();
            items.extend(page.items);
            match page.next {
                Some(token) => query = query.with_token(&token).unwrap(),
                None => break items,
            }
        }
    }};
}

/// What two stores answer.
pub(crate) struct Kept {
    /// As clients list them: an event of two clients comes twice.
    pub(crate) listed: Vec<(ClientId, StoredEvent)>,
    pub(crate) stored: BTreeMap<EventId, StoredEvent>,
    pub(crate) links: BTreeMap<String, (Link, Timestamp)>,
}

impl Kept {
    async fn read(events: &MemoryEventStore, adjacency: &MemoryAdjacencyStore) -> Self {
        let (mut listed, mut links) = (Vec::new(), BTreeMap::new());
        for client in all_pages!(ClientQuery::default(), async |query| events.clients(&query).await) {
            for filter in [EventFilter::Transactions, EventFilter::Operations] {
                let query = EventQuery::new(client.clone(), filter);
                let of_client = all_pages!(query, async |query| events.query(&query).await);
                listed.extend(of_client.into_iter().map(|stored| (client.clone(), stored)));
            }
        }
        let mut add = |link: Link, at| links.insert(name_of(&link), (link, at));
        for client in all_pages!(ClientQuery::default(), async |query| adjacency.clients(&query).await) {
            let query = NeighbourQuery::new(client.clone());
            for one in all_pages!(query.clone(), async |query| adjacency.interactions(&query).await) {
                for side in [Side::Sent, Side::Received] {
                    let link = (client.clone(), one.counterparty.as_str().to_owned(), Some(side));
                    one.last_at_on(side).map(|at| add(link, at));
                }
            }
            for one in all_pages!(query, async |query| adjacency.branches(&query).await) {
                add((client.clone(), one.branch.as_str().to_owned(), None), one.last_at);
            }
        }
        let stored = listed.iter().map(|(_, one)| (one.event.id().clone(), one.clone())).collect();
        Self { listed, stored, links }
    }

    pub(crate) fn is_linked(&self, edge: &Edge) -> bool {
        let (link, at) = link_of(edge);
        self.links.get(&name_of(&link)).is_some_and(|(_, last)| *last >= at)
    }
}

fn name_of((client, other, side): &Link) -> String {
    format!("{} {other} {side:?}", client.as_str())
}

pub(crate) struct Facts {
    pub(crate) kept: Kept,
    pub(crate) records: Vec<LogRecord>,
    /// Places of the records of each request and event.
    records_of: BTreeMap<(u128, EventId), Vec<usize>>,
    pub(crate) dead: Vec<DeadLetter>,
    pub(crate) lot: LotStatus,
    /// What the log gives in stores that were empty, and what a second replay came to.
    pub(crate) replayed: Kept,
    pub(crate) again: ReplayReport,
}

impl Facts {
    pub(crate) async fn gather(world: &World) -> Self {
        let records: Vec<LogRecord> = world.log.records().await.unwrap().map(Result::unwrap).collect().await;
        let mut records_of: BTreeMap<(u128, EventId), Vec<usize>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            let key = (trace_number(record.trace), record.event.id().clone());
            records_of.entry(key).or_default().push(place);
        }
        let (replayed, again) = replay(world).await;
        Self {
            kept: Kept::read(&world.events, &world.adjacency).await,
            records,
            records_of,
            dead: world.lot.dead_letters(),
            lot: world.lot.status(),
            replayed,
            again,
        }
    }

    pub(crate) fn stored(&self, id: &EventId) -> Option<&StoredEvent> {
        self.kept.stored.get(id)
    }

    /// Returns the records of an event of a request, and their places in the log.
    pub(crate) fn records_of(
        &self,
        request: u128,
        id: &EventId,
    ) -> impl Iterator<Item = (usize, &LogRecord)> {
        let places = self.records_of.get(&(request, id.clone())).into_iter().flatten();
        places.map(|place| (*place, &self.records[*place]))
    }

    /// Returns everything that is said of events, in answers and in records.
    pub(crate) fn sayings(&self, ledger: &Ledger) -> Vec<Saying> {
        let answered = answers(ledger).into_iter().filter_map(|(request, event, answer)| match answer {
            Answer::Finished(finished) => Some(Saying {
                request: request.into(),
                event,
                outcome: finished.outcome,
                screening: finished.screening,
            }),
            _ => None,
        });
        let logged = self.records.iter().map(|record| Saying {
            request: trace_number(record.trace),
            event: record.event.clone(),
            outcome: record.outcome,
            screening: record.screening.clone(),
        });
        answered.chain(logged).collect()
    }
}

/// What an answer or a record says of an event.
pub(crate) struct Saying {
    pub(crate) request: u128,
    pub(crate) event: Event,
    pub(crate) outcome: Outcome,
    pub(crate) screening: EventScreening,
}

/// Returns every answer for one event, with the number of the request.
pub(crate) fn answers(ledger: &Ledger) -> Vec<(u64, Event, Answer)> {
    let mut all = Vec::new();
    for (number, request) in &ledger.requests {
        let Some((_, answers)) = &request.answered else { continue };
        let pairs = request.events.iter().cloned().zip(answers.iter().cloned());
        all.extend(pairs.map(|(event, answer)| (*number, event, answer)));
    }
    all
}

/// Whether an event says the same as one that is stored, as clients are promised: a time that was left out says nothing.
pub(crate) fn says_the_same(event: &Event, stored: &Event) -> bool {
    let (own, of_stored) = (event.occurred_at(), stored.occurred_at());
    let is_timed = matches!(own, OccurredAt::Given(_));
    (!is_timed || own.timestamp() == of_stored.timestamp()) && event.clone().happened(of_stored) == *stored
}

pub(crate) fn is_stored(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Stored | Outcome::Duplicate)
}

/// Replays the log twice into stores that are empty.
async fn replay(world: &World) -> (Kept, ReplayReport) {
    let (events, adjacency) = <(Arc<MemoryEventStore>, Arc<MemoryAdjacencyStore>)>::default();
    let (replayer, stop) = (Replayer::new(events.clone(), adjacency.clone()), CancellationToken::new());
    replayer.run(&*world.log, &stop, |_| {}).await.unwrap();
    let again = replayer.run(&*world.log, &stop, |_| {}).await.unwrap();
    (Kept::read(&events, &adjacency).await, again)
}
