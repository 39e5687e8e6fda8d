//! Who is killed when, how, and for how long.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::cluster::{Cluster, Victim};
use super::scene::Scene;

/// How many may be down at once: more would only hide from each other.
const DOWN_AT_ONCE: usize = 2;

/// Pauses between blows and outages, in seconds: most are short, as most are in life.
const PAUSES: [f64; 2] = [0.3, 5.0];
const OUTAGES: [f64; 2] = [0.1, 10.0];

/// How a victim goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// At once, as by `kill -9`.
    Kill,
    /// As by `kill`: it may finish what it does.
    Stop,
}

/// Deals blows. The same seed deals the same ones.
pub(crate) struct Killer {
    rng: SmallRng,
    next: Instant,
    down: Vec<(Victim, Instant)>,
    struck: Vec<Victim>,
}

impl Killer {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let next = Instant::now() + draw(&mut rng, PAUSES);
        Self { rng, next, down: Vec::new(), struck: Vec::new() }
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, cluster: &mut Cluster, scene: &Scene) {
        let now = Instant::now();
        let (back, down) = self.down.drain(..).partition(|(_, until)| *until <= now);
        self.down = down;
        self.bring_back(back, cluster, scene);
        if now < self.next {
            return;
        }
        // Drawn in any case, so that what follows does not depend on how fast the machine is.
        let (pause, outage) = (draw(&mut self.rng, PAUSES), draw(&mut self.rng, OUTAGES));
        let victim = cluster.victims().choose(&mut self.rng).copied().unwrap();
        let blow = if self.rng.random_bool(0.5) { Blow::Kill } else { Blow::Stop };
        self.next = now + pause;
        if self.down.len() < DOWN_AT_ONCE && !self.down.iter().any(|(down, _)| *down == victim) {
            scene.note(&format!("{blow:?} {victim:?} for {:.1} s", outage.as_secs_f64()));
            cluster.strike(victim, blow);
            self.struck.push(victim);
            self.down.push((victim, Instant::now() + outage));
        }
    }

    fn bring_back(&self, back: Vec<(Victim, Instant)>, cluster: &mut Cluster, scene: &Scene) {
        for (victim, _) in back {
            cluster.bring_back(victim);
            scene.note(&format!("{victim:?} may run again"));
        }
    }

    /// Ends every outage.
    pub(crate) fn make_up(&mut self, cluster: &mut Cluster, scene: &Scene) {
        let back = std::mem::take(&mut self.down);
        self.bring_back(back, cluster, scene);
    }

    /// Says whether something was struck.
    pub(crate) fn has_struck(&self, victim: Victim) -> bool {
        self.struck.contains(&victim)
    }
}

/// Draws a time between two, each order of magnitude as often as the next.
fn draw(rng: &mut SmallRng, [shortest, longest]: [f64; 2]) -> Duration {
    Duration::from_secs_f64(shortest * (longest / shortest).powf(rng.random()))
}
