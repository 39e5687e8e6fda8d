//! Random joins, heartbeats, leaves and pauses against a model of a few lines.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use mini_platform_core::domain::{Epoch, NodeAddress, WorkerId};
use mini_platform_core::port::{HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, Membership};
use mini_platform_core::testkit::membership::{MembershipStage, join_request};
use tokio::time::{Instant, advance};

use super::support::{LEASE, stage, view};

const MAX_WORKERS: usize = 4;
const IDS: usize = 7;
const STEPS: usize = 150;

#[derive(Debug, Clone)]
struct Member {
    address: NodeAddress,
    incarnation: u64,
    epoch: Epoch,
    ends_at: Instant,
}

#[derive(Debug, Default)]
struct Model {
    members: BTreeMap<WorkerId, Member>,
    last_epoch: u64,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Renewed(Epoch),
    New,
    IdTaken,
    Full,
}

impl Model {
    fn expire(&mut self) {
        self.members.retain(|_, member| member.ends_at > Instant::now());
    }

    fn expected(&self, request: &JoinRequest) -> Expected {
        let others = |member: &Member| member.address == request.address;
        match self.members.get(&request.id) {
            Some(member) if member.address != request.address => Expected::IdTaken,
            Some(member) if member.incarnation == request.incarnation.0 => Expected::Renewed(member.epoch),
            None if !self.members.values().any(others) && self.members.len() == MAX_WORKERS => Expected::Full,
            _ => Expected::New,
        }
    }

    fn join(&mut self, request: &JoinRequest, epoch: Epoch) {
        self.members.retain(|_, member| member.address != request.address);
        let (address, incarnation) = (request.address.clone(), request.incarnation.0);
        let member = Member { address, incarnation, epoch, ends_at: Instant::now() + LEASE };
        self.members.insert(request.id.clone(), member);
    }
}

struct Run {
    stage: MembershipStage,
    model: Model,
    rng: Rng,
}

impl Run {
    fn request(&mut self) -> JoinRequest {
        let (id, address) = (self.rng.usize(..IDS), self.rng.usize(..IDS));
        // Mostly each at its own address.
        let address = if self.rng.u8(..4) > 0 { id } else { address };
        join_request(&format!("w{id}"), &format!("http://10.0.0.{address}:9082"), self.rng.u64(..2))
    }

    /// A membership to speak for: a live one, or one that never was.
    fn membership(&mut self) -> (WorkerId, Epoch) {
        let nth = self.rng.usize(..IDS);
        match self.model.members.iter().nth(nth) {
            Some((id, member)) if self.rng.u8(..4) > 0 => (id.clone(), member.epoch),
            _ => (self.request().id, Epoch(100 + self.rng.u64(..=self.model.last_epoch.saturating_sub(100)))),
        }
    }

    async fn join(&mut self) {
        let request = self.request();
        self.stage.workers.listen(&request);
        let expected = self.model.expected(&request);
        let answer = self.stage.ask(&request).await;
        let JoinAnswer::Joined(lease) = answer else {
            match expected {
                Expected::IdTaken => assert_eq!(answer, JoinAnswer::Rejected(JoinRejection::IdTaken)),
                other => {
                    let full = JoinRejection::ClusterFull { max_workers: MAX_WORKERS };
                    assert_eq!((answer, other), (JoinAnswer::Rejected(full), Expected::Full));
                }
            }
            return;
        };
        if expected == Expected::New {
            assert!(lease.epoch.0 > self.model.last_epoch, "epochs go upwards");
            self.model.last_epoch = lease.epoch.0;
        } else {
            assert_eq!(expected, Expected::Renewed(lease.epoch));
        }
        self.model.join(&request, lease.epoch);
    }

    async fn heartbeat(&mut self) {
        let (id, epoch) = self.membership();
        let member = self.model.members.get_mut(&id).filter(|member| member.epoch == epoch);
        let expected = match member {
            Some(member) => {
                member.ends_at = Instant::now() + LEASE;
                HeartbeatAnswer::Renewed
            }
            None => HeartbeatAnswer::Unknown,
        };
        assert_eq!(self.stage.cluster.heartbeat(&id, epoch).await.unwrap(), expected);
    }

    async fn leave(&mut self) {
        let (id, epoch) = self.membership();
        self.stage.cluster.leave(&id, epoch).await.unwrap();
        self.model.members.retain(|other, member| *other != id || member.epoch != epoch);
    }

    async fn step(&mut self) {
        match self.rng.u8(..10) {
            0..4 => self.join().await,
            4..7 => self.heartbeat().await,
            7 => self.leave().await,
            _ => advance(Duration::from_millis(self.rng.u64(..3000))).await,
        }
        self.model.expire();
    }
}

#[tokio::test(start_paused = true)]
async fn any_sequence_of_calls_leaves_the_members_of_the_model() {
    let mut fullest = 0;
    for seed in 0..300 {
        let mut run = Run { stage: stage(MAX_WORKERS), model: Model::default(), rng: Rng::with_seed(seed) };
        for step in 0..STEPS {
            run.step().await;
            assert!(run.stage.dispatcher.workers().len() <= MAX_WORKERS);
            let expected: Vec<_> =
                run.model.members.iter().map(|(id, member)| (id.clone(), member.epoch)).collect();
            assert_eq!(view(&run.stage), expected, "seed {seed}, step {step}");
            fullest = fullest.max(expected.len());
        }
    }
    assert_eq!(fullest, MAX_WORKERS, "the limit was met");
}
