//! Workers as processes: the pipeline, and its attendance at every dispatcher.

use std::sync::{Arc, Mutex};

use mini_platform_core::Worker;
use mini_platform_core::domain::{
    EventBatch, Incarnation, IngestOutcome, JoinToken, NodeAddress, ProtocolVersion, WorkerId,
};
use mini_platform_core::error::{Fault, FaultKind, IngestError};
use mini_platform_core::port::{JoinRequest, WorkerNode};
use mini_platform_core::worker::Attendance;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::life::{Host, Life};
use super::network::MembershipLine;
use super::stores::{Stores, ids};
use super::wire::Wire;
use super::world::World;

tokio::task_local! {
    static CALL: u64;
}

/// Returns the number of the call that is worked on; 0 when there is none.
pub(crate) fn current_call() -> u64 {
    CALL.try_with(|call| *call).unwrap_or(0)
}

#[derive(Clone)]
pub(crate) struct RunningWorker {
    pub(crate) life: Arc<Life>,
    worker: Arc<Worker>,
    calls: Arc<Mutex<Vec<u64>>>,
    pub(crate) stop: CancellationToken,
}

impl RunningWorker {
    pub(crate) fn is_between_append_and_link(&self, ledger: &Ledger) -> bool {
        self.calls.lock().unwrap().iter().any(|call| ledger.is_between_append_and_link(*call))
    }
}

pub(crate) fn id(number: usize) -> WorkerId {
    WorkerId::new(Host::Worker(number).to_string()).unwrap()
}

pub(crate) fn address(number: usize) -> NodeAddress {
    NodeAddress::new(format!("http://{}:9082", Host::Worker(number))).unwrap()
}

/// Returns the number of the worker at an address.
pub(crate) fn at(address: &NodeAddress) -> Option<usize> {
    (0..=9).find(|number| self::address(*number) == *address)
}

/// Starts a worker, unless it runs.
pub(crate) fn start(world: &Arc<World>, number: usize) {
    let machine = &world.workers[number];
    let mut running = machine.running.lock().unwrap();
    if running.is_some() {
        return;
    }
    let life = Arc::new(Life::start(Host::Worker(number), machine.next_run()));
    world.note(format_args!("{life} starts"));
    let stores = Arc::new(Stores(Wire { world: Arc::clone(world), life: Arc::clone(&life) }));
    let worker = Worker::new(stores.clone(), stores.clone(), stores).with_clock(machine.clock.clone());
    let stop = CancellationToken::new();
    for dispatcher in 0..world.plan.dispatchers {
        attend(world, &life, dispatcher, stop.clone());
    }
    *running = Some(RunningWorker { life, worker: Arc::new(worker), calls: Arc::default(), stop });
}

fn attend(world: &Arc<World>, life: &Arc<Life>, dispatcher: usize, stop: CancellationToken) {
    let number = life.host.number();
    let request = JoinRequest {
        id: id(number),
        address: address(number),
        incarnation: Incarnation(life.run),
        protocol: ProtocolVersion::CURRENT,
        token: JoinToken::default(),
    };
    let line = MembershipLine { wire: Wire { world: Arc::clone(world), life: Arc::clone(life) }, dispatcher };
    let attendance = Attendance::new(Arc::new(line), request, world.chance.seed());
    let life = Arc::clone(life);
    tokio::spawn(async move { life.run(attendance.run(stop)).await });
}

/// Has a worker take a batch in, if it runs.
pub(crate) async fn serve(
    world: Arc<World>,
    number: usize,
    batch: EventBatch,
) -> Result<Vec<IngestOutcome>, IngestError> {
    let unavailable = || IngestError::from(Fault::new("worker", "be there", FaultKind::Unavailable));
    let running = world.workers[number].running.lock().unwrap().clone();
    let Some(RunningWorker { life, worker, calls, .. }) = running else { return Err(unavailable()) };
    let call = world.ledger().begin_call();
    world.note(format_args!("{life} call {call} {}", ids(&batch)));
    if batch.events().iter().any(|event| world.is_poison(event)) {
        world.meet("a worker meets poison");
        return Err(Fault::new("worker", "digest it", FaultKind::Internal).into());
    }
    calls.lock().unwrap().push(call);
    let work = CALL.scope(call, worker.ingest(&batch));
    let answer = life.run(work).await.unwrap_or_else(|| Err(unavailable()));
    calls.lock().unwrap().retain(|other| *other != call);
    answer
}
