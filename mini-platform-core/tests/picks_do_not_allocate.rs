//! Picking a member allocates nothing, whatever the policy and the state of the members.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::dispatcher::{
    Dispatcher, DispatcherConfig, LeastInFlight, LoadBalancer, MemberIndex, P2cEwma, PickRequest, Rendezvous,
    RoundRobin,
};
use mini_platform_core::domain::{ClientId, EventBatch, IngestOutcome, WorkerId};
use mini_platform_core::error::{Fault, FaultKind, FetchError, IngestError};
use mini_platform_core::port::{FetchAnswer, FetchQuery, WorkerNode};
use tokio::time::Instant;

const MEMBERS: usize = 1_000;

/// Answers that there is no fraud list, or fails.
struct Worker {
    fails: bool,
}

#[async_trait]
impl WorkerNode for Worker {
    async fn ingest(&self, _: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        Ok(Vec::new())
    }

    async fn fetch(&self, _: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        match self.fails {
            true => Err(Fault::new("worker", "answer", FaultKind::Internal).into()),
            false => Ok(FetchAnswer::ListInForce(None)),
        }
    }
}

/// A thousand members, every third of them ejected.
async fn dispatcher() -> Dispatcher {
    let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(RoundRobin::default()));
    for number in 0..MEMBERS {
        let id = WorkerId::new(format!("w{number:03}")).unwrap();
        dispatcher.add_member(id, Arc::new(Worker { fails: number % 3 == 0 }));
    }
    for _ in 0..8 * MEMBERS {
        let _ = dispatcher.fetch(&FetchQuery::ListInForce).await;
    }
    dispatcher
}

#[tokio::test(start_paused = true)]
async fn picks_do_not_allocate() {
    let view = dispatcher().await.view();
    let now = Instant::now();
    let ejected = view.members().iter().filter(|member| member.is_ejected(now)).count();
    assert!(ejected > MEMBERS / 4, "{ejected}");
    let client = ClientId::new("ann").unwrap();
    let tried: Vec<Vec<MemberIndex>> =
        [0, 1, 2, MEMBERS - 1, MEMBERS].map(|count| (0..count).map(MemberIndex).collect()).to_vec();
    let policies: [(&str, Box<dyn LoadBalancer>); 4] = [
        ("round_robin", Box::new(RoundRobin::default())),
        ("least_in_flight", Box::new(LeastInFlight::default())),
        ("p2c_ewma", Box::new(P2cEwma::new(1))),
        ("rendezvous", Box::new(Rendezvous::default())),
    ];
    for (name, policy) in &policies {
        for tried in &tried {
            for client in [None, Some(&client)] {
                let mut picked = 0;
                let counted = allocation_counter::measure(|| {
                    for millis in 0..20 {
                        let request = PickRequest::new(client, tried, now + Duration::from_millis(millis));
                        picked += usize::from(policy.pick(&view, &request).is_some());
                    }
                });
                assert_eq!(counted.count_total, 0, "{name} with {} tried", tried.len());
                assert_eq!(picked, if tried.len() == MEMBERS { 0 } else { 20 }, "{name}");
            }
        }
    }
}
