//! What goes wrong with calls, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mini_platform_core::error::FaultKind;

use super::chance::Chance;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A dispatcher, by a client.
    Submit,
    /// A worker, by a dispatcher.
    Ingest,
    /// A worker that joins, by a dispatcher.
    Dial,
    /// A dispatcher, by a worker that is or wants to be a member.
    Attend,
    Screen,
    Append,
    Link,
    Park,
    Lease,
    Settle,
    /// The outbox, by the dispatcher beside it.
    Journal,
    /// The outbox, by the relay beside it.
    Relay,
    Publish,
}

/// What fails as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    Network,
    Events,
    Adjacency,
    Registry,
    Lot,
    Disk,
    Log,
}

impl System {
    pub(crate) const ALL: [Self; 7] =
        [Self::Network, Self::Events, Self::Adjacency, Self::Registry, Self::Lot, Self::Disk, Self::Log];
}

impl Place {
    pub(crate) const ALL: [Self; 13] = [
        Self::Submit,
        Self::Ingest,
        Self::Dial,
        Self::Attend,
        Self::Screen,
        Self::Append,
        Self::Link,
        Self::Park,
        Self::Lease,
        Self::Settle,
        Self::Journal,
        Self::Relay,
        Self::Publish,
    ];

    fn system(self) -> System {
        match self {
            Self::Submit | Self::Ingest | Self::Dial | Self::Attend => System::Network,
            Self::Screen => System::Registry,
            Self::Append => System::Events,
            Self::Link => System::Adjacency,
            Self::Park | Self::Lease | Self::Settle => System::Lot,
            Self::Journal | Self::Relay => System::Disk,
            Self::Publish => System::Log,
        }
    }

    /// Whether it is a disk of the process that calls: then nothing is done after its crash.
    pub(crate) fn is_beside(self) -> bool {
        self.system() == System::Disk
    }

    /// Whether it may do a part of what it is asked.
    fn has_parts(self) -> bool {
        matches!(self, Self::Append | Self::Link | Self::Journal | Self::Publish)
    }

    /// Whether somebody bounds the time of the call. A disk that never answers its relay is no fault that passes.
    fn may_hang(self) -> bool {
        self != Self::Relay
    }

    /// Whether the caller is a process that can crash.
    fn may_crash(self) -> bool {
        self != Self::Submit
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_lowercase())
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Pass,
    /// It takes a long time on the way there or back.
    Slow,
    /// It fails before it has any effect.
    Fail(FaultKind),
    /// It never arrives, and nobody says so.
    Drop,
    /// It takes effect and fails.
    LoseAnswer(FaultKind),
    /// It takes effect and never answers.
    Hang,
    /// It takes a part of its effect and fails.
    Part(FaultKind),
    /// It arrives twice.
    Twice,
    /// The caller crashes before it has any effect.
    CrashBefore,
    /// The caller crashes when it has taken effect, before it hears of that.
    CrashAfter,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "passes",
            Self::Slow => "is slow",
            Self::Fail(_) => "fails",
            Self::Drop => "is dropped",
            Self::LoseAnswer(_) => "loses its answer",
            Self::Hang => "hangs",
            Self::Part(_) => "does a part",
            Self::Twice => "comes twice",
            Self::CrashBefore => "crashes before",
            Self::CrashAfter => "crashes after",
        })
    }
}

/// How a system is out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    Refuses,
    Silent,
    LosesAnswers,
}

impl Outage {
    pub(crate) const ALL: [Self; 3] = [Self::Refuses, Self::Silent, Self::LosesAnswers];
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) way: Way,
    pub(crate) there: Duration,
    pub(crate) back: Duration,
    /// Whether the other side stops working when the caller does not wait any more.
    pub(crate) is_cancelled: bool,
}

/// How often what happens where, and what is out of order now.
pub(crate) struct Weather {
    chance: Chance,
    rates: BTreeMap<Place, Vec<(Way, f64)>>,
    outages: BTreeMap<System, Outage>,
    cancels: f64,
    is_over: bool,
}

const KINDS: [FaultKind; 5] = [
    FaultKind::Unavailable,
    FaultKind::Timeout,
    FaultKind::Throttled,
    FaultKind::Internal,
    FaultKind::Corrupt,
];

impl Weather {
    /// Chooses some faults for some places: what all of them would hide, some of them show.
    pub(crate) fn choose(chance: Chance) -> Self {
        let share = chance.pick(&[0.0, 0.1, 0.3, 0.6]);
        let mut rates = BTreeMap::new();
        for place in Place::ALL {
            let mut of_place = Vec::new();
            for way in ways(place) {
                let kind = chance.pick(&KINDS);
                if !chance.hits(share) {
                    continue;
                }
                let rate = match way {
                    Way::CrashBefore | Way::CrashAfter => chance.pick(&[0.003, 0.01, 0.03]),
                    _ => chance.pick(&[0.01, 0.03, 0.1, 0.2]),
                };
                of_place.push((of_kind(way, kind), rate));
            }
            rates.insert(place, of_place);
        }
        let cancels = chance.pick(&[0.0, 0.5, 1.0]);
        Self { chance, rates, outages: BTreeMap::new(), cancels, is_over: false }
    }

    pub(crate) fn begin(&mut self, system: System, outage: Outage) {
        self.outages.insert(system, outage);
    }

    pub(crate) fn end(&mut self, system: System) {
        self.outages.remove(&system);
    }

    /// Ends all faults for good.
    pub(crate) fn heal(&mut self) {
        self.outages.clear();
        self.is_over = true;
    }

    pub(crate) fn is_out_of_order(&self, system: System) -> bool {
        self.outages.contains_key(&system)
    }

    pub(crate) fn fate(&self, place: Place) -> Fate {
        let way = if self.is_over { Way::Pass } else { self.way(place) };
        let mut fate = Fate {
            way,
            there: self.chance.millis(0..=3),
            back: self.chance.millis(0..=3),
            is_cancelled: self.chance.hits(self.cancels),
        };
        if way == Way::Slow {
            let slow = self.chance.millis(50..=3_000);
            *if self.chance.hits(0.5) { &mut fate.there } else { &mut fate.back } += slow;
        }
        fate
    }

    fn way(&self, place: Place) -> Way {
        match self.outages.get(&place.system()) {
            Some(Outage::Refuses) => return Way::Fail(FaultKind::Unavailable),
            Some(Outage::Silent) if place.may_hang() => return Way::Drop,
            Some(Outage::Silent | Outage::LosesAnswers) => return Way::LoseAnswer(FaultKind::Timeout),
            None => {}
        }
        let mut drawn = self.chance.share();
        for (way, rate) in &self.rates[&place] {
            if drawn < *rate {
                return *way;
            }
            drawn -= rate;
        }
        Way::Pass
    }
}

fn ways(place: Place) -> Vec<Way> {
    let kind = FaultKind::Unavailable;
    let mut ways = vec![Way::Slow, Way::Fail(kind), Way::LoseAnswer(kind)];
    if place.may_hang() {
        ways.extend([Way::Drop, Way::Hang]);
    }
    if place.has_parts() {
        ways.push(Way::Part(kind));
    }
    if !place.is_beside() {
        ways.push(Way::Twice);
    }
    if place.may_crash() {
        ways.extend([Way::CrashBefore, Way::CrashAfter]);
    }
    ways
}

fn of_kind(way: Way, kind: FaultKind) -> Way {
    match way {
        Way::Fail(_) => Way::Fail(kind),
        Way::LoseAnswer(_) => Way::LoseAnswer(kind),
        Way::Part(_) => Way::Part(kind),
        other => other,
    }
}

/// Names every fault that some seed must meet.
pub(crate) fn all_faults() -> impl Iterator<Item = String> {
    let faults = |place| ways(place).into_iter().map(move |way| format!("{place} {way}"));
    let outages = |system| Outage::ALL.into_iter().map(move |how| outage(system, how));
    Place::ALL.into_iter().flat_map(faults).chain(System::ALL.into_iter().flat_map(outages))
}

pub(crate) fn outage(system: System, how: Outage) -> String {
    format!("outage of {system:?}: {how:?}")
}
