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
//!    Replaying the log into empty stores gives every event that is known to be stored, and its links; replaying it
//!    again changes nothing.
//! 6. Dead letters are garbage, or were tried as often as they may. A dead letter may be of an event that is stored:
//!    by another request, or in a try whose answer was lost.
//! 7. No request stays without an answer while its dispatcher lives. (That answers come in time, and that there is room
//!    for what is under way, is checked as it happens.)

mod log;
mod store;

use std::collections::BTreeSet;

use mini_platform_core::domain::DeathCause;

use super::facts::{Facts, answers, is_stored, says_the_same};
use super::ledger::{Answer, Ledger, ParcelState, trace_number};
use super::world::World;

pub(crate) async fn check(world: &World) {
    let facts = Facts::gather(world).await;
    let mut ledger = world.ledger();
    acknowledged_is_not_lost(&facts, &mut ledger);
    nothing_waits(&facts, &mut ledger);
    parcels_end(&facts, &mut ledger);
    dead_letters_had_their_chance(&facts, world, &mut ledger);
    nobody_waits_for_an_answer(&mut ledger);
    store::check(&facts, world, &mut ledger);
    log::check(&facts, &mut ledger);
}

fn acknowledged_is_not_lost(facts: &Facts, ledger: &mut Ledger) {
    const LAW: &str = "what is acknowledged is not lost";
    for (request, event, answer) in answers(ledger) {
        let id = event.id();
        match answer {
            Answer::Finished(finished) if is_stored(finished.outcome) => {
                let is_there = facts.stored(id).is_some_and(|one| {
                    says_the_same(&event, &one.event) && Some(one.recording()) == finished.recording
                });
                if !is_there {
                    let outcome = finished.outcome.as_str();
                    let says = format!("{id} of r{request} was answered as {outcome}, and is not");
                    ledger.breaks(LAW, says, [id.to_string()]);
                }
            }
            Answer::Parked => {
                let mut parked = ledger.parcels.values().filter_map(|parked| parked.event.as_ref());
                let is_kept = parked.any(|one| {
                    one.trace.is_some_and(|trace| trace_number(trace) == u128::from(request))
                        && one.event == event
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
            ParcelState::Parked => false,
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

fn dead_letters_had_their_chance(facts: &Facts, world: &World, ledger: &mut Ledger) {
    for letter in &facts.dead {
        let id = letter.parked.parcel.id;
        let (attempts, most) = (letter.parked.attempts, world.plan.parking.max_attempts);
        let event = ledger.parcels.get(&id).and_then(|parked| parked.event.clone());
        let is_poison = event.as_ref().is_some_and(|one| world.is_poison(&one.event));
        let is_right = match letter.cause {
            DeathCause::Undecodable => event.is_none(),
            DeathCause::AttemptsSpent => {
                event.is_some() && attempts == most && (is_poison || !world.plan.is_redriven_by_hand)
            }
        };
        if event.is_some_and(|one| facts.stored(one.event.id()).is_some()) {
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
        ledger.breaks("an answer comes in time", says, [format!("r{number}")]);
    }
}
