//! What holds when everything has healed, whatever went wrong before.
//!
//! 1. What is acknowledged is not lost: what was answered as stored or duplicate is stored. What was answered as parked
//!    was finished later and logged, or is a dead letter; nothing waits any more.
//! 2. An event is stored once, with content that was sent, and stays as it was stored first. Who sends other content
//!    under its id is told of a conflict.
//! 3. Every verdict is that of the list that it names. (That nothing is stored or linked that was not found clear in the
//!    same call is checked at the store, see `ledger`.) So an event of which every screening was a hit leaves nothing.
//!    One that was cleared under another version of the list, in a call whose answer was lost, may be stored though
//!    its sender was told that it is fraudulent.
//! 4. Every event that was answered or logged as stored or duplicate is linked. Links of others may lack, because
//!    whoever stored them crashed and nobody sent them again, but no link is there that no stored event implies.
//! 5. Every finished request that was answered is in the long-term log, and so is every parked event that was done:
//!    with the same outcome, and with the times under which the event is stored. Of one client and one dispatcher, the
//!    records of requests that were sent one after the other are in order; of several dispatchers nothing is promised.
//!    Replaying the log into an empty store gives every event that is known to be stored, and replaying it again
//!    changes nothing.
//! 6. Dead letters are garbage, or were tried as often as they may. A dead letter may be of an event that is stored:
//!    by another request, or in a try whose answer was lost.
//! 7. No request stays without an answer while its dispatcher lives. (That answers come in time is checked as they do.)

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use mini_platform_core::domain::{
    BranchLink, ClientId, ClientQuery, DeadLetter, DeathCause, Edge, Event, EventBatch, EventFilter, EventId,
    EventQuery, EventScreening, Interaction, LogRecord, LotStatus, NeighbourQuery, Outcome, ParcelQuery,
    Side, StoredEvent, Timestamp,
};
use mini_platform_core::memory::MemoryEventStore;
use mini_platform_core::port::{AdjacencyStore, EventStore, LogReader, ParkingLot};

use super::ledger::{Answer, Ledger, ParcelState, subject, trace_number};
use super::world::World;

/// What there is in the end.
struct Facts {
    /// In the order of their clients; an event with two clients comes twice.
    listed: Vec<(ClientId, StoredEvent)>,
    stored: BTreeMap<EventId, StoredEvent>,
    interactions: Vec<(ClientId, Interaction)>,
    branches: Vec<(ClientId, BranchLink)>,
    records: Vec<LogRecord>,
    /// Places of the records of each request and event.
    records_of: BTreeMap<(u128, EventId), Vec<usize>>,
    dead: Vec<DeadLetter>,
    lot: LotStatus,
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

impl Facts {
    async fn gather(world: &World) -> Self {
        let (events, adjacency) = (&world.events, &world.adjacency);
        let mut listed = Vec::new();
        for client in all_pages!(ClientQuery::default(), async |query| events.clients(&query).await) {
            for filter in [EventFilter::Transactions, EventFilter::Operations] {
                let query = EventQuery::new(client.clone(), filter);
                let of_client = all_pages!(query, async |query| events.query(&query).await);
                listed.extend(of_client.into_iter().map(|stored| (client.clone(), stored)));
            }
        }
        let (mut interactions, mut branches) = (Vec::new(), Vec::new());
        for client in all_pages!(ClientQuery::default(), async |query| adjacency.clients(&query).await) {
            let query = NeighbourQuery::new(client.clone());
            let found = all_pages!(query.clone(), async |query| adjacency.interactions(&query).await);
            interactions.extend(found.into_iter().map(|one| (client.clone(), one)));
            let found = all_pages!(query, async |query| adjacency.branches(&query).await);
            branches.extend(found.into_iter().map(|one| (client.clone(), one)));
        }
        let records: Vec<LogRecord> = world.log.records().await.unwrap().map(Result::unwrap).collect().await;
        let mut records_of: BTreeMap<(u128, EventId), Vec<usize>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            let key = (trace_number(record.trace), record.event.id().clone());
            records_of.entry(key).or_default().push(place);
        }
        let lot = &world.lot.inner;
        Self {
            stored: listed.iter().map(|(_, one)| (one.event.id().clone(), one.clone())).collect(),
            listed,
            interactions,
            branches,
            records,
            records_of,
            dead: all_pages!(ParcelQuery::default(), async |query| lot.dead_letters(&query).await),
            lot: lot.status().await.unwrap(),
        }
    }

    fn records_of(&self, request: u128, id: &EventId) -> impl Iterator<Item = (usize, &LogRecord)> {
        let places = self.records_of.get(&(request, id.clone())).into_iter().flatten();
        places.map(|place| (*place, &self.records[*place]))
    }
}

/// Every answer for one event.
fn answers(ledger: &Ledger) -> Vec<(u64, Event, Answer)> {
    let answered = ledger.requests.iter().filter_map(|(number, request)| {
        let (_, answers) = request.answered.as_ref()?;
        Some((*number, request.events.iter().cloned().zip(answers.clone())))
    });
    answered.flat_map(|(number, pairs)| pairs.map(move |(event, answer)| (number, event, answer))).collect()
}

fn is_stored(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Stored | Outcome::Duplicate)
}

pub(crate) async fn check(world: &World) {
    let facts = Facts::gather(world).await;
    let replayed = replay(&facts.records, 2).await;
    let mut ledger = world.ledger();
    acknowledged_is_not_lost(&facts, &mut ledger);
    nothing_waits(&facts, &mut ledger);
    parcels_end(&facts, &mut ledger);
    stored_once_as_sent(&facts, &mut ledger);
    conflicts_are_conflicts(&facts, &mut ledger);
    verdicts_are_of_their_list(&facts, world, &mut ledger);
    links_are_what_events_imply(&facts, world, &mut ledger);
    finished_is_logged(&facts, &mut ledger);
    finished_is_not_forgotten(&facts, &mut ledger);
    records_are_true(&facts, &mut ledger);
    records_are_in_order(&facts, &mut ledger);
    replay_gives_what_is_stored(&facts, &replayed, &mut ledger);
    dead_letters_had_their_chance(&facts, world, &mut ledger);
    nobody_waits_for_an_answer(&mut ledger);
}

fn acknowledged_is_not_lost(facts: &Facts, ledger: &mut Ledger) {
    const LAW: &str = "what is acknowledged is not lost";
    for (request, event, answer) in answers(ledger) {
        let id = event.id();
        match answer {
            Answer::Finished(finished) if is_stored(finished.outcome) => {
                let is_there = facts.stored.get(id).is_some_and(|one| {
                    event.is_resend_of(&one.event) && Some(one.recording()) == finished.recording
                });
                if !is_there {
                    let says = format!(
                        "{id} of r{request} was answered as {}, and is not",
                        finished.outcome.as_str()
                    );
                    ledger.breaks(LAW, says, [id.to_string()]);
                }
            }
            Answer::Parked => {
                let is_kept =
                    ledger.parcels.values().filter_map(|parked| parked.event.as_ref()).any(|parked| {
                        parked.trace.is_some_and(|trace| trace_number(trace) == u128::from(request))
                            && parked.event == event
                    });
                if !is_kept {
                    let says = format!("{id} of r{request} was answered as parked, and never was");
                    ledger.breaks(LAW, says, [id.to_string()]);
                }
            }
            Answer::Finished(_) | Answer::Refused(..) => {}
        }
    }
}

fn nothing_waits(facts: &Facts, ledger: &mut Ledger) {
    if facts.lot.parked > 0 {
        let waiting = ledger.parcels.values().filter(|one| one.state == ParcelState::Parked);
        let names: Vec<String> = waiting.map(|one| one.name.clone()).collect();
        ledger.breaks("the parking lot empties", format!("{:?} wait: {names:?}", facts.lot), names);
    }
}

/// Every parcel that was parked ends as done, and then it is logged, or as a dead letter.
fn parcels_end(facts: &Facts, ledger: &mut Ledger) {
    let dead: BTreeSet<_> = facts.dead.iter().map(|letter| letter.parked.parcel.id).collect();
    let mut broken = Vec::new();
    for (id, parked) in &ledger.parcels {
        let is_logged = parked.event.as_ref().is_some_and(|one| match one.trace {
            Some(trace) => facts.records_of(trace_number(trace), one.event.id()).next().is_some(),
            None => facts.records.iter().any(|record| record.event.id() == one.event.id()),
        });
        let ends = match parked.state {
            ParcelState::Parked => continue,
            ParcelState::Done => is_logged && !dead.contains(id),
            ParcelState::Dead(_) => dead.contains(id),
        };
        if !ends {
            let event = parked.event.as_ref().map(|one| one.event.id().to_string()).unwrap_or_default();
            let says = format!("{} of {event} is {:?}, and not logged or dead", parked.name, parked.state);
            broken.push((says, [parked.name.clone(), event]));
        }
    }
    for (says, about) in broken {
        ledger.breaks("a parcel ends in the log or as a dead letter", says, about);
    }
}

fn stored_once_as_sent(facts: &Facts, ledger: &mut Ledger) {
    const LAW: &str = "an event is stored once, as it was sent";
    let mut seen = BTreeSet::new();
    for (client, stored) in &facts.listed {
        let id = stored.event.id();
        let sent = ledger.requests.values().flat_map(|request| &request.events);
        let parked = ledger.parcels.values().filter_map(|parked| parked.event.as_ref()).map(|one| &one.event);
        let is_sent = sent.chain(parked).any(|event| *event == stored.event);
        let is_first = ledger.stored.get(id) == Some(stored);
        let is_once = seen.insert((client.clone(), id.clone()));
        if !(is_sent && is_first && is_once) {
            let says = format!("{id}: sent so {is_sent}, as stored first {is_first}, once {is_once}");
            ledger.breaks(LAW, says, [id.to_string()]);
        }
    }
    let answered = answers(ledger).into_iter().filter_map(|(request, event, answer)| match answer {
        Answer::Finished(finished) => Some((u128::from(request), event.id().clone(), finished.outcome)),
        _ => None,
    });
    let logged = facts.records.iter();
    let logged = logged.map(|one| (trace_number(one.trace), one.event.id().clone(), one.outcome));
    let news: BTreeSet<(u128, EventId)> = answered
        .chain(logged)
        .filter(|(.., outcome)| *outcome == Outcome::Stored)
        .map(|(request, id, _)| (request, id))
        .collect();
    let mut ids = BTreeSet::new();
    for (_, id) in news {
        if !ids.insert(id.clone()) {
            ledger.breaks(LAW, format!("{id} is new in two requests"), [id.to_string()]);
        }
    }
}

/// Everything that is said of events, in answers and in records: the request, the event, its outcome and screening.
fn sayings(facts: &Facts, ledger: &Ledger) -> Vec<(u128, Event, Outcome, EventScreening)> {
    let answered = answers(ledger).into_iter().filter_map(|(request, event, answer)| match answer {
        Answer::Finished(finished) => Some((request.into(), event, finished.outcome, finished.screening)),
        _ => None,
    });
    let logged = facts
        .records
        .iter()
        .map(|one| (trace_number(one.trace), one.event.clone(), one.outcome, one.screening.clone()));
    answered.chain(logged).collect()
}

fn conflicts_are_conflicts(facts: &Facts, ledger: &mut Ledger) {
    for (request, event, outcome, _) in sayings(facts, ledger) {
        let id = event.id();
        let differs = facts.stored.get(id).is_some_and(|stored| !event.is_resend_of(&stored.event));
        if outcome == Outcome::Conflict && !differs {
            let says = format!("{id} of r{request} is no conflict with what is stored");
            ledger.breaks("a conflict is with what is stored", says, [id.to_string()]);
        }
    }
}

fn verdicts_are_of_their_list(facts: &Facts, world: &World, ledger: &mut Ledger) {
    for (request, event, outcome, screening) in sayings(facts, ledger) {
        let is_as_stored = facts.stored.get(event.id()).is_some_and(|one| event.is_resend_of(&one.event));
        if outcome == Outcome::Fraudulent && is_as_stored {
            world.meet("a stored event was called fraudulent as well");
        }
        let Some(list) = ledger.lists.get(screening.version()) else {
            let says = format!("r{request} names {}", screening.version());
            ledger.breaks("a verdict is of a list", says, [event.id().to_string()]);
            continue;
        };
        let is_listed = subject(&event).map(|name| list.contains(name.as_str()));
        let is_true = match (&screening, is_listed) {
            (EventScreening::None { .. }, None) | (EventScreening::Clear { .. }, Some(false)) => true,
            (EventScreening::Hit { entry, .. }, Some(true)) => {
                subject(&event).is_some_and(|name| entry.as_str() == name.as_str())
            }
            _ => false,
        };
        if !is_true || screening.is_hit() != (outcome == Outcome::Fraudulent) {
            let says = format!("{} of r{request} is {}: {screening:?}", event.id(), outcome.as_str());
            ledger.breaks("a verdict is that of its list", says, [event.id().to_string()]);
        }
    }
}

/// A link: whose, to whom, in which role.
type Link = (ClientId, String, Option<bool>);

fn link_of(edge: &Edge) -> (Link, Timestamp) {
    match edge {
        Edge::Interaction { client, counterparty, side, at } => {
            ((client.clone(), counterparty.to_string(), Some(*side == Side::Sent)), *at)
        }
        Edge::Branch { client, branch, at } => ((client.clone(), branch.to_string(), None), *at),
    }
}

fn links_are_what_events_imply(facts: &Facts, world: &World, ledger: &mut Ledger) {
    let mut links: BTreeMap<Link, Timestamp> = BTreeMap::new();
    for (client, one) in &facts.interactions {
        for (side, is_sent) in [(Side::Sent, true), (Side::Received, false)] {
            if let Some(at) = one.last_at_on(side) {
                links.insert((client.clone(), one.counterparty.to_string(), Some(is_sent)), at);
            }
        }
    }
    for (client, one) in &facts.branches {
        links.insert((client.clone(), one.branch.to_string(), None), one.last_at);
    }
    let known: BTreeSet<EventId> = sayings(facts, ledger)
        .into_iter()
        .filter(|(_, _, outcome, _)| is_stored(*outcome))
        .map(|(_, event, ..)| event.id().clone())
        .collect();
    let mut implied: BTreeSet<(Link, Timestamp)> = BTreeSet::new();
    for (id, stored) in &facts.stored {
        for edge in Edge::implied_by(&stored.event, stored.event.occurred_at().timestamp()) {
            let (link, at) = link_of(&edge);
            let is_linked = links.get(&link).is_some_and(|last| *last >= at);
            if !is_linked && known.contains(id) {
                let says = format!("{id} is stored, and not linked as {link:?} at {at}");
                ledger.breaks("what is stored is linked", says, [id.to_string()]);
            } else if !is_linked {
                world.meet("a stored event without a link is nobody's");
            }
            implied.insert((link, at));
        }
    }
    for (link, at) in links {
        if !implied.contains(&(link.clone(), at)) {
            let says = format!("no event implies {link:?} at {at}");
            ledger.breaks("what is linked is stored", says, []);
        }
    }
}

fn finished_is_logged(facts: &Facts, ledger: &mut Ledger) {
    for (request, event, answer) in answers(ledger) {
        let Answer::Finished(finished) = answer else { continue };
        let recorded_at = finished.recording.map(|recording| recording.recorded_at);
        let mut records = facts.records_of(request.into(), event.id());
        let is_logged = records.any(|(_, record)| {
            record.outcome == finished.outcome
                && record.screening == finished.screening
                && record.recorded_at == recorded_at
        });
        if !is_logged {
            let outcome = finished.outcome.as_str();
            let says = format!("{} of r{request} is {outcome}, and the log does not say so", event.id());
            ledger.breaks("what is finished is in the log", says, [event.id().to_string()]);
        }
    }
}

/// Also when whoever asked does not wait any more: what a worker finished is logged, unless its dispatcher crashed, or
/// at least it was tried to park it.
fn finished_is_not_forgotten(facts: &Facts, ledger: &mut Ledger) {
    let logged: BTreeSet<&EventId> = facts.records.iter().map(|record| record.event.id()).collect();
    let is_known = |id: &EventId| logged.contains(id) || ledger.to_be_parked.contains(id);
    let finished = ledger.finished.iter().filter(|(life, _)| !life.is_over()).map(|(_, id)| id);
    let forgotten: Vec<String> = finished.filter(|id| !is_known(id)).map(ToString::to_string).collect();
    for id in forgotten {
        ledger.breaks("what is finished is in the log", format!("{id} was finished, and not logged"), [id]);
    }
}

/// A record holds the event of its request; of one that is stored, under the times of the store.
fn records_are_true(facts: &Facts, ledger: &mut Ledger) {
    for record in &facts.records {
        let id = record.event.id();
        let is_true = match facts.stored.get(id) {
            _ if !is_stored(record.outcome) => record.recorded_at.is_none(),
            None => false,
            Some(stored) => {
                record.recorded_at == Some(stored.recorded_at)
                    && record.event.occurred_at().timestamp() == stored.event.occurred_at().timestamp()
                    && record.event.is_resend_of(&stored.event)
            }
        };
        if !is_true {
            let says = format!("the log says of {id}: {record:?}");
            ledger.breaks("a record says what is stored", says, [id.to_string()]);
        }
    }
}

fn records_are_in_order(facts: &Facts, ledger: &mut Ledger) {
    let mut finished: BTreeMap<(usize, ClientId), Vec<(usize, usize, usize, u64)>> = BTreeMap::new();
    for (number, request) in &ledger.requests {
        let Some((answered, answers)) = &request.answered else { continue };
        for (event, answer) in request.events.iter().zip(answers) {
            let first = facts.records_of((*number).into(), event.id()).next();
            if let (Answer::Finished(_), Some((place, _))) = (answer, first) {
                let lane = (request.dispatcher, event.client().clone());
                let one = (request.received, *answered, place, *number);
                finished.entry(lane).or_default().push(one);
            }
        }
    }
    for ((dispatcher, client), of_client) in finished {
        for (_, answered, earlier, first) in &of_client {
            for (received, _, later, second) in &of_client {
                if answered < received && earlier > later {
                    let says = format!(
                        "r{first} of {client} was answered by d{dispatcher} before r{second} was sent, and is behind it in the log"
                    );
                    ledger.breaks(
                        "records of a client are in order",
                        says,
                        [format!("r{first} "), format!("r{second} ")],
                    );
                }
            }
        }
    }
}

/// Makes a store of the records, as often as told.
async fn replay(records: &[LogRecord], times: usize) -> BTreeMap<EventId, StoredEvent> {
    let store = MemoryEventStore::default();
    for record in std::iter::repeat_n(records, times).flatten() {
        if let Some(recorded_at) = record.recorded_at {
            store.append(&EventBatch::single(record.event.clone()), recorded_at).await.unwrap();
        }
    }
    let mut replayed = BTreeMap::new();
    for record in records {
        if let Some(stored) = store.get(record.event.id()).await.unwrap() {
            replayed.insert(record.event.id().clone(), stored);
        }
    }
    replayed
}

fn replay_gives_what_is_stored(
    facts: &Facts,
    replayed: &BTreeMap<EventId, StoredEvent>,
    ledger: &mut Ledger,
) {
    for (_, event, outcome, _) in sayings(facts, ledger) {
        let id = event.id();
        if !is_stored(outcome) {
            continue;
        }
        let pair = (facts.stored.get(id), replayed.get(id));
        let is_equal = matches!(pair, (Some(stored), Some(again)) if again.event.is_resend_of(&stored.event)
            && again.recording() == stored.recording());
        if !is_equal {
            let says = format!("{id}: {pair:?}");
            ledger.breaks("the log gives every stored event again", says, [id.to_string()]);
        }
    }
    if let Some(id) = replayed.keys().find(|id| !facts.stored.contains_key(*id)) {
        ledger.breaks("the log gives nothing that is not stored", id.to_string(), [id.to_string()]);
    }
}

fn dead_letters_had_their_chance(facts: &Facts, world: &World, ledger: &mut Ledger) {
    for letter in &facts.dead {
        let id = letter.parked.parcel.id;
        let (attempts, most) = (letter.parked.attempts, world.plan.parking.max_attempts);
        let event = ledger.parcels.get(&id).and_then(|parked| parked.event.clone());
        let is_poison = event
            .as_ref()
            .is_some_and(|one| world.poison.iter().any(|poison| one.event.id().as_str() == poison));
        let is_right = match letter.cause {
            DeathCause::Undecodable => event.is_none(),
            DeathCause::AttemptsSpent => {
                event.is_some() && attempts == most && (is_poison || !world.plan.is_redriven_by_hand)
            }
        };
        if event.is_some_and(|one| facts.stored.contains_key(one.event.id())) {
            world.meet("a dead letter is of a stored event");
        }
        if !is_right {
            let name = ledger.parcels.get(&id).map(|parked| parked.name.clone()).unwrap_or_default();
            let says = format!("{name} is dead after {attempts} attempts: {:?}", letter.cause);
            ledger.breaks("a dead letter had its chance", says, [name]);
        }
    }
}

fn nobody_waits_for_an_answer(ledger: &mut Ledger) {
    let waiting = ledger.requests.iter().filter(|(_, request)| request.is_waited_for());
    let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
    for number in waiting {
        let says = format!("r{number} was never answered");
        ledger.breaks("an answer comes in time", says, [format!("r{number} ")]);
    }
}
