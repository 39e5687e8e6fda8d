//! Bytes that `v1` has always had: a change that does more than add fails here.
//!
//! Printable bytes stand as they are, others are escaped.

use std::time::Duration;

use mini_platform_core::domain::{
    BranchLink, Epoch, Event, EventFilter, EventQuery, EventScreening, Incarnation, IngestOutcome,
    Interaction, JoinToken, ListEntry, ListInfo, NeighbourQuery, NodeAddress, Page, PageSize, PartyRole,
    ProtocolVersion, Recording, Screening, StoredEvent, TimeRange, Verdict, WorkerId,
};
use mini_platform_core::port::{
    FetchQuery, HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest, MembershipLease,
};
use mini_platform_core::testkit::{
    at, batch, branch, client, deposit, id, list_version, transfer, untimed_transfer, withdrawal,
};
use mini_platform_grpc::convert::{FetchRequest, event_from};
use mini_platform_grpc::v1;
use prost::Message;

fn shown(message: &impl Message) -> String {
    message.encode_to_vec().escape_ascii().to_string()
}

fn event(event: &Event) -> String {
    shown(&v1::Event::from(event))
}

fn result(outcome: &IngestOutcome) -> String {
    shown(&v1::EventResult::from(outcome))
}

fn hit(party: PartyRole) -> String {
    let entry = ListEntry::new("Eve").unwrap();
    result(&IngestOutcome::fraudulent(EventScreening::Hit { version: list_version(1), party, entry }))
}

#[test]
fn events_keep_their_form() {
    assert_eq!(
        event(&transfer("e1", "ann", "bob", 1)),
        r"\n\x02e1\x10\xe2\t\x1a\x03EUR \xc0\x84=R\n\n\x03ann\x12\x03bob"
    );
    assert_eq!(
        event(&untimed_transfer("e2", "bob", "ann", 2)),
        r"\n\x02e2\x10\xe2\t\x1a\x03EUR(\x80\x89zR\n\n\x03bob\x12\x03ann"
    );
    assert_eq!(
        event(&deposit("e3", "ann", "north", 3)),
        r"\n\x02e3\x10\xe2\t\x1a\x03EUR \xc0\x8d\xb7\x01Z\x0e\n\x03ann\x12\x05north\x18\x01"
    );
    assert_eq!(
        event(&withdrawal("e4", "ann", "north", 4)),
        r"\n\x02e4\x10\xe2\t\x1a\x03EUR \x80\x92\xf4\x01Z\x0e\n\x03ann\x12\x05north\x18\x02"
    );
}

#[test]
fn a_stored_event_and_a_batch_keep_their_form() {
    let event = transfer("e1", "ann", "bob", 1);
    let inner = r"\n\x1c\n\x02e1\x10\xe2\t\x1a\x03EUR \xc0\x84=R\n\n\x03ann\x12\x03bob";
    assert_eq!(shown(&v1::EventBatch::from(&batch([event.clone()]))), inner);
    let stored = StoredEvent { event, recorded_at: at(2) };
    assert_eq!(shown(&v1::StoredEvent::from(&stored)), format!(r"{inner}\x10\x80\x89z"));
}

#[test]
fn results_keep_their_form() {
    let version = list_version(1);
    let clear = EventScreening::Clear { version: version.clone() };
    assert_eq!(
        result(&IngestOutcome::stored(EventScreening::None { version }, None)),
        r"\x08\x01\x12\x10\n\x0c\x08\xc0\x84=\x12\x06etag-1*\x00"
    );
    assert_eq!(
        result(&IngestOutcome::duplicate(clear.clone(), None)),
        r"\x08\x02\x12\x10\n\x0c\x08\xc0\x84=\x12\x06etag-12\x00"
    );
    let recording = Recording { occurred_at: at(1), recorded_at: at(2) };
    assert_eq!(
        result(&IngestOutcome::stored(clear.clone(), recording)),
        r"\x08\x01\x12\x10\n\x0c\x08\xc0\x84=\x12\x06etag-12\x00\x1a\x08\x08\xc0\x84=\x10\x80\x89z"
    );
    assert_eq!(
        result(&IngestOutcome::conflict(clear)),
        r"\x08\x04\x12\x10\n\x0c\x08\xc0\x84=\x12\x06etag-12\x00"
    );
}

#[test]
fn hits_keep_their_form() {
    let start = r"\x08\x03\x12\x17\n\x0c\x08\xc0\x84=\x12\x06etag-1:\x07\x08";
    let roles = [PartyRole::Sender, PartyRole::Receiver, PartyRole::Depositor, PartyRole::Withdrawer];
    for (role, number) in roles.into_iter().zip(1..) {
        assert_eq!(hit(role), format!(r"{start}\x0{number}\x12\x03Eve"));
    }
}

#[test]
fn the_calls_of_a_worker_keep_their_form() {
    let range = TimeRange { from: Some(at(0)), to: Some(at(1)) };
    let size = PageSize::new(7).unwrap();
    let sent = EventQuery::new(client("ann"), EventFilter::Sent).with_range(range).with_size(size);
    let branches = NeighbourQuery::new(client("ann")).with_size(size);
    let branches = branches.clone().with_token(&branches.token_after("north")).unwrap();
    for (query, form) in [
        (FetchQuery::Events(sent), r#"\n\x03ann\x10\x01\x1a\x06\x08\x00\x10\xc0\x84=\"\x02\x08\x07"#),
        (
            FetchQuery::Events(EventQuery::new(client("ann"), EventFilter::Withdrawals)),
            r#"\n\x03ann\x10\x02\x1a\x00\"\x02\x08d"#,
        ),
        (FetchQuery::Branches(branches), r"\n\x03ann\x12\x17\x08\x07\x12\x13Ack9Yk4YIpLMbm9ydGg"),
        (FetchQuery::Overview(client("ann")), r"\n\x03ann"),
        (FetchQuery::Event(id("e1")), r"\n\x02e1"),
        (FetchQuery::Check(client("ann")), r"\n\x03ann"),
        (FetchQuery::ListInForce, ""),
    ] {
        assert_eq!(asked(&query), form, "{query:?}");
    }
}

fn asked(query: &FetchQuery) -> String {
    match FetchRequest::asking(query).unwrap() {
        FetchRequest::Transactions(request) => shown(&request),
        FetchRequest::Operations(request) => shown(&request),
        FetchRequest::Interactions(request) => shown(&request),
        FetchRequest::Branches(request) => shown(&request),
        FetchRequest::Client(request) => shown(&request),
        FetchRequest::Event(request) => shown(&request),
        FetchRequest::FraudList(request) => shown(&request),
        FetchRequest::CheckName(request) => shown(&request),
        other => panic!("{other:?} has no form"),
    }
}

#[test]
fn the_answers_of_a_worker_keep_their_form() {
    let next = Some("AQ".parse().unwrap());
    let interaction = Interaction::new(client("bob"), Some(at(1)), Some(at(2))).unwrap();
    let interactions = Page { items: vec![interaction], next };
    assert_eq!(
        shown(&v1::InteractionPage::from(&interactions)),
        r"\n\r\n\x03bob\x10\xc0\x84=\x18\x80\x89z\x12\x02AQ"
    );
    let link = BranchLink { branch: branch("north"), last_at: at(1) };
    assert_eq!(shown(&v1::BranchLink::from(&link)), r"\n\x05north\x10\xc0\x84=");
    let list = ListInfo {
        version: list_version(1),
        entries: 3,
        source: "file:l".to_owned(),
        loaded_at: at(1),
        confirmed_at: at(2),
    };
    assert_eq!(
        shown(&v1::FraudListInfo::from(&list)),
        r"\n\x0c\x08\xc0\x84=\x12\x06etag-1\x10\x03\x1a\x06file:l \xc0\x84=(\x80\x89z"
    );
    let entry = ListEntry::new("Eve").unwrap();
    let hit = Screening { version: list_version(1), verdicts: vec![Verdict::Hit { entry }] };
    assert_eq!(
        shown(&v1::CheckNameResponse::from(&hit)),
        r"\n\x0c\x08\xc0\x84=\x12\x06etag-1\x1a\x05\n\x03Eve"
    );
}

#[test]
fn the_calls_of_a_cluster_keep_their_form() {
    let worker = WorkerId::new("w1").unwrap();
    let request = JoinRequest {
        id: worker.clone(),
        address: NodeAddress::new("http://h:1").unwrap(),
        incarnation: Incarnation(7),
        protocol: ProtocolVersion(1),
        token: JoinToken::new("s"),
    };
    assert_eq!(
        shown(&v1::JoinRequest::from(&request)),
        r"\n\x02w1\x12\nhttp://h:1\x19\x07\x00\x00\x00\x00\x00\x00\x00 \x01*\x01s"
    );
    assert_eq!(
        shown(&v1::IdentifyResponse::from((&worker, Incarnation(7)))),
        r"\n\x02w1\x11\x07\x00\x00\x00\x00\x00\x00\x00\x18\x01"
    );
    let lease = MembershipLease {
        epoch: Epoch(3),
        ttl: Duration::from_secs(5),
        heartbeat_interval: Duration::from_millis(100),
    };
    assert_eq!(shown(&v1::JoinResponse::from(&JoinAnswer::Joined(lease))), r"\n\x07\x08\x88\'\x10d\x18\x03");
    assert_eq!(shown(&v1::HeartbeatRequest::from((&worker, Epoch(3)))), r"\n\x02w1\x10\x03");
    assert_eq!(shown(&v1::LeaveRequest::from((&worker, Epoch(3)))), r"\n\x02w1\x10\x03");
    assert_eq!(shown(&v1::HeartbeatResponse::from(HeartbeatAnswer::Unknown)), r"\x08\x02");
}

#[test]
fn a_rejection_to_join_keeps_its_form() {
    let shown_reason = |rejection| {
        let mut message = v1::JoinResponse::from(&JoinAnswer::Rejected(rejection));
        if let Some(v1::join_response::Answer::Rejected(rejected)) = &mut message.answer {
            rejected.detail.clear();
        }
        shown(&message)
    };
    let supported = ProtocolVersion(1);
    assert_eq!(shown_reason(JoinRejection::ClusterFull { max_workers: 9 }), r"\x12\x04\x08\x01\x18\t");
    assert_eq!(shown_reason(JoinRejection::ProtocolVersion { supported }), r"\x12\x04\x08\x02 \x01");
    assert_eq!(shown_reason(JoinRejection::Token), r"\x12\x02\x08\x03");
    assert_eq!(shown_reason(JoinRejection::IdTaken), r"\x12\x02\x08\x04");
    let not_dialable = JoinRejection::NotDialable { reason: "why".to_owned() };
    assert_eq!(shown_reason(not_dialable), r"\x12\x07\x08\x05*\x03why");
    assert_eq!(shown_reason(JoinRejection::ShuttingDown), r"\x12\x02\x08\x06");
}

#[test]
fn a_submission_and_its_result_keep_their_form() {
    assert_eq!(
        shown(&v1::Submission::from(&transfer("e1", "ann", "bob", 1))),
        r"\n\x02e1\x10\xe2\t\x1a\x03EUR \xc0\x84=R\n\n\x03ann\x12\x03bob"
    );
    let submission = v1::Submission { id: "e1".to_owned(), ..v1::Submission::default() };
    let rejected = event_from(submission, "EUR".parse().unwrap(), at(1), || None).unwrap_err();
    let mut result = v1::SubmissionResult::from(rejected);
    if let Some(v1::submission_result::Answer::Rejection(rejection)) = &mut result.answer {
        rejection.detail = "why".to_owned();
    }
    assert_eq!(shown(&result), r"\n\x02e1\x1a(\n\rinvalid_field\x12\x12amount_minor_units\x1a\x03why");
}
