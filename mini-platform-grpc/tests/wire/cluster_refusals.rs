//! What breaks a rule of the calls of a cluster is refused by the name of its field.

use std::time::Duration;

use mini_platform_core::domain::{
    Epoch, Incarnation, InvalidId, InvalidNodeAddress, JoinToken, NodeAddress, ProtocolVersion, WorkerId,
};
use mini_platform_core::port::{HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, MembershipLease};
use mini_platform_grpc::v1::join_response::{Answer, Joined, Rejected};
use mini_platform_grpc::{Problem, v1};

use crate::refusals::each_is_refused;

fn join_request() -> JoinRequest {
    JoinRequest {
        id: WorkerId::new("w1").unwrap(),
        address: NodeAddress::new("http://127.0.0.1:9082").unwrap(),
        incarnation: Incarnation(7),
        protocol: ProtocolVersion::CURRENT,
        token: JoinToken::new("secret"),
    }
}

fn lease(ttl: Duration, heartbeat_interval: Duration) -> JoinAnswer {
    JoinAnswer::Joined(MembershipLease { epoch: Epoch(3), ttl, heartbeat_interval })
}

fn joined(response: &mut v1::JoinResponse) -> &mut Joined {
    match &mut response.answer {
        Some(Answer::Joined(joined)) => joined,
        other => panic!("expected a lease, got {other:?}"),
    }
}

fn rejected(response: &mut v1::JoinResponse) -> &mut Rejected {
    match &mut response.answer {
        Some(Answer::Rejected(rejected)) => rejected,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

#[test]
fn a_broken_wish_to_join_is_refused() {
    each_is_refused::<v1::JoinRequest, JoinRequest>(
        &(&join_request()).into(),
        vec![
            (|request| request.worker_id.clear(), "worker_id", InvalidId::Empty.into()),
            (|request| request.worker_id = "ž".into(), "worker_id", InvalidId::NotPrintableAscii.into()),
            (|request| request.address.clear(), "address", InvalidNodeAddress.into()),
            (|request| request.address = "https://w:1".into(), "address", InvalidNodeAddress.into()),
            (
                |request| request.address = format!("http://{}:1", "a".repeat(300)),
                "address",
                InvalidNodeAddress.into(),
            ),
            (|request| request.protocol_version = 0, "protocol_version", Problem::Zero),
        ],
    );
}

#[test]
fn a_token_of_any_length_is_taken_and_matches_only_itself() {
    let mut message = v1::JoinRequest::from(&join_request());
    assert!(JoinRequest::try_from(message.clone()).unwrap().token.matches(&JoinToken::new("secret")));
    message.token = "s".repeat(10_000);
    let long = JoinRequest::try_from(message).unwrap().token;
    assert!(!long.matches(&long.clone()));
}

#[test]
fn a_lease_that_cannot_be_kept_is_refused() {
    const DAY: Duration = Duration::from_hours(24);
    let five_seconds = || Problem::Duration { max: Duration::from_secs(5) };
    each_is_refused::<v1::JoinResponse, JoinAnswer>(
        &(&lease(Duration::from_secs(5), Duration::from_secs(1))).into(),
        vec![
            (|answer| answer.answer = None, "answer", Problem::Missing),
            (|answer| joined(answer).lease_millis = 0, "joined.lease_millis", Problem::Duration { max: DAY }),
            (
                |answer| joined(answer).lease_millis = 24 * 60 * 60 * 1_000 + 1,
                "joined.lease_millis",
                Problem::Duration { max: DAY },
            ),
            (
                |answer| joined(answer).lease_millis = u64::MAX,
                "joined.lease_millis",
                Problem::Duration { max: DAY },
            ),
            (
                |answer| joined(answer).heartbeat_interval_millis = 0,
                "joined.heartbeat_interval_millis",
                five_seconds(),
            ),
            (
                |answer| joined(answer).heartbeat_interval_millis = 5_001,
                "joined.heartbeat_interval_millis",
                five_seconds(),
            ),
        ],
    );
}

#[test]
fn a_lease_of_less_than_a_millisecond_is_sent_as_one() {
    let mut message = v1::JoinResponse::from(&lease(Duration::from_micros(20), Duration::from_micros(10)));
    assert_eq!(joined(&mut message).lease_millis, 1);
    assert_eq!(JoinAnswer::try_from(message), Ok(lease(Duration::from_millis(1), Duration::from_millis(1))));
}

#[test]
fn a_rejection_without_a_known_reason_is_refused() {
    each_is_refused::<v1::JoinResponse, JoinAnswer>(
        &(&JoinAnswer::Rejected(JoinRejection::Token)).into(),
        vec![
            (|answer| rejected(answer).reason = 0, "rejected.reason", Problem::Unspecified),
            (|answer| rejected(answer).reason = 7, "rejected.reason", Problem::UnknownEnumValue(7)),
        ],
    );
}

#[test]
fn a_rejection_says_what_to_do_and_its_text_has_an_end() {
    let mut message =
        v1::JoinResponse::from(&JoinAnswer::Rejected(JoinRejection::ClusterFull { max_workers: 3 }));
    assert_eq!(rejected(&mut message).detail, "the cluster is full: it has 3 workers (cluster.max_workers)");
    let reason = "x\n".repeat(10_000);
    let mut message = v1::JoinResponse::from(&JoinAnswer::Rejected(JoinRejection::NotDialable { reason }));
    let Rejected { detail, dial_failure, .. } = rejected(&mut message).clone();
    for text in [detail, dial_failure] {
        assert!(text.len() <= 1024 && !text.contains('\n'));
    }
    rejected(&mut message).dial_failure = "y\n".repeat(10_000);
    match JoinAnswer::try_from(message) {
        Ok(JoinAnswer::Rejected(JoinRejection::NotDialable { reason })) => assert!(reason.len() <= 1024),
        other => panic!("expected a rejection, got {other:?}"),
    }
}

#[test]
fn a_broken_heartbeat_is_refused() {
    each_is_refused::<v1::HeartbeatRequest, (WorkerId, Epoch)>(
        &(&WorkerId::LOCAL, Epoch(1)).into(),
        vec![(|request| request.worker_id.clear(), "worker_id", InvalidId::Empty.into())],
    );
    each_is_refused::<v1::LeaveRequest, (WorkerId, Epoch)>(
        &(&WorkerId::LOCAL, Epoch(1)).into(),
        vec![(|request| request.worker_id = "a b".into(), "worker_id", InvalidId::NotPrintableAscii.into())],
    );
    each_is_refused::<v1::HeartbeatResponse, HeartbeatAnswer>(
        &HeartbeatAnswer::Renewed.into(),
        vec![(|answer| answer.status = 0, "status", Problem::Unspecified)],
    );
}
