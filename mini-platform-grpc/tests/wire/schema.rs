//! All messages, as the files in `proto/` describe them: filled and read without knowing their fields.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::LazyLock;

use mini_platform_grpc::generated::DESCRIPTORS;
use mini_platform_grpc::v1;
use prost::Message;
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap());

/// What texts that may not be shown are filled with.
pub(crate) const SECRET: &str = "Secret";

/// Texts that are no name and no secret: identifiers of ours, and what people are told.
const OPEN_TEXTS: [&str; 12] = [
    "address",
    "code",
    "currency",
    "detail",
    "dial_failure",
    "etag",
    "field",
    "id",
    "next_page_token",
    "reason",
    "source",
    "worker_id",
];

/// A field that no message has yet: number 1000, with the text `later`.
const UNKNOWN_FIELD: &[u8] = b"\xc2\x3e\x05later";

/// The messages of a type in which one field is set, each field in each way that it can be; and the empty message.
/// `later` adds a field of a newer program to each of them and to each message therein.
fn variants(of: &MessageDescriptor, later: bool) -> Vec<DynamicMessage> {
    let mut made = vec![DynamicMessage::new(of.clone())];
    for field in of.fields() {
        for value in values(&field, later) {
            let mut message = DynamicMessage::new(of.clone());
            let value = if field.is_list() { Value::List(vec![value]) } else { value };
            message.set_field(&field, value);
            made.push(message);
        }
    }
    if later { made.iter().map(with_unknown_field).collect() } else { made }
}

fn with_unknown_field(message: &DynamicMessage) -> DynamicMessage {
    let mut bytes = message.encode_to_vec();
    bytes.extend_from_slice(UNKNOWN_FIELD);
    DynamicMessage::decode(message.descriptor(), bytes.as_slice()).unwrap()
}

fn values(field: &FieldDescriptor, later: bool) -> Vec<Value> {
    match field.kind() {
        Kind::String => {
            let open = OPEN_TEXTS.contains(&field.name());
            vec![Value::String(if open { "open" } else { SECRET }.to_owned())]
        }
        Kind::Message(of) => variants(&of, later).into_iter().map(Value::Message).collect(),
        Kind::Enum(_) => vec![Value::EnumNumber(1)],
        Kind::Int64 => vec![Value::I64(7)],
        Kind::Uint64 | Kind::Fixed64 => vec![Value::U64(7)],
        Kind::Uint32 => vec![Value::U32(7)],
        other => panic!("{} is a {other:?}: say here how it is filled", field.full_name()),
    }
}

/// A message type of the generated code.
pub(crate) struct Type {
    descriptor: MessageDescriptor,
    debug: fn(&[u8]) -> String,
    copy: fn(&[u8]) -> Vec<u8>,
}

impl Type {
    fn new<M: Message + Default + Debug>(name: &str) -> Self {
        let descriptor = POOL.get_message_by_name(&format!("mini_platform.v1.{name}")).expect(name);
        Self {
            descriptor,
            debug: |bytes| format!("{:?}", M::decode(bytes).unwrap()),
            copy: |bytes| M::decode(bytes).unwrap().encode_to_vec(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.descriptor.full_name()
    }

    /// Returns the `Debug` form of the messages of the type, each with another field set.
    pub(crate) fn debug_forms(&self) -> impl Iterator<Item = String> {
        variants(&self.descriptor, false).into_iter().map(|message| (self.debug)(&message.encode_to_vec()))
    }

    /// Returns messages of the type as bytes: as they are, and as this version writes them after it read them from a
    /// newer program.
    pub(crate) fn before_and_after_a_newer_program(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let now = variants(&self.descriptor, false).into_iter();
        let later = variants(&self.descriptor, true).into_iter();
        now.zip(later).map(|(now, later)| {
            assert_ne!(now.encode_to_vec(), later.encode_to_vec(), "the newer program says more");
            (now.encode_to_vec(), (self.copy)(&later.encode_to_vec()))
        })
    }
}

macro_rules! types {
    ($($message:ty = $name:literal),+ $(,)?) => { vec![$(Type::new::<$message>($name)),+] };
}

/// Returns all message types of the package.
pub(crate) fn all_types() -> Vec<Type> {
    use v1::{check_name_response, event_screening, ingest_stream_response, join_response};
    let types = types![
        v1::BranchLink = "BranchLink",
        v1::BranchPage = "BranchPage",
        v1::CheckNameRequest = "CheckNameRequest",
        v1::CheckNameResponse = "CheckNameResponse",
        check_name_response::Clear = "CheckNameResponse.Clear",
        check_name_response::Hit = "CheckNameResponse.Hit",
        v1::Event = "Event",
        v1::EventBatch = "EventBatch",
        v1::EventPage = "EventPage",
        v1::EventResult = "EventResult",
        v1::EventScreening = "EventScreening",
        event_screening::Clear = "EventScreening.Clear",
        event_screening::Hit = "EventScreening.Hit",
        event_screening::NoSubject = "EventScreening.NoSubject",
        v1::FetchBranchesRequest = "FetchBranchesRequest",
        v1::FetchBranchesResponse = "FetchBranchesResponse",
        v1::FetchClientRequest = "FetchClientRequest",
        v1::FetchClientResponse = "FetchClientResponse",
        v1::FetchEventRequest = "FetchEventRequest",
        v1::FetchEventResponse = "FetchEventResponse",
        v1::FetchFraudListRequest = "FetchFraudListRequest",
        v1::FetchFraudListResponse = "FetchFraudListResponse",
        v1::FetchInteractionsRequest = "FetchInteractionsRequest",
        v1::FetchInteractionsResponse = "FetchInteractionsResponse",
        v1::FetchOperationsRequest = "FetchOperationsRequest",
        v1::FetchOperationsResponse = "FetchOperationsResponse",
        v1::FetchTransactionsRequest = "FetchTransactionsRequest",
        v1::FetchTransactionsResponse = "FetchTransactionsResponse",
        v1::FraudListInfo = "FraudListInfo",
        v1::HeartbeatRequest = "HeartbeatRequest",
        v1::HeartbeatResponse = "HeartbeatResponse",
        v1::IdentifyRequest = "IdentifyRequest",
        v1::IdentifyResponse = "IdentifyResponse",
        v1::IngestRequest = "IngestRequest",
        v1::IngestResponse = "IngestResponse",
        v1::IngestStreamRequest = "IngestStreamRequest",
        v1::IngestStreamResponse = "IngestStreamResponse",
        ingest_stream_response::Failure = "IngestStreamResponse.Failure",
        v1::Interaction = "Interaction",
        v1::InteractionPage = "InteractionPage",
        v1::JoinRequest = "JoinRequest",
        v1::JoinResponse = "JoinResponse",
        join_response::Joined = "JoinResponse.Joined",
        join_response::Rejected = "JoinResponse.Rejected",
        v1::LeaveRequest = "LeaveRequest",
        v1::LeaveResponse = "LeaveResponse",
        v1::ListVersion = "ListVersion",
        v1::Operation = "Operation",
        v1::PageRequest = "PageRequest",
        v1::Recording = "Recording",
        v1::Parked = "Parked",
        v1::Rejection = "Rejection",
        v1::StoredEvent = "StoredEvent",
        v1::Submission = "Submission",
        v1::SubmissionResult = "SubmissionResult",
        v1::TimeRange = "TimeRange",
        v1::Transaction = "Transaction",
        v1::WorkerServiceIngestRequest = "WorkerServiceIngestRequest",
        v1::WorkerServiceIngestResponse = "WorkerServiceIngestResponse",
    ];
    let listed: BTreeSet<&str> = types.iter().map(Type::name).collect();
    let described: Vec<MessageDescriptor> = POOL.all_messages().collect();
    assert_eq!(
        listed,
        described.iter().map(MessageDescriptor::full_name).collect(),
        "list every message here"
    );
    types
}
