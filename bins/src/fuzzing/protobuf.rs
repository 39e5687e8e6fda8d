//! The messages of gRPC, as a peer sends them.
//!
//! The laws:
//! - a message that is read is the same when it is written and read again;
//! - what a message is taken for is the same when it is sent on, and then so is the message;
//! - a message is refused in words that hold nothing of it but an event's id.
//!
//! The first byte chooses the message by its place in [`MESSAGES`].

use mini_platform_core::domain::{
    Epoch, Event, EventBatch, EventId, Incarnation, IngestOutcome, ProtocolVersion, WorkerId,
};
use mini_platform_core::port::{Clock, FetchAnswer, FetchQuery, HeartbeatAnswer, JoinAnswer, JoinRequest};
use mini_platform_grpc::convert::{FetchRequest, event_from};
use mini_platform_grpc::{ConvertError, v1};
use prost::Message;

use super::StandingClock;

/// The longest text for people that is sent, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Lists messages by what they are taken for, and how that is sent.
macro_rules! messages {
    ($($message:ident as $value:ty => $sent:expr;)+) => {
        &[$((stringify!($message), |bytes| round_trip::<v1::$message, $value>(bytes, $sent, PartialEq::eq)),)+
          ("JoinRequest", joins), ("IngestRequest", submissions)]
    };
}

/// Makes the request that asks a query.
macro_rules! asked {
    ($kind:ident) => {
        |query| match FetchRequest::asking(query) {
            Some(FetchRequest::$kind(request)) => request,
            _ => panic!("another request asks this query"),
        }
    };
}

/// Makes the response to a query.
fn answered<M: for<'a> TryFrom<&'a FetchAnswer>>(answer: &FetchAnswer) -> M {
    M::try_from(answer).unwrap_or_else(|_| panic!("another response has this answer"))
}

/// Checks the bytes of one message, and returns those in which it is sent on, if it is taken.
type Check = fn(&[u8]) -> Option<Vec<u8>>;

/// Every message that is taken from outside.
pub const MESSAGES: &[(&str, Check)] = messages! {
    Event as Event => |event| event.into();
    EventBatch as EventBatch => |batch| batch.into();
    WorkerServiceIngestRequest as EventBatch => |batch| batch.into();
    WorkerServiceIngestResponse as Vec<IngestOutcome> => |outcomes| outcomes.as_slice().into();
    IdentifyResponse as (WorkerId, Incarnation, ProtocolVersion) => identified;
    FetchTransactionsRequest as FetchQuery => asked!(Transactions);
    FetchOperationsRequest as FetchQuery => asked!(Operations);
    FetchInteractionsRequest as FetchQuery => asked!(Interactions);
    FetchBranchesRequest as FetchQuery => asked!(Branches);
    FetchClientRequest as FetchQuery => asked!(Client);
    FetchEventRequest as FetchQuery => asked!(Event);
    FetchFraudListRequest as FetchQuery => asked!(FraudList);
    CheckNameRequest as FetchQuery => asked!(CheckName);
    FetchTransactionsResponse as FetchAnswer => answered;
    FetchOperationsResponse as FetchAnswer => answered;
    FetchInteractionsResponse as FetchAnswer => answered;
    FetchBranchesResponse as FetchAnswer => answered;
    FetchClientResponse as FetchAnswer => answered;
    FetchEventResponse as FetchAnswer => answered;
    FetchFraudListResponse as FetchAnswer => answered;
    CheckNameResponse as FetchAnswer => answered;
    JoinResponse as JoinAnswer => |answer| answer.into();
    HeartbeatRequest as (WorkerId, Epoch) => |(id, epoch)| (id, *epoch).into();
    HeartbeatResponse as HeartbeatAnswer => |answer| (*answer).into();
    LeaveRequest as (WorkerId, Epoch) => |(id, epoch)| (id, *epoch).into();
};

/// Checks the laws of a message.
pub fn protobuf(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    if let Some((_, check)) = MESSAGES.get(usize::from(*choice)) {
        check(bytes);
    }
}

fn round_trip<M, T>(bytes: &[u8], sent: fn(&T) -> M, same: fn(&T, &T) -> bool) -> Option<Vec<u8>>
where
    M: Message + Default + PartialEq + Clone,
    T: TryFrom<M, Error = ConvertError>,
{
    let value = T::try_from(decoded::<M>(bytes)?);
    let value = value.map_err(|error| is_for_people(&error.to_string())).ok()?;
    let message = sent(&value);
    let again = T::try_from(message.clone()).expect("what is sent is taken");
    assert!(same(&again, &value), "a value changes on its way");
    assert!(sent(&again) == message, "a message changes on its way");
    Some(message.encode_to_vec())
}

/// Reads a message, and checks that it is the same when it is written and read again.
fn decoded<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice());
    assert!(again.as_ref() == Ok(&message), "a message is written as another one");
    Some(message)
}

fn is_for_people(text: &str) {
    assert!(text.len() <= MAX_TEXT_BYTES, "{} bytes are no sentence", text.len());
    assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "a text repeats what came");
}

fn identified(
    (id, incarnation, protocol): &(WorkerId, Incarnation, ProtocolVersion),
) -> v1::IdentifyResponse {
    v1::IdentifyResponse { protocol_version: protocol.0, ..(id, *incarnation).into() }
}

/// A token has no equality, so that nobody compares it in a time that tells: here its text has.
fn joins(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_same = |one: &JoinRequest, other: &JoinRequest| {
        let rest =
            |join: &JoinRequest| (join.id.clone(), join.address.clone(), join.incarnation, join.protocol);
        rest(one) == rest(other) && one.token.reveal() == other.token.reveal()
    };
    round_trip::<v1::JoinRequest, _>(bytes, |join| join.into(), is_same)
}

/// Checks what clients submit, each submission by itself.
fn submissions(bytes: &[u8]) -> Option<Vec<u8>> {
    let request = decoded::<v1::IngestRequest>(bytes)?;
    let taken = |submission| {
        let fresh_id = || EventId::new("fresh").ok();
        let currency = "CZK".parse().expect("CZK is a currency");
        event_from(submission, currency, StandingClock.now(), fresh_id)
    };
    let sent = |submission| match taken(submission) {
        Ok(event) => {
            let submission = v1::Submission::from(&event);
            assert!(taken(submission.clone()) == Ok(event), "an event changes when it is sent again");
            Some(submission)
        }
        Err(rejected) => {
            is_for_people(&rejected.rejection.detail);
            None
        }
    };
    let events: Vec<_> = request.events.into_iter().map(sent).collect();
    Some(v1::IngestRequest { events: events.into_iter().collect::<Option<_>>()? }.encode_to_vec())
}
