//! Bytes that `v1` has always had: a change that does more than add fails here.
//!
//! Printable bytes stand as they are, others are escaped.

use mini_platform_core::domain::{
    Event, EventScreening, IngestOutcome, ListEntry, Outcome, PartyRole, StoredEvent,
};
use mini_platform_core::testkit::{at, batch, deposit, list_version, transfer, untimed_transfer, withdrawal};
use mini_platform_grpc::v1;
use prost::Message;

fn shown(message: &impl Message) -> String {
    message.encode_to_vec().escape_ascii().to_string()
}

fn event(event: &Event) -> String {
    shown(&v1::Event::from(event))
}

fn result(outcome: Outcome, screening: EventScreening) -> String {
    shown(&v1::EventResult::from(&IngestOutcome { outcome, screening }))
}

fn hit(party: PartyRole) -> String {
    let entry = ListEntry::new("Eve").unwrap();
    result(Outcome::Fraudulent, EventScreening::Hit { version: list_version(1), party, entry })
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
        result(Outcome::Stored, EventScreening::None { version }),
        r"\x08\x01\x12\x10\n\x0c\x08\xc0\x84=\x12\x06etag-1*\x00"
    );
    assert_eq!(
        result(Outcome::Duplicate, clear.clone()),
        r"\x08\x02\x12\x10\n\x0c\x08\xc0\x84=\x12\x06etag-12\x00"
    );
    assert_eq!(result(Outcome::Conflict, clear), r"\x08\x04\x12\x10\n\x0c\x08\xc0\x84=\x12\x06etag-12\x00");
}

#[test]
fn hits_keep_their_form() {
    let start = r"\x08\x03\x12\x17\n\x0c\x08\xc0\x84=\x12\x06etag-1:\x07\x08";
    let roles = [PartyRole::Sender, PartyRole::Receiver, PartyRole::Depositor, PartyRole::Withdrawer];
    for (role, number) in roles.into_iter().zip(1..) {
        assert_eq!(hit(role), format!(r"{start}\x0{number}\x12\x03Eve"));
    }
}
