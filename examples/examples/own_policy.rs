//! Your own balancing policy: prefer the workers of the own zone, and take others only when there is none.
//!
//! A policy sees the members of one moment and picks one. It is synchronous, and need not care who is ejected,
//! leaving, or was tried before: `Candidates` leaves these out.

use std::sync::Arc;

use mini_platform_core::Worker;
use mini_platform_core::dispatcher::{
    Candidates, ClusterView, Dispatcher, DispatcherConfig, LoadBalancer, MemberIndex, PickRequest,
};
use mini_platform_core::domain::WorkerId;
use mini_platform_core::memory::{MemoryAdjacencyStore, MemoryEventStore, MemoryFraudRegistry};
use mini_platform_core::port::FetchQuery;
use tokio::time::Instant;

/// Of the members whose id starts with the zone the one that holds the fewest requests; else the same of all.
#[derive(Debug)]
struct OwnZoneFirst {
    zone: &'static str,
}

impl LoadBalancer for OwnZoneFirst {
    fn pick(&self, view: &ClusterView, request: &PickRequest<'_>) -> Option<MemberIndex> {
        let candidates = Candidates::new(view, request).starting_at(0);
        let far = |id: &WorkerId| !id.as_str().starts_with(self.zone);
        candidates.min_by_key(|(_, member)| (far(member.id()), member.in_flight())).map(|(index, _)| index)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(OwnZoneFirst { zone: "prague-" }));
    for id in ["brno-1", "prague-1", "prague-2"] {
        let worker = Worker::new(
            Arc::new(MemoryEventStore::default()),
            Arc::new(MemoryAdjacencyStore::default()),
            Arc::new(MemoryFraudRegistry::default()),
        );
        dispatcher.add_member(id.parse()?, Arc::new(worker));
    }
    for _ in 0..10 {
        dispatcher.fetch(&FetchQuery::Overview("Ann".parse()?)).await?;
    }
    for member in dispatcher.view().members() {
        println!(
            "{}: {} requests, {}",
            member.id(),
            member.finished(),
            member.state(Instant::now()).as_str()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Arc, Dispatcher, DispatcherConfig, LoadBalancer, OwnZoneFirst, PickRequest};
    use mini_platform_core::mock::MockWorkerNode;
    use tokio::time::Instant;

    #[tokio::test]
    async fn another_zone_is_taken_only_when_the_own_one_was_tried() {
        let policy = OwnZoneFirst { zone: "prague-" };
        let dispatcher = Dispatcher::new(DispatcherConfig::default(), Arc::new(OwnZoneFirst { zone: "" }));
        for id in ["brno-1", "prague-1"] {
            dispatcher.add_member(id.parse().expect("an id"), Arc::new(MockWorkerNode::new()));
        }
        let view = dispatcher.view();
        let picked = |tried: &[_]| policy.pick(&view, &PickRequest::new(None, tried, Instant::now()));
        let first = picked(&[]).expect("a member");
        assert_eq!(view.get(first).map(|member| member.id().as_str()), Some("prague-1"));
        let second = picked(&[first]).expect("a member");
        assert_eq!(view.get(second).map(|member| member.id().as_str()), Some("brno-1"));
        assert_eq!(picked(&[first, second]), None);
    }
}
