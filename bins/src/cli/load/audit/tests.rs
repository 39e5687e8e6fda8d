//! An honest platform breaks no law; one that is dishonest in one way breaks the law against it.

use std::collections::{BTreeMap, BTreeSet};

use super::links::{Branch, Direction, Interaction};
use super::*;

const ANN: &str = "Ann";
const BOB: &str = "Bob";
const MALLORY: &str = "Mallory";

fn id(number: u64) -> String {
    event::id("r1", number)
}

fn transaction(number: u64, sender: &str, receiver: &str) -> LoadEvent {
    LoadEvent {
        id: id(number),
        sender: Some(sender.to_owned()),
        receiver: Some(receiver.to_owned()),
        amount: 100,
        currency: "EUR".into(),
        occurred_at: format!("2026-01-05T08:00:{number:02}Z"),
        ..LoadEvent::default()
    }
}

fn withdrawal(number: u64, client: &str) -> LoadEvent {
    LoadEvent {
        client: Some(client.to_owned()),
        branch: Some("Brno".to_owned()),
        operation: Some("withdraw".into()),
        ..LoadEvent { sender: None, receiver: None, ..transaction(number, "", "") }
    }
}

/// What the pages of one client show.
#[derive(Debug, Clone, Default)]
struct Pages {
    transactions: Vec<LoadEvent>,
    operations: Vec<LoadEvent>,
    interactions: Vec<Interaction>,
    branches: Vec<Branch>,
}

/// A ledger, and all that a platform shows.
#[derive(Debug, Clone)]
struct World {
    platforms: u8,
    entries: Vec<Entry>,
    parked: Vec<LoadEvent>,
    dead: Vec<LoadEvent>,
    pages: BTreeMap<String, Pages>,
    by_id: BTreeMap<String, LoadEvent>,
    log: Option<Vec<(LoadEvent, Outcome)>>,
}

impl World {
    fn new(platforms: u8) -> Self {
        let (pages, by_id) = (BTreeMap::new(), BTreeMap::new());
        Self { platforms, entries: Vec::new(), parked: Vec::new(), dead: Vec::new(), pages, by_id, log: None }
    }

    fn send(&mut self, event: &LoadEvent, answer: Option<Answer>) {
        let listed = event.receiver.as_deref().or(event.client.as_deref()) == Some(MALLORY);
        let (id, sent) = (event.id.clone(), Some(Box::new(event.clone())));
        self.entries.push(Entry::Send { id: id.clone(), attempt: 1, to: 0, event: sent, listed });
        if let Some(answer) = answer {
            self.answer(&id, answer);
        }
    }

    fn answer(&mut self, id: &str, answer: Answer) {
        self.entries.push(Entry::Answer { id: id.to_owned(), attempt: 1, answer, ms: 1.0, reason: None });
    }

    /// Stores an event and its links.
    fn store(&mut self, event: &LoadEvent) {
        self.by_id.insert(event.id.clone(), event.clone());
        self.append(event);
        self.link(event);
    }

    fn append(&mut self, event: &LoadEvent) {
        for party in event.parties() {
            let pages = self.pages.entry(party.to_owned()).or_default();
            let kind = if event.is_transaction() { &mut pages.transactions } else { &mut pages.operations };
            kind.push(event.clone());
        }
    }

    fn link(&mut self, event: &LoadEvent) {
        let last_at = event.occurred_at.clone();
        if let (Some(sender), Some(receiver)) = (&event.sender, &event.receiver) {
            self.interact(sender, receiver, Direction::Sent, &last_at);
            self.interact(receiver, sender, Direction::Received, &last_at);
        } else if let (Some(client), Some(branch)) = (&event.client, &event.branch) {
            let pages = self.pages.entry(client.clone()).or_default();
            pages.branches.retain(|shown| shown.branch != *branch);
            pages.branches.push(Branch { branch: branch.clone(), last_at });
        }
    }

    fn interact(&mut self, client: &str, other: &str, direction: Direction, last_at: &str) {
        let pages = self.pages.entry(client.to_owned()).or_default();
        let known = pages.interactions.iter_mut().find(|shown| shown.client == other);
        let last_at = last_at.to_owned();
        match known {
            Some(shown) if shown.direction != direction => {
                (shown.direction, shown.last_at) = (Direction::Both, last_at);
            }
            Some(shown) => shown.last_at = last_at,
            None => pages.interactions.push(Interaction { client: other.to_owned(), direction, last_at }),
        }
    }

    fn log(&mut self, event: &LoadEvent, outcome: Outcome) {
        self.log.get_or_insert_default().push((event.clone(), outcome));
    }

    fn pages(&mut self, client: &str) -> &mut Pages {
        self.pages.get_mut(client).unwrap()
    }

    /// Takes an event out of the store, as if it had never been there.
    fn lose(&mut self, lost: &str) {
        self.by_id.remove(lost);
        for pages in self.pages.values_mut() {
            pages.transactions.retain(|event| event.id != lost);
            pages.operations.retain(|event| event.id != lost);
        }
    }

    fn audit(&self) -> Report {
        let mut audit = Audit::new("r1", self.platforms);
        for (line, entry) in (2..).zip(&self.entries) {
            audit.entry(line, entry).unwrap();
        }
        self.parked.iter().for_each(|event| audit.put_off(PutOff::Parked, event));
        self.dead.iter().for_each(|event| audit.put_off(PutOff::Dead, event));
        for name in audit.names() {
            let pages = self.pages.get(&name).cloned().unwrap_or_default();
            let mut client = audit.client(&name);
            pages.transactions.iter().for_each(|event| client.transaction(event));
            pages.operations.iter().for_each(|event| client.operation(event));
            pages.interactions.iter().for_each(|shown| client.interaction(shown));
            pages.branches.iter().for_each(|shown| client.branch(shown));
            client.finish();
        }
        for id in audit.to_look_up(1_000).collect::<Vec<_>>() {
            audit.looked_up(&id, self.by_id.get(&id));
        }
        if let Some(log) = &self.log {
            audit.expect_log();
            log.iter().for_each(|(event, outcome)| audit.logged(event, *outcome));
        }
        audit.finish()
    }

    /// Returns the only law that is broken, with the places.
    fn broken(&self) -> (Law, Vec<String>) {
        let report = self.audit();
        let mut broken = Law::ALL.into_iter().filter(|law| !report.violations.of(*law).is_empty());
        let law = broken.next().unwrap_or_else(|| panic!("no law is broken:\n{report}"));
        assert_eq!(broken.next(), None, "one law is broken, not more:\n{report}");
        (law, report.violations.of(law).to_vec())
    }
}

/// A run in which everything that may happen does, and a platform that did nothing wrong.
fn honest() -> World {
    let mut world = World::new(1);
    let stored = [
        (transaction(0, ANN, BOB), Some(Answer::Stored)),
        (transaction(1, BOB, ANN), Some(Answer::Duplicate)),
        (withdrawal(2, ANN), Some(Answer::Stored)),
        // Parked, and stored since.
        (transaction(3, ANN, BOB), Some(Answer::Parked)),
        // Stored although nobody said so.
        (transaction(4, BOB, ANN), Some(Answer::Unanswered)),
        (withdrawal(5, BOB), None),
    ];
    for (event, answer) in &stored {
        world.send(event, *answer);
        world.store(event);
        world.log(event, Outcome::Stored);
    }
    let fraudulent = transaction(6, ANN, MALLORY);
    world.send(&fraudulent, Some(Answer::Fraudulent));
    world.log(&fraudulent, Outcome::Fraudulent);
    // Parked, and found fraudulent since.
    let found_out = withdrawal(7, MALLORY);
    world.send(&found_out, Some(Answer::Parked));
    world.log(&found_out, Outcome::Fraudulent);
    for (number, answer) in [(8, Answer::Parked), (9, Answer::Parked)] {
        world.send(&transaction(number, ANN, BOB), Some(answer));
    }
    world.parked.push(transaction(8, ANN, BOB));
    world.dead.push(transaction(9, ANN, BOB));
    world.send(&transaction(10, BOB, ANN), Some(Answer::Unavailable));
    world.send(&transaction(11, BOB, ANN), None);
    world.send(&transaction(12, BOB, ANN), Some(Answer::NotSent));
    world
}

#[test]
fn an_honest_platform_breaks_no_law_with_or_without_a_log() {
    for with_log in [true, false] {
        let mut world = honest();
        world.log = world.log.filter(|_| with_log);
        let report = world.audit();
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn a_store_that_loses_one_event_is_found_out_by_its_id() {
    for number in [0, 1, 2] {
        for with_log in [true, false] {
            let mut world = honest();
            world.lose(&id(number));
            world.log = world.log.filter(|_| with_log);
            let report = world.audit();
            let found = report.violations.of(Law::Lost);
            assert!(
                found.first().is_some_and(|place| place.starts_with(&format!("{} ", id(number)))),
                "{report}"
            );
            assert!(report.to_string().contains(&id(number)));
        }
    }
}

#[test]
fn a_parked_event_that_is_nowhere_is_lost() {
    let mut world = honest();
    world.parked.clear();
    assert_eq!(world.broken(), (Law::LostParked, vec![format!("{} was parked, and is nowhere", id(8))]));
    let mut world = honest();
    world.dead.clear();
    assert_eq!(world.broken().0, Law::LostParked);
    // What became of a fraudulent one is told by the log alone.
    let mut world = honest();
    world.log.as_mut().unwrap().retain(|record| record.0.id != id(7));
    assert_eq!(world.broken().0, Law::LostParked);
}

#[test]
fn an_event_with_another_content_is_altered_wherever_it_is() {
    let altered = |event: &mut LoadEvent| event.amount += 1;
    let mut in_the_store = honest();
    altered(&mut in_the_store.pages(BOB).transactions[0]);
    let mut by_id = honest();
    altered(by_id.by_id.get_mut(&id(0)).unwrap());
    let mut parked = honest();
    altered(&mut parked.parked[0]);
    let mut dead = honest();
    altered(&mut dead.dead[0]);
    let mut logged = honest();
    altered(&mut logged.log.as_mut().unwrap()[0].0);
    for world in [in_the_store, by_id, parked, dead, logged] {
        assert_eq!(world.broken().0, Law::Altered);
    }
}

#[test]
fn nothing_fraudulent_may_be_stored_whatever_was_answered() {
    let mut answered = honest();
    answered.store(&transaction(6, ANN, MALLORY));
    assert_eq!(answered.broken().0, Law::Fraudulent);
    let mut unscreened = honest();
    unscreened.send(&withdrawal(20, MALLORY), Some(Answer::Stored));
    unscreened.store(&withdrawal(20, MALLORY));
    unscreened.log(&withdrawal(20, MALLORY), Outcome::Stored);
    assert_eq!(unscreened.broken().0, Law::Fraudulent);
}

#[test]
fn a_fraudulent_event_leaves_no_link() {
    let mut world = honest();
    world.link(&transaction(6, ANN, MALLORY));
    let (law, places) = world.broken();
    assert_eq!((law, places.len()), (Law::Unfounded, 2), "for both of its clients: {places:?}");
    assert!(places.iter().all(|place| !place.contains(ANN) && !place.contains(MALLORY)), "{places:?}");
    let mut world = honest();
    world.link(&withdrawal(7, MALLORY));
    assert_eq!(world.broken().0, Law::Unfounded);
}

#[test]
fn events_and_links_of_others_with_listed_names_are_none_of_the_run() {
    let mut world = honest();
    let foreign = LoadEvent { id: "other".to_owned(), ..transaction(0, "Carl", MALLORY) };
    world.store(&foreign);
    let report = world.audit();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn what_was_never_sent_may_be_nowhere() {
    for number in [12, 13, 4_000] {
        let event = transaction(number, ANN, BOB);
        let mut stored = honest();
        stored.append(&event);
        let mut parked = honest();
        parked.parked.push(event.clone());
        let mut dead = honest();
        dead.dead.push(event.clone());
        let mut logged = honest();
        logged.log(&event, Outcome::Stored);
        for world in [stored, parked, dead, logged] {
            assert_eq!(world.broken().0, Law::Unsent, "number {number}");
        }
    }
    let mut world = honest();
    world.append(&LoadEvent { id: "other".to_owned(), ..transaction(0, ANN, BOB) });
    assert_eq!(world.broken().0, Law::Unsent, "the clients are the run's own");
}

#[test]
fn an_event_that_is_stored_twice_is_doubled_for_each_client_that_has_it_twice() {
    let mut world = honest();
    world.append(&transaction(0, ANN, BOB));
    assert_eq!((world.broken().0, world.broken().1.len()), (Law::Doubled, 2));
    let mut unacknowledged = honest();
    unacknowledged.append(&withdrawal(5, BOB));
    assert_eq!(unacknowledged.broken().0, Law::Doubled, "nothing was promised, but not more than once");
    let mut answered = honest();
    answered.answer(&id(0), Answer::Stored);
    assert_eq!(answered.broken().0, Law::Doubled);
}

#[test]
fn an_event_that_one_way_of_looking_does_not_show_is_hidden() {
    let mut for_one_party = honest();
    for_one_party.pages(BOB).transactions.retain(|event| event.id != id(0));
    assert_eq!(for_one_party.broken().0, Law::Hidden);
    let mut by_id = honest();
    by_id.by_id.remove(&id(0));
    assert_eq!(by_id.broken(), (Law::Hidden, vec![format!("{} is not found by its id", id(0))]));
    let mut for_all = honest();
    for_all.pages(ANN).operations.clear();
    for_all.pages(ANN).branches.clear();
    assert_eq!(for_all.broken().0, Law::Hidden, "its id finds it, so it is not lost");
}

#[test]
fn a_settled_event_has_its_links_up_to_date() {
    let mut missing = honest();
    missing.pages(ANN).branches.clear();
    assert_eq!(missing.broken(), (Law::Unlinked, vec![format!("{}: a link of it is missing", id(2))]));
    let mut one_way = honest();
    let shown = &mut one_way.pages(ANN).interactions[0];
    (shown.direction, shown.last_at) = (Direction::Sent, "2026-01-05T08:00:03Z".to_owned());
    assert_eq!(one_way.broken().0, Law::Unlinked);
    let mut behind = honest();
    behind.pages(BOB).interactions[0].last_at = "2026-01-05T08:00:02.999999Z".to_owned();
    let place = format!("{}: a link of it is 1 µs behind", id(3));
    assert_eq!(behind.broken(), (Law::Unlinked, vec![place]), "it was parked, and is stored");
}

#[test]
fn an_event_of_which_nothing_was_promised_may_lack_its_links() {
    let mut world = honest();
    world.pages(BOB).branches.clear();
    for client in [ANN, BOB] {
        world.pages(client).interactions[0].last_at = "2026-01-05T08:00:03Z".to_owned();
    }
    let report = world.audit();
    assert!(report.is_clean(), "{report}");
    // The unknown outcome of a write that was parked: stored, and still to be linked.
    world.append(&transaction(8, ANN, BOB));
    world.by_id.insert(id(8), transaction(8, ANN, BOB));
    let report = world.audit();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_link_that_is_later_than_every_event_is_unfounded() {
    let mut world = honest();
    world.pages(ANN).branches[0].last_at = "2026-01-05T08:00:02.000001Z".to_owned();
    assert_eq!(world.broken().0, Law::Unfounded);
    let mut others = honest();
    others.pages(ANN).operations.push(withdrawal(5, BOB));
    assert_eq!(others.broken().0, Law::Unfounded, "an event of another client");
}

#[test]
fn an_id_with_one_content_is_never_in_conflict() {
    let mut answered = honest();
    answered.send(&transaction(20, ANN, BOB), Some(Answer::Conflict));
    assert_eq!(answered.broken().0, Law::Contradicted);
    let mut logged = honest();
    logged.log(&transaction(3, ANN, BOB), Outcome::Conflict);
    assert_eq!(logged.broken().0, Law::Contradicted);
}

#[test]
fn every_finished_event_is_logged_as_what_it_was() {
    for number in [0, 1, 2, 3, 6] {
        let mut world = honest();
        world.log.as_mut().unwrap().retain(|record| record.0.id != id(number));
        assert_eq!(world.broken().0, Law::Unlogged, "number {number}");
    }
    let mut empty = honest();
    empty.log = Some(Vec::new());
    assert!(!empty.audit().violations.of(Law::Unlogged).is_empty(), "an empty log holds nothing");
    let mut as_fraudulent = honest();
    as_fraudulent.log.as_mut().unwrap()[0].1 = Outcome::Fraudulent;
    assert_eq!(as_fraudulent.broken().0, Law::Mislogged);
    let mut as_stored = honest();
    as_stored.log.as_mut().unwrap().iter_mut().for_each(|record| record.1 = Outcome::Stored);
    let report = as_stored.audit();
    assert!(!report.violations.of(Law::Mislogged).is_empty() && !report.violations.of(Law::Lost).is_empty());
}

#[test]
fn the_log_is_in_the_order_in_which_a_client_had_its_answers() {
    // Twice is no disorder, as long as the first time is in its place.
    let mut again = honest();
    again.log(&transaction(0, ANN, BOB), Outcome::Duplicate);
    assert!(again.audit().is_clean());
    let mut swapped = honest();
    swapped.log.as_mut().unwrap().swap(0, 2);
    let place = format!("{} is behind {}, which was sent after its acknowledgement", id(0), id(2));
    assert_eq!(swapped.broken(), (Law::Disordered, vec![place]));
}

#[test]
fn only_events_of_one_client_that_did_not_overlap_have_an_order() {
    let mut of_two_clients = honest();
    of_two_clients.log.as_mut().unwrap().swap(0, 1);
    assert!(of_two_clients.audit().is_clean(), "whose events are Ann's and Bob's");
    let mut at_once = World::new(1);
    for number in [0, 1] {
        at_once.send(&transaction(number, ANN, BOB), None);
    }
    for number in [1, 0] {
        at_once.answer(&id(number), Answer::Stored);
        at_once.store(&transaction(number, ANN, BOB));
        at_once.log(&transaction(number, ANN, BOB), Outcome::Stored);
    }
    for pages in at_once.pages.values_mut() {
        pages.interactions[0].last_at = "2026-01-05T08:00:01Z".to_owned();
    }
    assert!(at_once.audit().is_clean(), "both were under way");
    // A parked event is finished later, behind those that were sent after it.
    let mut parked = honest();
    let records = parked.log.as_mut().unwrap();
    let redriven = records.remove(3);
    records.push(redriven);
    assert!(parked.audit().is_clean());
}

/// Two events of a client's, one after the other, and a log in which they are the other way round.
fn swapped(platforms: u8, answers: [Answer; 2], to: [u8; 2], again: bool) -> World {
    let mut world = World::new(platforms);
    for (number, (answer, to)) in (0..).zip(answers.into_iter().zip(to)) {
        let event = transaction(number, ANN, BOB);
        world.send(&event, (!again).then_some(answer));
        if again {
            world.entries.push(Entry::Send { id: id(number), attempt: 2, to, event: None, listed: false });
            world.answer(&id(number), answer);
        } else if let Some(Entry::Send { to: sent_to, .. }) = world.entries.iter_mut().rev().nth(1) {
            *sent_to = to;
        }
        world.store(&event);
        world.log(&event, Outcome::Stored);
    }
    world.log.as_mut().unwrap().reverse();
    world
}

#[test]
fn parked_events_have_an_order_among_themselves_when_one_dispatcher_redrives_them() {
    use Answer::{Parked, Stored};
    assert_eq!(swapped(1, [Parked, Parked], [0, 0], false).broken().0, Law::Disordered);
    assert!(swapped(2, [Parked, Parked], [0, 0], false).audit().is_clean(), "two have two ways to the log");
    assert!(swapped(1, [Parked, Stored], [0, 0], false).audit().is_clean(), "it was overtaken");
    assert_eq!(swapped(1, [Stored, Parked], [0, 0], false).broken().0, Law::Disordered);
    assert!(swapped(1, [Parked, Parked], [0, 0], true).audit().is_clean(), "finished at first, perhaps");
}

#[test]
fn between_dispatchers_only_what_one_of_them_finished_has_an_order() {
    use Answer::Stored;
    assert_eq!(swapped(2, [Stored, Stored], [1, 1], false).broken().0, Law::Disordered);
    assert!(
        swapped(2, [Stored, Stored], [0, 1], false).audit().is_clean(),
        "each has its own way to the log"
    );
    assert!(
        swapped(2, [Stored, Stored], [1, 1], true).audit().is_clean(),
        "another may have logged it first"
    );
    assert_eq!(swapped(1, [Stored, Stored], [0, 0], true).broken().0, Law::Disordered);
}

#[test]
fn a_report_shows_where_the_events_are_and_what_is_broken() {
    let expected =
        "  answered              events      stored      parked        dead      logged     nowhere
  nothing                    2           1           0           0           1           1
  stored                     2           2           0           0           2           0
  duplicate                  1           1           0           0           1           0
  parked                     4           1           1           1           2           0
  fraudulent                 1           0           0           0           1           0
  unavailable                1           0           0           0           0           1
  unanswered                 1           1           0           0           1           0
  not sent                   1           0           0           0           0           1

every law holds
";
    assert_eq!(honest().audit().to_string(), expected);
    let mut world = honest();
    for number in 20..33 {
        world.send(&withdrawal(number, ANN), Some(Answer::Conflict));
    }
    world.log = None;
    let text = world.audit().to_string();
    let broken = "BROKEN (13): no id is in conflict, as each has one content\n  load-r1-20 is in conflict\n";
    assert!(
        text.contains(broken) && text.ends_with("load-r1-29 is in conflict\n  ... and 3 more\n"),
        "{text}"
    );
    assert!(
        text.contains("  stored                     2           2           0           0           -"),
        "{text}"
    );
}

#[test]
fn a_ledger_of_another_run_is_refused() {
    let mut audit = Audit::new("r2", 1);
    let mut world = World::new(1);
    world.send(&transaction(0, ANN, BOB), Some(Answer::Stored));
    for entry in &world.entries {
        assert_eq!(audit.entry(7, entry), Err(ForeignEntry { line: 7 }));
    }
}

#[test]
fn every_event_that_no_page_shows_is_asked_for_and_some_others() {
    let mut audit = Audit::new("r1", 1);
    let mut world = World::new(1);
    for number in 0..100 {
        world.send(&withdrawal(number, ANN), Some(Answer::Stored));
    }
    for (line, entry) in (2..).zip(&world.entries) {
        audit.entry(line, entry).unwrap();
    }
    let mut client = audit.client(ANN);
    (0..90).for_each(|number| client.operation(&withdrawal(number, ANN)));
    client.finish();
    let asked: BTreeSet<String> = audit.to_look_up(10).collect();
    assert!((90..100).all(|number| asked.contains(&id(number))));
    assert!((18..=22).contains(&asked.len()), "{asked:?}");
}
