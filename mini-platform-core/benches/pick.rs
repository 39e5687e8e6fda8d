//! What it costs to pick one of a thousand members, beside tower's P2C over Peak EWMA on as many services.
//!
//! `cargo bench -p mini-platform-core --bench pick`. Rounds alternate, medians are printed, seeds are fixed. Tower
//! picks when it is polled and only once a call, so its pick is the time of a balanced call less that of a call to
//! one of its services; it looks at the clock while it picks. Ours is given the time, which the dispatcher takes
//! anyway because the request's own latency starts there: what the clock costs is told apart, and added to compare.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{
    ClusterView, Dispatcher, DispatcherConfig, LeastInFlight, LoadBalancer, P2cEwma, PickRequest, Rendezvous,
    RoundRobin,
};
use mini_platform_core::domain::{ClientId, WorkerId};
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::FetchQuery;
use tokio::time::Instant;
use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};

const MEMBERS: usize = 1_000;
const PICKS: u32 = 100_000;
const ROUNDS: usize = 9;

/// Answers at once.
#[derive(Clone)]
struct AtOnce;

impl Service<()> for AtOnce {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

type Measured = PeakEwma<AtOnce, CompleteOnResponse>;

fn measured() -> Measured {
    let nanos = Duration::from_secs(10).as_nanos() as f64;
    PeakEwma::new(AtOnce, Duration::from_millis(30), nanos, CompleteOnResponse::default())
}

/// Calls a service and returns nanoseconds a call.
fn calls<S: Service<(), Error: std::fmt::Debug>>(service: &mut S) -> f64 {
    let mut context = Context::from_waker(Waker::noop());
    let started = Instant::now();
    for _ in 0..PICKS {
        while service.poll_ready(&mut context).map(Result::unwrap).is_pending() {}
        let _ = black_box(Box::pin(service.call(())).now_or_never());
    }
    nanos_each(started)
}

fn nanos_each(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e9 / f64::from(PICKS)
}

/// Returns nanoseconds a pick, without the clock.
fn picks(balancer: &dyn LoadBalancer, view: &ClusterView, client: &ClientId, count: u32) -> f64 {
    let now = Instant::now();
    let started = Instant::now();
    for _ in 0..count {
        let request = PickRequest::new(Some(client), &[], black_box(now));
        black_box(balancer.pick(view, &request).unwrap());
    }
    nanos_each(started) * f64::from(PICKS) / f64::from(count)
}

/// Returns nanoseconds a look at the clock.
fn clock() -> f64 {
    let started = Instant::now();
    for _ in 0..PICKS {
        black_box(Instant::now());
    }
    nanos_each(started)
}

/// A thousand members that have each answered at least once.
async fn warm_view(client: &ClientId) -> Arc<ClusterView> {
    let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(RoundRobin::default()));
    for number in 0..MEMBERS {
        let worker = Worker::new(
            Arc::new(MemoryEventStore::default()),
            Arc::new(MemoryAdjacencyStore::default()),
            Arc::new(MemoryFraudRegistry::default()),
        );
        dispatcher.add_member(WorkerId::new(format!("w{number}")).unwrap(), Arc::new(worker));
    }
    for _ in 0..2 * MEMBERS {
        dispatcher.fetch(&FetchQuery::Overview(client.clone())).await.unwrap();
    }
    dispatcher.view()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let client = ClientId::new("A17").unwrap();
    let view = warm_view(&client).await;
    let mut balance = Balance::new(ServiceList::new::<()>((0..MEMBERS).map(|_| measured())));
    let mut single = measured();
    let (round_robin, p2c) = (RoundRobin::default(), P2cEwma::new(1));
    let (least, rendezvous) = (LeastInFlight::default(), Rendezvous::default());
    let mut rows: [Vec<f64>; 7] = Default::default();
    calls(&mut balance);
    for _ in 0..ROUNDS {
        let [time, ours, balanced, direct, turn, all, home] = &mut rows;
        time.push(clock());
        ours.push(picks(&p2c, &view, &client, PICKS));
        balanced.push(calls(&mut balance));
        direct.push(calls(&mut single));
        turn.push(picks(&round_robin, &view, &client, PICKS));
        all.push(picks(&least, &view, &client, PICKS / 100));
        home.push(picks(&rendezvous, &view, &client, PICKS / 100));
    }
    let [time, ours, balanced, direct, turn, all, home] = rows.map(median);
    let tower = balanced - direct;
    println!("one of {MEMBERS} members, one core, ns a pick; a look at the clock takes {time:.0} more:");
    println!("  p2c_ewma         {ours:8.0}   with the clock {:.2} of tower's", (ours + time) / tower);
    println!("  tower p2c + ewma {tower:8.0}   a balanced call {balanced:.0}, a direct one {direct:.0}");
    println!("  round_robin      {turn:8.0}");
    println!("  least_in_flight  {all:8.0}   looks at every member");
    println!("  rendezvous       {home:8.0}   looks at every member");
}
