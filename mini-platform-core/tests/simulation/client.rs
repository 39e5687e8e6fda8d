//! Clients: they send events, send them again when they hear nothing, and give up at last.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::domain::{Amount, BranchId, ClientId, Event, EventId, OccurredAt, OperationType};
use mini_platform_core::error::Fault;
use mini_platform_core::testkit::at;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::chance::Chance;
use super::dispatcher::{self, Sent};
use super::ledger::Answer;
use super::life::{Host, Life};
use super::weather::Place;
use super::wire::Wire;
use super::world::World;

/// Those of whom some are on some lists.
pub(crate) const SUSPECTS: [&str; 6] = ["mallory", "Eve", "trudy", "bank 0-0", "bank 1-0", "bank 2-1"];

/// How often one event is sent, at most.
const MAX_TRIES: u64 = 4;

pub(crate) struct Client {
    world: Arc<World>,
    number: usize,
    life: Arc<Life>,
    chance: Chance,
    sent: Vec<Sent>,
    patience: Duration,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>, number: usize, chance: Chance) -> Self {
        let patience = chance.millis(300..=6_000);
        let life = Arc::new(Life::start(Host::Client(number), 1));
        Self { world: Arc::clone(world), number, life, chance, sent: Vec::new(), patience }
    }

    /// Sends what it has in mind.
    pub(crate) async fn run(mut self) {
        let beside = TaskTracker::new();
        let longest = u64::try_from(self.world.plan.pause.as_millis()).unwrap();
        for _ in 0..self.world.plan.sends {
            let sent = self.next();
            if sent.len() > 1 && self.chance.hits(0.3) {
                // One by one, without waiting, and one of them twice: what dispatchers gather into batches.
                let twice = sent[0].clone();
                for one in sent.into_iter().chain([twice]) {
                    beside.spawn(self.sending(vec![one], true).run());
                }
            } else {
                let is_single = sent.len() == 1 && self.chance.hits(0.6);
                let sending = self.sending(sent, is_single);
                if self.chance.hits(0.3) {
                    beside.spawn(sending.run());
                } else {
                    sending.run().await;
                }
            }
            sleep(self.chance.millis(0..=longest)).await;
        }
        beside.close();
        beside.wait().await;
    }

    fn sending(&self, sent: Vec<Sent>, is_single: bool) -> Sending {
        Sending {
            wire: Wire { world: Arc::clone(&self.world), life: Arc::clone(&self.life) },
            chance: self.chance.fork(),
            patience: if self.chance.hits(0.1) { self.chance.millis(1..=30) } else { self.patience },
            sent,
            is_single,
        }
    }

    /// Chooses what to send next: something new most of the time.
    fn next(&mut self) -> Vec<Sent> {
        let kind = self.chance.share();
        if kind < 0.1 && !self.sent.is_empty() {
            return vec![self.chance.pick(&self.sent)];
        }
        if kind < 0.2 && !self.sent.is_empty() {
            let earlier = self.chance.pick(&self.sent);
            return vec![self.event(earlier.event.id().as_str())];
        }
        let count = if self.chance.hits(0.5) { 1 } else { self.chance.between(2..=8) };
        (0..count).map(|_| self.new_event()).collect()
    }

    fn new_event(&mut self) -> Sent {
        let sent = self.event(&format!("c{}-{}", self.number, self.sent.len() + 1));
        self.sent.push(sent.clone());
        sent
    }

    /// Makes an event of an id with some content.
    fn event(&self, id: &str) -> Sent {
        let chance = &self.chance;
        let id = EventId::new(id).unwrap();
        let own = format!("bank {}-{}", self.number, chance.below(3));
        let amount = Amount::from_minor_units(i64::try_from(chance.between(1..=1_000)).unwrap()).unwrap();
        let (currency, is_timed) = ("EUR".parse().unwrap(), chance.hits(0.8));
        let occurred_at = OccurredAt::Given(at(i64::try_from(chance.between(1..=100_000)).unwrap()));
        let client = ClientId::new(&own).unwrap();
        let event = if chance.hits(0.5) {
            let other = match chance.hits(0.4) {
                true => chance.pick(&SUSPECTS).to_owned(),
                false => format!("bank {}-{}", chance.below(4), chance.below(3)),
            };
            let other = if other == own { "bob".to_owned() } else { other };
            let receiver = ClientId::new(other).unwrap();
            Event::transaction(id, client, receiver, amount, currency, occurred_at).unwrap()
        } else {
            let branch = BranchId::new(chance.pick(&["north", "south", "bank 0-0"])).unwrap();
            let operation = chance.pick(&[OperationType::Deposit, OperationType::Withdraw]);
            Event::operation(id, client, branch, operation, amount, currency, occurred_at)
        };
        Sent { event, is_timed }
    }
}

struct Sending {
    wire: Wire,
    chance: Chance,
    patience: Duration,
    sent: Vec<Sent>,
    is_single: bool,
}

impl Sending {
    /// Sends events until they are answered, or as often as patience allows.
    async fn run(self) {
        let world = &self.wire.world;
        let mut whom = self.chance.below(world.plan.dispatchers);
        for _ in 0..self.chance.between(1..=MAX_TRIES) {
            let answer = timeout(self.patience, send(&self.wire, whom, &self.sent, self.is_single)).await;
            match answer {
                Ok(Ok(answers)) if answers.iter().all(|one| !matches!(one, Answer::Refused(..))) => return,
                Ok(_) => {}
                Err(_) => world.meet("a client hears nothing"),
            }
            sleep(self.chance.millis(20..=1_500)).await;
            if self.chance.hits(0.5) {
                whom = self.chance.below(world.plan.dispatchers);
            }
        }
        world.meet("a client gives up");
    }
}

/// Sends events to a dispatcher once.
pub(crate) async fn send(
    wire: &Wire,
    whom: usize,
    sent: &[Sent],
    is_single: bool,
) -> Result<Vec<Answer>, Fault> {
    let ids: Vec<&str> = sent.iter().map(|sent| sent.event.id().as_str()).collect();
    let about = format!("{} to d{whom}", ids.join(" "));
    let (world, sent) = (Arc::clone(&wire.world), sent.to_vec());
    let effect = move |_| dispatcher::serve(Arc::clone(&world), whom, sent.clone(), is_single);
    wire.call(Place::Submit, about, effect).await
}
