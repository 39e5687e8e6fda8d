//! Laws 2 to 4: what is stored, and what is linked.

use std::collections::BTreeSet;

use mini_platform_core::domain::{Edge, EventId, EventScreening, Outcome};

use crate::simulation::facts::{Facts, Saying, is_stored, says_the_same};
use crate::simulation::ledger::{Ledger, subject};
use crate::simulation::world::World;

pub(super) fn check(facts: &Facts, world: &World, ledger: &mut Ledger) {
    let sayings = facts.sayings(ledger);
    stored_as_it_was_sent(facts, ledger);
    new_once(&sayings, ledger);
    conflicts_are_conflicts(facts, &sayings, ledger);
    verdicts_are_of_their_list(facts, &sayings, world, ledger);
    links_are_what_events_imply(facts, &sayings, world, ledger);
}

fn stored_as_it_was_sent(facts: &Facts, ledger: &mut Ledger) {
    let mut seen = BTreeSet::new();
    for (client, stored) in &facts.kept.listed {
        let id = stored.event.id();
        let sent = ledger.requests.values().flat_map(|request| &request.events);
        let parked = ledger.parcels.values().filter_map(|parked| parked.event.as_ref()).map(|one| &one.event);
        let is_sent = sent.chain(parked).any(|event| *event == stored.event);
        let is_first = ledger.stored.get(id) == Some(stored);
        let is_once = seen.insert((client.clone(), id.clone()));
        if !(is_sent && is_first && is_once) {
            let says = format!("{id}: sent so {is_sent}, as stored first {is_first}, once {is_once}");
            ledger.breaks("an event is stored once, as it was sent", says, [id.to_string()]);
        }
    }
}

fn new_once(sayings: &[Saying], ledger: &mut Ledger) {
    let new = sayings.iter().filter(|saying| saying.outcome == Outcome::Stored);
    let new: BTreeSet<(&EventId, u128)> = new.map(|saying| (saying.event.id(), saying.request)).collect();
    let mut ids = BTreeSet::new();
    for (id, request) in new {
        if !ids.insert(id) {
            let says = format!("{id} is new in r{request}, and in another request as well");
            ledger.breaks("an event is stored once, as it was sent", says, [id.to_string()]);
        }
    }
}

fn conflicts_are_conflicts(facts: &Facts, sayings: &[Saying], ledger: &mut Ledger) {
    for Saying { request, event, .. } in sayings.iter().filter(|one| one.outcome == Outcome::Conflict) {
        let id = event.id();
        if facts.stored(id).is_none_or(|stored| says_the_same(event, &stored.event)) {
            let says = format!("{id} of r{request} is no conflict with what is stored");
            ledger.breaks("a conflict is with what is stored", says, [id.to_string()]);
        }
    }
}

fn verdicts_are_of_their_list(facts: &Facts, sayings: &[Saying], world: &World, ledger: &mut Ledger) {
    for Saying { request, event, outcome, screening } in sayings {
        let is_as_stored = facts.stored(event.id()).is_some_and(|one| says_the_same(event, &one.event));
        if *outcome == Outcome::Fraudulent && is_as_stored {
            world.meet("a stored event was called fraudulent as well");
        }
        let is_listed = |list: &BTreeSet<String>| subject(event).map(|name| list.contains(name.as_str()));
        let is_true = match (screening, ledger.lists.get(screening.version()).map(is_listed)) {
            (EventScreening::None { .. }, Some(None)) => true,
            (EventScreening::Clear { .. }, Some(Some(is_listed))) => !is_listed,
            (EventScreening::Hit { entry, .. }, Some(Some(is_listed))) => {
                is_listed && subject(event).is_some_and(|name| entry.as_str() == name.as_str())
            }
            _ => false,
        };
        if !is_true || screening.is_hit() != (*outcome == Outcome::Fraudulent) {
            let says = format!("{} of r{request} is {}: {screening:?}", event.id(), outcome.as_str());
            ledger.breaks("a verdict is that of its list", says, [event.id().to_string()]);
        }
    }
}

fn links_are_what_events_imply(facts: &Facts, sayings: &[Saying], world: &World, ledger: &mut Ledger) {
    let known: BTreeSet<&EventId> =
        sayings.iter().filter(|one| is_stored(one.outcome)).map(|one| one.event.id()).collect();
    let mut implied = Vec::new();
    for (id, stored) in &facts.kept.stored {
        for edge in Edge::implied_by(&stored.event, stored.event.occurred_at().timestamp()) {
            let is_linked = facts.kept.is_linked(&edge);
            if !is_linked && known.contains(id) {
                let says = format!("{id} is stored, and {edge:?} is not linked");
                ledger.breaks("what is stored is linked", says, [id.to_string()]);
            } else if !is_linked {
                world.meet("a stored event without a link is nobody's");
            }
            implied.push(super::super::facts::link_of(&edge));
        }
    }
    for (name, link) in &facts.kept.links {
        if !implied.contains(link) {
            let says = format!("no event implies the link {name} at {}", link.1);
            ledger.breaks("what is linked is stored", says, []);
        }
    }
}
