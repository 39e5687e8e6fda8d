//! Calls from a process to whatever is outside of it.

use std::fmt::Display;
use std::future::pending;
use std::sync::Arc;

use mini_platform_core::error::{Fault, FaultKind};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::life::Life;
use super::weather::{Fate, Place, Way};
use super::world::World;

/// How much of a call takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    Part,
}

/// Where the calls of one life go out.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
}

impl Wire {
    /// Calls the outside. The effect is worked on apart from the caller, who may stop waiting or crash meanwhile.
    pub(crate) async fn call<T, E, F>(
        &self,
        place: Place,
        about: impl Display,
        effect: impl Fn(Extent) -> F + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let Self { world, life } = self;
        if life.is_over() {
            return pending().await;
        }
        let fate = world.fate(place);
        if fate.way != Way::Pass {
            world.meet(format!("{place} {}", fate.way));
            world.history.note(format_args!("{life} {place} {about} {}", fate.way));
        }
        if fate.way == Way::CrashBefore {
            world.crash(life);
            return pending().await;
        }
        let (answer, answered) = oneshot::channel();
        let other_side = OtherSide { wire: self.clone(), place, fate };
        let working = tokio::spawn(other_side.work(effect, answer));
        let _given_up = GivenUp(fate.is_cancelled.then(|| working.abort_handle()));
        let waiting = async {
            match answered.await {
                Ok(answer) => answer,
                Err(_) => pending().await,
            }
        };
        life.or_never(waiting).await
    }
}

/// Ends the work on the other side when it is dropped.
struct GivenUp(Option<AbortHandle>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(work) = &self.0 {
            work.abort();
        }
    }
}

struct OtherSide {
    wire: Wire,
    place: Place,
    fate: Fate,
}

impl OtherSide {
    async fn work<T, E, F>(
        self,
        effect: impl Fn(Extent) -> F + Send + 'static,
        answer: oneshot::Sender<Result<T, E>>,
    ) where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let Self { wire: Wire { world, life }, place, fate } = self;
        let fault = |kind: FaultKind| Err(E::from(Fault::new("simulation", "do as it should", kind)));
        sleep(fate.there).await;
        if place.is_beside() && life.is_over() {
            // What was on its way to the disk at the crash is lost, or a part of it is there.
            if world.chance.hits(0.5) {
                let _ = effect(Extent::Part).await;
            }
            return;
        }
        let end = match fate.way {
            Way::Fail(kind) => fault(kind),
            Way::Drop => return,
            Way::Part(kind) => {
                let _ = effect(Extent::Part).await;
                fault(kind)
            }
            Way::LoseAnswer(kind) => {
                let _ = effect(Extent::Whole).await;
                fault(kind)
            }
            Way::Hang => {
                let _ = effect(Extent::Whole).await;
                return;
            }
            Way::CrashAfter => {
                let _ = effect(Extent::Whole).await;
                return world.crash(&life);
            }
            Way::Twice => {
                let late = (world.chance.millis(0..=1_500), effect(Extent::Whole));
                tokio::spawn(async move {
                    sleep(late.0).await;
                    let _ = late.1.await;
                });
                effect(Extent::Whole).await
            }
            Way::Pass | Way::Slow | Way::CrashBefore => effect(Extent::Whole).await,
        };
        sleep(fate.back).await;
        let _ = answer.send(end);
    }
}
