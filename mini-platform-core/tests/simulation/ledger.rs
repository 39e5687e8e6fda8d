//! What was seen at the borders of the processes, and the laws that can be checked as it is seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mini_platform_core::codec::ParkedEvent;
use mini_platform_core::domain::{
    AppendOutcome, ClientId, DeathCause, Edge, Event, EventBatch, EventDetails, EventId, IngestOutcome,
    LeaseId, LeasedParcel, ListVersion, LogRecord, OperationType, Outcome, Parcel, ParcelContent, ParcelId,
    ParcelVerdict, ParkReason, Settled, Settlement, StoredEvent, Timestamp, TraceContext, Verdict,
};

use mini_platform_core::lanes::{Record, RecordState};

use super::history::Step;
use super::life::Life;

/// How many misses in a row a dispatcher takes for an outage.
const MISSES: u32 = 3;

/// A law that was broken.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) law: &'static str,
    pub(crate) says: String,
    /// What the lines of the history name that are about it.
    pub(crate) about: Vec<String>,
}

/// What a dispatcher answered for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Finished(IngestOutcome),
    Parked,
    /// And why, in short and in full.
    Refused(&'static str, String),
}

impl Answer {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Refused(_, why) => why,
            other => other.kind(),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Finished(finished) => finished.outcome.as_str(),
            Self::Parked => "parked",
            Self::Refused(kind, _) => kind,
        }
    }
}

/// A request that arrived at a dispatcher. One that the network doubled is two.
pub(crate) struct Request {
    pub(crate) dispatcher: usize,
    life: Arc<Life>,
    pub(crate) events: Vec<Event>,
    pub(crate) received: Step,
    is_single: bool,
    pub(crate) answered: Option<(Step, Vec<Answer>)>,
    /// Whether whoever asked was gone before the answer.
    is_abandoned: bool,
}

impl Request {
    /// Whether there should be an answer by now, and is none.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.answered.is_none() && !self.is_abandoned && !self.life.is_over()
    }

    /// Whether its dispatcher worked on it to the end, though nobody waited. Of single events it may have been too late
    /// before it began.
    pub(crate) fn was_worked_on_for_nobody(&self) -> bool {
        self.answered.is_none() && self.is_abandoned && !self.is_single && !self.life.is_crashed()
    }
}

/// One call of a worker.
#[derive(Default)]
pub(crate) struct Call {
    /// Who was found clear, once somebody was screened.
    clear: Option<BTreeSet<ClientId>>,
    appended: BTreeMap<EventId, Timestamp>,
    is_linked: bool,
}

/// Where a parcel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParcelState {
    Parked,
    Done,
    Dead(DeathCause),
}

/// A parcel that the lot took in.
pub(crate) struct Parked {
    pub(crate) name: String,
    pub(crate) client: ClientId,
    /// None: it cannot be read.
    pub(crate) event: Option<ParkedEvent>,
    pub(crate) state: ParcelState,
    lease: Option<(LeaseId, Timestamp)>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) violations: Vec<Violation>,
    pub(crate) requests: BTreeMap<u64, Request>,
    /// The names on every list that ever was in force.
    pub(crate) lists: BTreeMap<ListVersion, BTreeSet<String>>,
    /// Every event as it was stored first.
    pub(crate) stored: BTreeMap<EventId, StoredEvent>,
    pub(crate) parcels: BTreeMap<ParcelId, Parked>,
    calls: BTreeMap<u64, Call>,
    lanes: BTreeMap<ClientId, VecDeque<ParcelId>>,
    /// The outcomes of the traces and events whose records are durable in an outbox, the last of each.
    journalled: BTreeMap<(u128, EventId), Outcome>,
    /// What workers finished, and for which dispatcher.
    pub(crate) finished: Vec<(Arc<Life>, EventId)>,
    /// The traces and events that dispatchers tried to park.
    pub(crate) to_be_parked: BTreeSet<(u128, EventId)>,
    /// How often the dispatcher of a life could not finish new events since it finished something.
    misses: BTreeMap<String, u32>,
}

impl Ledger {
    pub(crate) fn breaks(
        &mut self,
        law: &'static str,
        says: impl Into<String>,
        about: impl IntoIterator<Item = String>,
    ) {
        self.violations.push(Violation { law, says: says.into(), about: about.into_iter().collect() });
    }

    pub(crate) fn receive(
        &mut self,
        life: &Arc<Life>,
        events: Vec<Event>,
        is_single: bool,
        received: Step,
    ) -> u64 {
        let number = self.requests.len() as u64 + 1;
        let (dispatcher, life) = (life.host.number(), Arc::clone(life));
        let (answered, is_abandoned) = (None, false);
        let request = Request { dispatcher, life, events, received, is_single, answered, is_abandoned };
        self.requests.insert(number, request);
        number
    }

    /// Takes in that nobody waits for an answer any more. Says whether there was none yet.
    pub(crate) fn abandon(&mut self, number: u64) -> bool {
        let Some(request) = self.requests.get_mut(&number) else { return false };
        request.is_abandoned = true;
        request.answered.is_none()
    }

    /// Law 7: whoever asks a dispatcher that lives is answered in time.
    pub(crate) fn answer(
        &mut self,
        number: u64,
        answers: Vec<Answer>,
        at: Step,
        took: Duration,
        limit: Duration,
    ) {
        if took > limit {
            let says = format!("r{number} was answered after {took:?}, the limit is {limit:?}");
            self.breaks("an answer comes in time", says, [format!("r{number} ")]);
        }
        if let Some(request) = self.requests.get_mut(&number) {
            if answers.len() != request.events.len() {
                let says = format!("r{number} has {} answers", answers.len());
                self.breaks("one answer an event", says, [format!("r{number} ")]);
                return;
            }
            request.answered = Some((at, answers));
        }
    }

    /// Whether somebody waits for an answer of a dispatcher.
    pub(crate) fn is_busy(&self, dispatcher: usize) -> bool {
        self.requests.values().any(|request| request.dispatcher == dispatcher && request.is_waited_for())
    }

    pub(crate) fn begin_call(&mut self) -> u64 {
        let number = self.calls.len() as u64 + 1;
        self.calls.insert(number, Call::default());
        number
    }

    /// Whether a call stored something and did not link it.
    pub(crate) fn is_between_append_and_link(&self, call: u64) -> bool {
        self.calls.get(&call).is_some_and(|call| !call.appended.is_empty() && !call.is_linked)
    }

    pub(crate) fn screen(&mut self, call: u64, subjects: &[ClientId], verdicts: &[Verdict]) {
        let pairs = subjects.iter().zip(verdicts);
        let clear = pairs.filter(|(_, verdict)| **verdict == Verdict::Clear).map(|(name, _)| name.clone());
        self.calls.entry(call).or_default().clear.get_or_insert_default().extend(clear);
    }

    /// Law 3, at the store: nothing is stored that the same call did not find clear. Law 2: each event once.
    pub(crate) fn append(
        &mut self,
        number: u64,
        batch: &EventBatch,
        outcomes: &[AppendOutcome],
        recorded_at: Timestamp,
    ) {
        for (event, outcome) in batch.events().iter().zip(outcomes) {
            let call = self.calls.entry(number).or_default();
            let is_clear = call
                .clear
                .as_ref()
                .is_some_and(|clear| subject(event).is_none_or(|name| clear.contains(name)));
            let times = match outcome {
                AppendOutcome::Stored => Some((event.occurred_at().timestamp(), true)),
                AppendOutcome::Duplicate(recording) => Some((recording.occurred_at, false)),
                AppendOutcome::Conflict => None,
            };
            if let Some((occurred_at, _)) = times {
                call.appended.insert(event.id().clone(), occurred_at);
            }
            if !is_clear && number != 0 {
                let says = format!("{} was to be stored without having been found clear", event.id());
                self.breaks("what is stored was screened and clear", says, [event.id().to_string()]);
            }
            if let Some((_, true)) = times {
                let stored = StoredEvent { event: event.clone(), recorded_at };
                if self.stored.insert(event.id().clone(), stored).is_some() {
                    let says = format!("{} was stored a second time", event.id());
                    self.breaks("an event is stored once", says, [event.id().to_string()]);
                }
            }
        }
    }

    /// Law 4, at the store: nothing is linked that the same call did not find stored.
    pub(crate) fn link(&mut self, call: u64, edges: &[Edge]) {
        let call = self.calls.entry(call).or_default();
        call.is_linked = true;
        let implied: Vec<Edge> = call
            .appended
            .iter()
            .filter_map(|(id, at)| self.stored.get(id).map(|stored| (stored, *at)))
            .flat_map(|(stored, at)| Edge::implied_by(&stored.event, at))
            .collect();
        if let Some(edge) = edges.iter().find(|edge| !implied.contains(edge)) {
            let says = format!("{edge:?} was linked, and no event that the call stored implies it");
            self.breaks("what is linked is stored", says, []);
        }
    }

    /// Takes note of parcels that the lot took in, and returns the names of those that were not there. A call that comes
    /// a second time, late, may park again what is done.
    pub(crate) fn park(&mut self, parcels: &[Parcel]) -> Vec<String> {
        let mut names = Vec::new();
        for parcel in parcels {
            if let Some(known) = self.parcels.get_mut(&parcel.id) {
                if known.state == ParcelState::Done {
                    known.state = ParcelState::Parked;
                    names.push(format!("{} again", known.name));
                    self.lanes.entry(known.client.clone()).or_default().push_back(parcel.id);
                }
                continue;
            }
            let name = format!("p{}", self.parcels.len() + 1);
            let event = ParkedEvent::decode(&parcel.content).ok();
            let id = event.as_ref().map_or("garbage", |parked| parked.event.id().as_str());
            names.push(format!("{name}={id}"));
            let (client, state) = (parcel.client.clone(), ParcelState::Parked);
            self.lanes.entry(client.clone()).or_default().push_back(parcel.id);
            self.parcels.insert(parcel.id, Parked { name, client, event, state, lease: None });
        }
        names
    }

    /// Law 6: no parcel is somebody's while the lease of another one runs.
    pub(crate) fn lease(&mut self, now: Timestamp, until: Timestamp, leased: &[LeasedParcel]) -> Vec<String> {
        let mut names = Vec::new();
        for one in leased {
            let Some(parked) = self.parcels.get_mut(&one.parked().parcel.id) else { continue };
            names.push(parked.name.clone());
            // The lease that a settlement of this parcel has to name.
            let lease = one.clone().done().lease();
            let other = parked.lease.replace((lease, until)).filter(|(_, until)| *until > now);
            if other.is_some() || parked.state != ParcelState::Parked {
                let name = parked.name.clone();
                let says = format!("{name} was leased while it was leased, or not parked");
                self.breaks("a parcel is one redriver's at a time", says, [format!("{name} "), name]);
            }
        }
        names
    }

    /// Takes in that a redriver is about to settle. Attempts do not count while the dispatcher finishes nothing at all.
    pub(crate) fn about_to_settle(&mut self, life: &Life, settlements: &[Settlement]) {
        let misses = self.misses.get(&life.to_string()).copied().unwrap_or(0);
        let counts = |settlement: &&Settlement| match settlement.verdict() {
            ParcelVerdict::Retry { counts, .. } => counts,
            ParcelVerdict::Dead { cause, .. } => cause == DeathCause::AttemptsSpent,
            ParcelVerdict::Done => false,
        };
        if let Some(counted) = settlements.iter().find(counts)
            && misses >= MISSES
        {
            let name = self.parcels[&counted.parcel()].name.clone();
            let says = format!("an attempt of {name} counts, though {life} finishes nothing");
            self.breaks("an outage is no fault of a parcel", says, [name, format!("{life} ")]);
        }
    }

    /// Laws 5 and 6, at the lot: who settles holds the lease; what is forgotten is in the log; lanes keep their order.
    pub(crate) fn settle(
        &mut self,
        now: Timestamp,
        life: &Life,
        settlements: &[Settlement],
        results: &[Settled],
    ) -> Vec<String> {
        let mut names = Vec::new();
        for (settlement, result) in settlements.iter().zip(results) {
            let (what, verdict) = (settlement.parcel(), settlement.verdict());
            let Some(parked) = self.parcels.get_mut(&what) else { continue };
            let name = parked.name.clone();
            if *result == Settled::LeaseLost {
                names.push(format!("{name} lease lost"));
                continue;
            }
            let holds =
                parked.lease.take().is_some_and(|(lease, until)| lease == settlement.lease() && now < until);
            let (word, state) = match verdict {
                ParcelVerdict::Done => ("done", ParcelState::Done),
                ParcelVerdict::Retry { counts: true, .. } => ("retried", ParcelState::Parked),
                ParcelVerdict::Retry { counts: false, .. } => ("postponed", ParcelState::Parked),
                ParcelVerdict::Dead { cause, .. } => ("dead", ParcelState::Dead(cause)),
            };
            parked.state = state;
            let (client, event) = (parked.client.clone(), parked.event.clone());
            names.push(match verdict {
                ParcelVerdict::Done => format!("{name} done as {}", self.outcome_of(event.as_ref())),
                _ => format!("{name} {word}"),
            });
            if !holds {
                let says = format!("{name} was settled by {life}, which did not hold it");
                self.breaks("a parcel is one redriver's at a time", says, [name.clone()]);
            }
            if state == ParcelState::Parked {
                continue;
            }
            let lane = self.lanes.entry(client).or_default();
            let place = lane.iter().position(|id| *id == what);
            place.and_then(|place| lane.remove(place));
            if verdict == ParcelVerdict::Done {
                if let Some(earlier) = place.filter(|place| *place > 0).and_then(|_| lane.front()) {
                    let earlier = self.parcels[earlier].name.clone();
                    let says = format!("{name} is done, and {earlier} of the same client waits before it");
                    self.breaks("parked events of a client keep their order", says, [name.clone(), earlier]);
                }
                self.check_journalled(&name, event.as_ref());
            }
        }
        names
    }

    fn outcome_of(&self, parked: Option<&ParkedEvent>) -> &'static str {
        let key = parked.and_then(|one| Some((trace_number(one.trace?), one.event.id().clone())));
        key.and_then(|key| self.journalled.get(&key)).map_or("unknown", |outcome| outcome.as_str())
    }

    fn check_journalled(&mut self, name: &str, parked: Option<&ParkedEvent>) {
        let Some(ParkedEvent { event, trace, .. }) = parked else {
            return self.breaks("garbage is never done", format!("{name} is done"), [name.to_owned()]);
        };
        let is_durable = match trace {
            Some(trace) => self.journalled.contains_key(&(trace_number(*trace), event.id().clone())),
            None => self.journalled.keys().any(|(_, id)| id == event.id()),
        };
        if !is_durable {
            let says = format!("{name} is done, and no record of {} is durable", event.id());
            self.breaks("what is finished is logged first", says, [name.to_owned(), event.id().to_string()]);
        }
    }

    /// Takes in that the lot restarted with what was written: no lease runs, and what was done since is to be done again.
    pub(crate) fn restart_lot<'a>(&mut self, written: impl Iterator<Item = &'a Record<ParcelContent>>) {
        for parked in self.parcels.values_mut() {
            (parked.lease, parked.state) = (None, ParcelState::Done);
        }
        let mut lanes: BTreeMap<ClientId, BTreeMap<u64, ParcelId>> = BTreeMap::new();
        for Record { held, state } in written {
            let Some(parked) = self.parcels.get_mut(&held.id) else { continue };
            parked.state = match state {
                RecordState::Dead { cause, .. } => ParcelState::Dead(*cause),
                RecordState::Parked { sequence, .. } => {
                    lanes.entry(held.client.clone()).or_default().insert(*sequence, held.id);
                    ParcelState::Parked
                }
            };
        }
        self.lanes = lanes.into_iter().map(|(client, lane)| (client, lane.into_values().collect())).collect();
    }

    /// Takes in that a dead letter was parked again.
    pub(crate) fn redrive(&mut self, id: ParcelId) {
        let Some(parked) = self.parcels.get_mut(&id) else { return };
        parked.state = ParcelState::Parked;
        self.lanes.entry(parked.client.clone()).or_default().push_back(id);
    }

    pub(crate) fn journal(&mut self, records: &[LogRecord]) {
        let key = |record: &LogRecord| (trace_number(record.trace), record.event.id().clone());
        self.journalled.extend(records.iter().map(|record| (key(record), record.outcome)));
    }

    /// Takes in that a dispatcher is about to park what it could not finish.
    pub(crate) fn miss(&mut self, life: &Life, reason: ParkReason, parcels: &[Parcel]) {
        let events = parcels.iter().filter_map(|parcel| ParkedEvent::decode(&parcel.content).ok());
        let key = |parked: ParkedEvent| Some((trace_number(parked.trace?), parked.event.id().clone()));
        self.to_be_parked.extend(events.filter_map(key));
        if reason != ParkReason::Outage {
            *self.misses.entry(life.to_string()).or_default() += 1;
        }
    }

    /// Takes in that a worker finished something for a dispatcher. Says whether that ends an outage.
    ///
    /// Fraudulent events alone end none: they are refused without the stores.
    pub(crate) fn finish(
        &mut self,
        life: &Arc<Life>,
        batch: &EventBatch,
        outcomes: &[IngestOutcome],
    ) -> bool {
        let events = batch.events().iter().map(|event| (Arc::clone(life), event.id().clone()));
        self.finished.extend(events);
        outcomes.iter().any(|finished| finished.outcome != Outcome::Fraudulent)
            && self.misses.insert(life.to_string(), 0).is_some_and(|misses| misses >= MISSES)
    }
}

/// Returns who is screened of an event.
pub(crate) fn subject(event: &Event) -> Option<&ClientId> {
    match event.details() {
        EventDetails::Transaction { receiver, .. } => Some(receiver),
        EventDetails::Operation { client, operation: OperationType::Withdraw, .. } => Some(client),
        EventDetails::Operation { operation: OperationType::Deposit, .. } => None,
    }
}

/// Returns the number of the request that a trace was made for.
pub(crate) fn trace_number(trace: TraceContext) -> u128 {
    let text = trace.to_string();
    text.split('-').nth(1).and_then(|hex| u128::from_str_radix(hex, 16).ok()).unwrap_or_default()
}
