//! Law 5: what is in the long-term log.

use std::collections::{BTreeMap, BTreeSet};

use mini_platform_core::domain::{ClientId, Edge, Event, EventId};

use crate::simulation::facts::{Facts, answers, is_stored, says_the_same};
use crate::simulation::history::Step;
use crate::simulation::ledger::{Answer, Ledger};

pub(super) fn check(facts: &Facts, ledger: &mut Ledger) {
    finished_is_logged(facts, ledger);
    finished_is_not_forgotten(facts, ledger);
    records_are_true(facts, ledger);
    records_are_in_order(facts, ledger);
    replay_gives_what_is_stored(facts, ledger);
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

/// Also when whoever asked does not wait any more: what a worker finished is logged, unless its dispatcher crashed, or it
/// is a parcel, or at least it was tried to make it one.
fn finished_is_not_forgotten(facts: &Facts, ledger: &mut Ledger) {
    const LAW: &str = "what is finished is logged, whoever waits";
    let logged: BTreeSet<&EventId> = facts.records.iter().map(|record| record.event.id()).collect();
    let parcels = ledger.parcels.values().filter_map(|parked| parked.event.as_ref());
    let to_be_parked = ledger.to_be_parked.iter().map(|(_, id)| id);
    let parked: BTreeSet<&EventId> = parcels.map(|parked| parked.event.id()).chain(to_be_parked).collect();
    let finished = ledger.finished.iter().filter(|(life, _)| !life.is_crashed()).map(|(_, id)| id);
    let mut forgotten: Vec<(u64, EventId)> = finished
        .filter(|id| !logged.contains(id) && !parked.contains(id))
        .map(|id| (0, id.clone()))
        .collect();
    for (number, request) in ledger.requests.iter().filter(|(_, request)| request.was_worked_on_for_nobody())
    {
        let key = |id: &EventId| ((*number).into(), id.clone());
        let is_known = |id: &EventId| {
            facts.records_of((*number).into(), id).next().is_some() || ledger.to_be_parked.contains(&key(id))
        };
        let unknown = request.events.iter().map(Event::id).filter(|id| !is_known(id));
        forgotten.extend(unknown.map(|id| (*number, id.clone())));
    }
    for (number, id) in forgotten {
        let says = format!("{id} of r{number} was worked on, and is neither logged nor parked");
        ledger.breaks(LAW, says, [id.to_string(), format!("r{number}")]);
    }
}

/// A record of an event that is stored holds it under the times of the store.
fn records_are_true(facts: &Facts, ledger: &mut Ledger) {
    for record in &facts.records {
        let id = record.event.id();
        let is_true = match facts.stored(id) {
            _ if !is_stored(record.outcome) => record.recorded_at.is_none(),
            None => false,
            Some(stored) => {
                record.recorded_at == Some(stored.recorded_at)
                    && record.event.occurred_at().timestamp() == stored.event.occurred_at().timestamp()
                    && says_the_same(&record.event, &stored.event)
            }
        };
        if !is_true {
            let says = format!("the log says of {id}: {record:?}");
            ledger.breaks("a record says what is stored", says, [id.to_string()]);
        }
    }
}

/// A request that was finished at once.
struct Finished {
    request: u64,
    received: Step,
    answered: Step,
    /// The place of its first record in the log.
    place: usize,
}

fn records_are_in_order(facts: &Facts, ledger: &mut Ledger) {
    let mut finished: BTreeMap<(usize, ClientId), Vec<Finished>> = BTreeMap::new();
    for (number, request) in &ledger.requests {
        let (Some((answered, answers)), received) = (&request.answered, request.received) else { continue };
        for (event, answer) in request.events.iter().zip(answers) {
            let first = facts.records_of((*number).into(), event.id()).next();
            if let (Answer::Finished(_), Some((place, _))) = (answer, first) {
                let lane = finished.entry((request.dispatcher, event.client().clone())).or_default();
                lane.push(Finished { request: *number, received, answered: *answered, place });
            }
        }
    }
    for ((dispatcher, _), lane) in &finished {
        for first in lane {
            let is_overtaken =
                |second: &&Finished| first.answered < second.received && first.place > second.place;
            if let Some(second) = lane.iter().find(is_overtaken) {
                let names = [format!("r{}", first.request), format!("r{}", second.request)];
                let says = format!(
                    "d{dispatcher} answered {} before {} came, and logged it behind",
                    names[0], names[1]
                );
                ledger.breaks("records of a client are in order", says, names);
            }
        }
    }
}

fn replay_gives_what_is_stored(facts: &Facts, ledger: &mut Ledger) {
    const LAW: &str = "the log gives what is known to be stored";
    let sayings = facts.sayings(ledger);
    let known: BTreeSet<&EventId> =
        sayings.iter().filter(|one| is_stored(one.outcome)).map(|one| one.event.id()).collect();
    for id in &known {
        let pair = (facts.stored(id), facts.replayed.stored.get(id));
        let is_equal = matches!(pair, (Some(stored), Some(again)) if says_the_same(&again.event, &stored.event)
            && again.recording() == stored.recording()
            && Edge::implied_by(&again.event, again.recording().occurred_at).all(|edge| facts.replayed.is_linked(&edge)));
        if !is_equal {
            ledger.breaks(LAW, format!("{id}: {pair:?}"), [id.to_string()]);
        }
    }
    if let Some(id) = facts.replayed.stored.keys().find(|id| !known.contains(id)) {
        ledger.breaks(LAW, format!("{id} was replayed, and nobody says that it is stored"), [id.to_string()]);
    }
    if facts.again.stored > 0 || facts.again.conflict > 0 {
        ledger.breaks("replaying again changes nothing", format!("{:?}", facts.again), []);
    }
}
