//! What the policies promise, in simulated time: the same seed gives the same picks.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::{LeastInFlight, LoadBalancer, P2cEwma, PickRequest, Rendezvous, RoundRobin};
use crate::dispatcher::MemberIndex;
use crate::dispatcher::cluster::Cluster;
use crate::dispatcher::member::{InFlight, Member};
use crate::dispatcher::outlier::OutlierPolicy;
use crate::domain::ClientId;
use crate::domain::WorkerId;
use crate::mock::MockWorkerNode;

/// What one request meets: how long it takes, and whether it succeeds.
struct Service {
    latency: Duration,
    succeeds: bool,
}

/// A cluster under a stream of requests.
struct Simulation {
    cluster: Arc<Cluster>,
    balancer: Box<dyn LoadBalancer>,
    rng: StdRng,
    started_at: Instant,
    /// About whom the requests are, each at random.
    clients: Vec<ClientId>,
    under_way: BinaryHeap<Reverse<(Instant, usize)>>,
    held: Vec<Option<(InFlight, bool)>>,
}

impl Simulation {
    fn new(members: usize, balancer: impl LoadBalancer) -> Self {
        let cluster = Arc::new(Cluster::new(OutlierPolicy::default(), Instant::now()));
        for number in 0..members {
            cluster.add(WorkerId::new(format!("w{number:03}")).unwrap(), Arc::new(MockWorkerNode::new()));
        }
        Self {
            cluster,
            balancer: Box::new(balancer),
            rng: StdRng::seed_from_u64(167),
            started_at: Instant::now(),
            clients: clients(1_000),
            under_way: BinaryHeap::new(),
            held: Vec::new(),
        }
    }

    fn elapsed(&self) -> Duration {
        Instant::now() - self.started_at
    }

    fn members(&self) -> Vec<Arc<Member>> {
        self.cluster.view().members().to_vec()
    }

    /// Goes on to a time, ending what ends before it.
    async fn go_on_to(&mut self, time: Instant) {
        while let Some(Reverse((end, request))) =
            self.under_way.peek().copied().filter(|next| next.0.0 <= time)
        {
            self.under_way.pop();
            tokio::time::advance(end.saturating_duration_since(Instant::now())).await;
            match self.held.get_mut(request).and_then(Option::take) {
                Some((in_flight, true)) => in_flight.succeed(),
                Some((in_flight, false)) => in_flight.fail(),
                None => {}
            }
        }
        tokio::time::advance(time.saturating_duration_since(Instant::now())).await;
    }

    fn pick(&self, client: Option<&ClientId>) -> MemberIndex {
        let request = PickRequest::new(client, &[], Instant::now());
        self.balancer.pick(&self.cluster.view(), &request).unwrap()
    }

    fn start(&mut self, MemberIndex(place): MemberIndex, service: &Service) {
        let member = self.members().get(place).cloned().unwrap();
        let in_flight = InFlight::start(member, Arc::clone(&self.cluster), Instant::now());
        self.under_way.push(Reverse((Instant::now() + service.latency, self.held.len())));
        self.held.push(Some((in_flight, service.succeeds)));
    }

    /// Sends requests at random times, and calls back with the place and service of each.
    async fn run(
        &mut self,
        per_second: f64,
        length: Duration,
        mut serve: impl FnMut(&mut StdRng, Duration, usize) -> Service,
        mut seen: impl FnMut(Duration, usize, &Service),
    ) {
        while self.elapsed() < length {
            let pause = -self.rng.random::<f64>().max(f64::MIN_POSITIVE).ln() / per_second;
            self.go_on_to(Instant::now() + Duration::from_secs_f64(pause)).await;
            let client = self.rng.random_range(0..self.clients.len());
            let picked = self.pick(self.clients.get(client));
            let at = self.elapsed();
            let service = serve(&mut self.rng, at, picked.0);
            seen(at, picked.0, &service);
            self.start(picked, &service);
        }
    }
}

fn clients(count: usize) -> Vec<ClientId> {
    (0..count).map(|n| ClientId::new(format!("client {n}")).unwrap()).collect()
}

/// A latency whose median is 167 ms; the logarithm is about normal.
fn usual_latency(rng: &mut StdRng) -> Duration {
    let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    Duration::from_secs_f64(0.167 * (0.3 * normal).exp())
}

/// Replays the experiment of linkerd's authors (*Beyond Round Robin: Load Balancing for Latency*, 2016): eleven
/// members, 1,000 requests a second, and one member answers after two seconds for half a minute. Returns the
/// share of answers within a second.
async fn share_within_a_second(balancer: impl LoadBalancer) -> f64 {
    let mut simulation = Simulation::new(11, balancer);
    let slow = Duration::from_secs(15)..Duration::from_secs(45);
    let (mut total, mut quick) = (0_u32, 0_u32);
    let serve = |rng: &mut StdRng, at: Duration, place: usize| Service {
        latency: if place == 3 && slow.contains(&at) { Duration::from_secs(2) } else { usual_latency(rng) },
        succeeds: true,
    };
    let seen = |_, _, service: &Service| {
        total += 1;
        quick += u32::from(service.latency < Duration::from_secs(1));
    };
    simulation.run(1_000.0, Duration::from_secs(55), serve, seen).await;
    f64::from(quick) / f64::from(total)
}

#[tokio::test(start_paused = true)]
async fn a_slow_member_hurts_as_little_as_published() {
    let shares = [
        ("round_robin", share_within_a_second(RoundRobin::default()).await, 0.94..0.96),
        ("least_in_flight", share_within_a_second(LeastInFlight::default()).await, 0.985..1.0),
        ("p2c_ewma", share_within_a_second(P2cEwma::new(1)).await, 0.999..1.0),
        ("rendezvous", share_within_a_second(Rendezvous::default()).await, 0.95..1.0),
    ];
    println!("one of eleven members answers after 2 s for 30 s; share of answers within a second:");
    for (policy, share, expected) in shares {
        println!("  {policy:16} {:7.3} %", share * 100.0);
        assert!(expected.contains(&share), "{policy}: {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_picks() {
    async fn picks() -> Vec<usize> {
        let mut picked = Vec::new();
        let serve = |rng: &mut StdRng, _, _| Service { latency: usual_latency(rng), succeeds: true };
        let mut simulation = Simulation::new(5, P2cEwma::new(9));
        simulation.run(500.0, Duration::from_secs(2), serve, |_, place, _| picked.push(place)).await;
        picked
    }
    assert_eq!(picks().await, picks().await);
}

/// Returns the share of picks, after the first second, of a member that fails within a millisecond.
async fn share_of_the_failing(balancer: impl LoadBalancer) -> f64 {
    let mut simulation = Simulation::new(5, balancer);
    let (mut total, mut failing) = (0_u32, 0_u32);
    let serve = |rng: &mut StdRng, _, place| match place {
        2 => Service { latency: Duration::from_millis(1), succeeds: false },
        _ => Service { latency: usual_latency(rng), succeeds: true },
    };
    let seen = |at: Duration, place, _: &Service| {
        if at >= Duration::from_secs(1) {
            total += 1;
            failing += u32::from(place == 2);
        }
    };
    simulation.run(500.0, Duration::from_secs(30), serve, seen).await;
    f64::from(failing) / f64::from(total)
}

#[tokio::test(start_paused = true)]
async fn a_member_that_fails_fast_is_hardly_picked() {
    println!("one of five members fails within a millisecond; share of its picks after the first second:");
    for (policy, share) in [
        ("round_robin", share_of_the_failing(RoundRobin::default()).await),
        ("least_in_flight", share_of_the_failing(LeastInFlight::default()).await),
        ("p2c_ewma", share_of_the_failing(P2cEwma::new(1)).await),
        ("rendezvous", share_of_the_failing(Rendezvous::default()).await),
    ] {
        println!("  {policy:16} {:7.3} %", share * 100.0);
        assert!(share < 0.02, "{policy}: {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_hot_client_never_overloads_its_member() {
    let mut simulation = Simulation::new(8, Rendezvous::default());
    let clients = clients(100);
    let mut on_its_own = 0;
    let home = simulation.pick(clients.first());
    for n in 0..4_000_u64 {
        let hot = simulation.rng.random_bool(0.6);
        let client = if hot { 0 } else { simulation.rng.random_range(0..clients.len()) };
        let picked = simulation.pick(clients.get(client));
        on_its_own += u64::from(client == 0 && picked == home);
        simulation.start(picked, &Service { latency: Duration::from_millis(160), succeeds: true });
        let held: Vec<usize> = simulation.members().iter().map(|member| member.in_flight()).collect();
        let mean = held.iter().sum::<usize>() as f64 / held.len() as f64;
        let most = held.iter().copied().max().unwrap_or_default() as f64;
        assert!(most <= (1.25 * mean).ceil(), "request {n}: {held:?}");
        simulation.go_on_to(Instant::now() + Duration::from_millis(1)).await;
    }
    assert!(on_its_own > 400, "the client keeps to its member while there is room: {on_its_own}");
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_when_another_member_leaves() {
    let simulation = Simulation::new(5, Rendezvous::default());
    let clients = clients(200);
    let home = |client| {
        let view = simulation.cluster.view();
        view.get(simulation.pick(Some(client))).map(|member| member.id().clone()).unwrap()
    };
    let before: Vec<_> = clients.iter().map(home).collect();
    let gone = WorkerId::new("w002").unwrap();
    simulation.cluster.remove(&gone);
    for (client, before) in clients.iter().zip(&before).filter(|(_, before)| **before != gone) {
        assert_eq!(home(client), *before);
    }
    let counts = (0..5).map(|n| WorkerId::new(format!("w{n:03}")).unwrap());
    let counts: Vec<_> = counts.map(|id| before.iter().filter(|home| **home == id).count()).collect();
    assert!(counts.iter().all(|count| (20..=60).contains(count)), "clients are spread: {counts:?}");
}

/// Runs members for a while, and returns who is ejected then and how often each was picked.
async fn ejected_after(
    seconds: u64,
    simulation: &mut Simulation,
    succeeds: impl Fn(Duration, usize) -> bool,
) -> (Vec<bool>, Vec<u32>) {
    let mut picked = vec![0_u32; simulation.members().len()];
    let serve = |_: &mut StdRng, at, place| Service {
        latency: Duration::from_millis(2),
        succeeds: succeeds(at, place),
    };
    let until = simulation.elapsed() + Duration::from_secs(seconds);
    simulation.run(500.0, until, serve, |_, place, _| picked[place] += 1).await;
    let now = Instant::now();
    (simulation.members().iter().map(|member| member.is_ejected(now)).collect(), picked)
}

#[tokio::test(start_paused = true)]
async fn never_more_than_half_are_ejected() {
    for balancer in [true, false] {
        let mut simulation = match balancer {
            true => Simulation::new(5, P2cEwma::new(3)),
            false => Simulation::new(5, RoundRobin::default()),
        };
        let (ejected, _) = ejected_after(4, &mut simulation, |_, place| place == 4).await;
        assert_eq!(ejected.iter().filter(|ejected| **ejected).count(), 2, "{ejected:?}");
        assert_eq!(ejected.last(), Some(&false), "the good one stays");
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_nobody_stands_out() {
    let mut simulation = Simulation::new(4, P2cEwma::new(3));
    let (_, _) = ejected_after(2, &mut simulation, |_, _| true).await;
    let (ejected, picked) = ejected_after(30, &mut simulation, |_, _| false).await;
    assert_eq!(ejected, [false; 4]);
    assert!(picked.iter().all(|count| *count > 1_000), "all are tried: {picked:?}");
}

/// Returns how many whole seconds lay between picks of a member that was passed over.
async fn pauses_of(place: usize, seconds: u64, succeeds: impl Fn(Duration) -> bool) -> Vec<u64> {
    let mut simulation = Simulation::new(3, RoundRobin::default());
    let mut picks = Vec::new();
    let serve = |_: &mut StdRng, at, picked| Service {
        latency: Duration::from_millis(2),
        succeeds: picked != place || succeeds(at),
    };
    let seen = |at: Duration, picked, _: &Service| {
        if picked == place {
            picks.push(at);
        }
    };
    simulation.run(300.0, Duration::from_secs(seconds), serve, seen).await;
    let pauses = picks.windows(2).map(|pair| (pair[1] - pair[0]).as_secs());
    pauses.filter(|seconds| *seconds > 0).collect()
}

#[tokio::test(start_paused = true)]
async fn an_ejected_member_comes_back_and_the_next_time_lasts_longer() {
    assert_eq!(pauses_of(1, 40, |_| false).await, [5, 10, 15], "the n-th ejection lasts n times as long");
}

#[tokio::test(start_paused = true)]
async fn good_behaviour_shortens_the_next_ejection() {
    for (bad, expected) in [
        ([0..1, 4..4, 12..13], vec![5, 5]),
        ([0..1, 5..6, 25..26], vec![5, 10, 10]),
        ([0..1, 5..6, 45..46], vec![5, 10, 5]),
    ] {
        let succeeds = |at: Duration| !bad.iter().any(|seconds| seconds.contains(&at.as_secs()));
        assert_eq!(pauses_of(1, 60, succeeds).await, expected, "each calm interval takes one off");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_fails_a_third_stands_out_by_its_rate() {
    let mut simulation = Simulation::new(5, RoundRobin::default());
    let mut served = 0;
    let serve = |_: &mut StdRng, _, place| {
        served += u32::from(place == 1);
        Service { latency: Duration::from_millis(2), succeeds: place != 1 || served % 3 != 0 }
    };
    simulation.run(500.0, Duration::from_secs(12), serve, |_, _, _| {}).await;
    let ejected: Vec<_> =
        simulation.members().iter().map(|member| member.is_ejected(Instant::now())).collect();
    assert_eq!(ejected, [false, true, false, false, false]);
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_a_third_nobody_stands_out() {
    let mut simulation = Simulation::new(5, RoundRobin::default());
    let mut served = 0_u32;
    let serve = |_: &mut StdRng, _, _| {
        served += 1;
        Service { latency: Duration::from_millis(2), succeeds: !served.is_multiple_of(3) }
    };
    simulation.run(500.0, Duration::from_secs(25), serve, |_, _, _| {}).await;
    assert!(simulation.members().iter().all(|member| !member.is_ejected(Instant::now())));
}
