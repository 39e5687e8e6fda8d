//! The ways between clients, dispatchers and workers.

use std::sync::Arc;

use async_trait::async_trait;
use mini_platform_core::domain::{Epoch, EventBatch, Incarnation, IngestOutcome, NodeAddress, WorkerId};
use mini_platform_core::error::{Fault, FaultKind, FetchError, IngestError};
use mini_platform_core::port::{
    Dialled, FetchAnswer, FetchQuery, HeartbeatAnswer, JoinAnswer, JoinRequest, Membership, WorkerDialer,
    WorkerNode,
};

use super::stores::ids;
use super::weather::Place;
use super::wire::Wire;
use super::worker;

fn unavailable(whom: &'static str) -> Fault {
    Fault::new(whom, "be there", FaultKind::Unavailable)
}

/// A dispatcher's way to the worker at an address, whichever run of it is there.
pub(crate) struct WorkerLine {
    wire: Wire,
    number: usize,
}

/// Takes note of a try for as long as it is under way.
struct Try<'a>(&'a Wire, String);

impl<'a> Try<'a> {
    fn begin(wire: &'a Wire, batch: &EventBatch) -> Self {
        let batch = ids(batch);
        wire.world.begin_try(&wire.life, &batch);
        Self(wire, batch)
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.0.world.end_try(&self.0.life, &self.1);
    }
}

#[async_trait]
impl WorkerNode for WorkerLine {
    async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
        let _try = Try::begin(&self.wire, batch);
        let about = format!("{} {}", worker::id(self.number), ids(batch));
        let (world, number, sent) = (Arc::clone(&self.wire.world), self.number, batch.clone());
        let effect = move |_| worker::serve(Arc::clone(&world), number, sent.clone());
        let answer = self.wire.call(Place::Ingest, about, effect).await;
        if let Ok(outcomes) = &answer
            && self.wire.world.ledger().finish(&self.wire.life, batch, outcomes)
        {
            self.wire.world.meet("an outage ends");
        }
        answer
    }

    async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
        let _ = query;
        Err(unavailable("worker").into())
    }
}

/// How a dispatcher reaches workers.
pub(crate) struct Dialer(pub(crate) Wire);

#[async_trait]
impl WorkerDialer for Dialer {
    async fn dial(&self, address: &NodeAddress) -> Result<Dialled, Fault> {
        let number = worker::at(address).ok_or_else(|| unavailable("worker"))?;
        let (world, wire) = (Arc::clone(&self.0.world), self.0.clone());
        let effect = move |_| {
            let running = world.workers[number].running.lock().unwrap().clone();
            let dialled = running.map(|running| Dialled {
                id: worker::id(number),
                incarnation: Incarnation(running.life.run),
                node: Arc::new(WorkerLine { wire: wire.clone(), number }),
            });
            std::future::ready(dialled.ok_or_else(|| unavailable("worker")))
        };
        self.0.call(Place::Dial, worker::id(number), effect).await
    }
}

/// A worker's way to a dispatcher, whichever run of it is there.
pub(crate) struct MembershipLine {
    pub(crate) wire: Wire,
    pub(crate) dispatcher: usize,
}

impl MembershipLine {
    async fn ask<T: Send + 'static, F: Future<Output = Result<T, Fault>> + Send + 'static>(
        &self,
        what: &str,
        question: impl Fn(Arc<dyn Membership>) -> F + Clone + Send + Sync + 'static,
    ) -> Result<T, Fault> {
        let (world, number) = (Arc::clone(&self.wire.world), self.dispatcher);
        let about = format!("d{number} {what}");
        let effect = move |_| {
            let running = world.dispatchers[number].running.lock().unwrap().clone();
            let question = question.clone();
            async move {
                let running = running.ok_or_else(|| unavailable("dispatcher"))?;
                let answer = running.life.run(question(running.cluster)).await;
                answer.unwrap_or_else(|| Err(unavailable("dispatcher")))
            }
        };
        self.wire.call(Place::Attend, about, effect).await
    }
}

#[async_trait]
impl Membership for MembershipLine {
    async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, Fault> {
        let request = request.clone();
        let question = move |cluster: Arc<dyn Membership>| {
            let request = request.clone();
            async move { cluster.join(&request).await }
        };
        let answer = self.ask("join", question).await;
        if let Ok(JoinAnswer::Joined(_)) = &answer {
            self.wire.world.note(format_args!("{} is a member of d{}", self.wire.life, self.dispatcher));
        }
        answer
    }

    async fn heartbeat(&self, id: &WorkerId, epoch: Epoch) -> Result<HeartbeatAnswer, Fault> {
        let id = id.clone();
        let question = move |cluster: Arc<dyn Membership>| {
            let id = id.clone();
            async move { cluster.heartbeat(&id, epoch).await }
        };
        self.ask("heartbeat", question).await
    }

    async fn leave(&self, id: &WorkerId, epoch: Epoch) -> Result<(), Fault> {
        let id = id.clone();
        let question = move |cluster: Arc<dyn Membership>| {
            let id = id.clone();
            async move { cluster.leave(&id, epoch).await }
        };
        self.ask("leave", question).await
    }
}
