use std::collections::HashMap;
use std::sync::Arc;

use mini_platform_core::domain::{Event, ListVersion};
use mini_platform_core::error::{DispatchError, SourceError};
use prost::Message;
use tonic::TimeoutExpired;
use tonic_types::{ErrorDetails, StatusExt, pb};

use super::*;
use crate::v1;

const PAUSE: Duration = Duration::from_millis(250);

/// All kinds, with the code that each has.
const KINDS: [(FaultKind, Code); 6] = [
    (FaultKind::Unavailable, Code::Unavailable),
    (FaultKind::Timeout, Code::DeadlineExceeded),
    (FaultKind::Throttled, Code::ResourceExhausted),
    (FaultKind::Denied, Code::PermissionDenied),
    (FaultKind::Corrupt, Code::DataLoss),
    (FaultKind::Internal, Code::Internal),
];

fn fault(kind: FaultKind) -> Fault {
    Fault::new("mongodb", "append events", kind).with_source("no primary")
}

/// A fault of each kind, without and with a pause that the backend asked for.
fn faults() -> impl Iterator<Item = (fn(FaultKind) -> Fault, FaultKind, Code)> {
    let paused: fn(FaultKind) -> Fault = |kind| fault(kind).with_retry_after(PAUSE);
    let plain: fn(FaultKind) -> Fault = fault;
    [plain, paused].into_iter().flat_map(|make| KINDS.map(|(kind, code)| (make, kind, code)))
}

fn reason_of(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.domain, "mini-platform");
    info.reason
}

/// Sends a status through headers, as it travels.
fn sent(status: &Status) -> Status {
    let headers = status.clone().into_http::<()>().into_parts().0.headers;
    Status::from_header_map(&headers).unwrap()
}

fn ingest_kind(error: &IngestError) -> FaultKind {
    match error {
        IngestError::Screen(RegistryError::Fault(fault))
        | IngestError::Append(StoreError::Fault(fault))
        | IngestError::Link(StoreError::Fault(fault))
        | IngestError::Fault(fault) => fault.kind(),
        other => panic!("there is no fault behind {other}"),
    }
}

fn fetch_kind(error: &FetchError) -> FaultKind {
    match error {
        FetchError::Store(StoreError::Fault(fault))
        | FetchError::Registry(RegistryError::Fault(fault))
        | FetchError::Fault(fault) => fault.kind(),
        other => panic!("there is no fault behind {other}"),
    }
}

/// Where a call fails, and the reason of it.
type Place<E> = (fn(Fault) -> E, &'static str);

const INGEST: [Place<IngestError>; 4] = [
    (|fault| IngestError::Screen(fault.into()), "SCREENING_FAILED"),
    (|fault| IngestError::Append(fault.into()), "STORE_FAILED"),
    (|fault| IngestError::Link(fault.into()), "LINKING_FAILED"),
    (IngestError::Fault, "WORKER_FAILED"),
];

const FETCH: [Place<FetchError>; 3] = [
    (|fault| FetchError::Store(fault.into()), "STORE_FAILED"),
    (|fault| FetchError::Registry(fault.into()), "REGISTRY_FAILED"),
    (FetchError::Fault, "WORKER_FAILED"),
];

#[test]
fn an_ingest_error_survives_the_way_to_another_program() {
    for (make, reason) in INGEST {
        for (fault, kind, code) in faults() {
            let error = make(fault(kind));
            let status = sent(&ingest_error_to_status(&error));
            assert_eq!((status.code(), reason_of(&status).as_str()), (code, reason));
            let arrived = status_to_ingest_error(&status);
            assert_eq!(std::mem::discriminant(&arrived), std::mem::discriminant(&error), "{reason} {kind:?}");
            assert_eq!(arrived.retry(), error.retry(), "{reason} {kind:?}");
            assert_eq!(arrived.is_unreachable(), error.is_unreachable(), "{reason} {kind:?}");
            assert_eq!(ingest_kind(&arrived), kind);
            assert!(chain(&arrived).contains("no primary"), "{}", chain(&arrived));
        }
    }
}

#[test]
fn a_fetch_error_survives_the_way_to_another_program() {
    for (make, reason) in FETCH {
        for (fault, kind, code) in faults() {
            let error = make(fault(kind));
            let status = sent(&fetch_error_to_status(&error));
            assert_eq!((status.code(), reason_of(&status).as_str()), (code, reason));
            let arrived = status_to_fetch_error(&status);
            assert_eq!(std::mem::discriminant(&arrived), std::mem::discriminant(&error), "{reason} {kind:?}");
            assert_eq!(arrived.retry(), error.retry(), "{reason} {kind:?}");
            assert_eq!(arrived.is_unreachable(), error.is_unreachable(), "{reason} {kind:?}");
            assert_eq!(fetch_kind(&arrived), kind);
        }
    }
}

#[test]
fn a_missing_fraud_list_survives_as_such() {
    let ingest = sent(&ingest_error_to_status(&IngestError::Screen(RegistryError::NoList)));
    let fetch = sent(&fetch_error_to_status(&FetchError::Registry(RegistryError::NoList)));
    for status in [&ingest, &fetch] {
        assert_eq!((status.code(), reason_of(status).as_str()), (Code::Unavailable, "NO_FRAUD_LIST"));
        assert!(status.get_details_retry_info().is_none());
    }
    let arrived = status_to_ingest_error(&ingest);
    assert!(matches!(arrived, IngestError::Screen(RegistryError::NoList)) && !arrived.is_unreachable());
    assert!(matches!(status_to_fetch_error(&fetch), FetchError::Registry(RegistryError::NoList)));
}

#[test]
fn registry_errors_that_no_call_of_a_worker_has_keep_their_retry_class() {
    let version: ListVersion = "2026-01-31T08:00:00Z_9f86d081".parse().unwrap();
    let place = "file:list.csv".to_owned();
    let unknown = || RegistryError::UnknownVersion(version.clone());
    let refused = || RegistryError::Refused(SourceError::NotFound { place: place.clone() });
    for (make, code) in
        [(&unknown as &dyn Fn() -> RegistryError, Code::Internal), (&refused, Code::Unavailable)]
    {
        let status = sent(&ingest_error_to_status(&IngestError::Screen(make())));
        assert_eq!((status.code(), reason_of(&status).as_str()), (code, "SCREENING_FAILED"));
        assert_eq!(status_to_ingest_error(&status).retry(), make().retry());
        let status = sent(&fetch_error_to_status(&FetchError::Registry(make())));
        assert_eq!((status.code(), reason_of(&status).as_str()), (code, "REGISTRY_FAILED"));
        assert_eq!(status_to_fetch_error(&status).retry(), make().retry());
    }
}

#[test]
fn a_fault_survives_the_way_to_another_program() {
    for (make, kind, code) in faults() {
        let status = sent(&fault_to_status(&make(kind)));
        assert_eq!((status.code(), reason_of(&status).as_str()), (code, "DISPATCHER_FAILED"));
        let arrived = status_to_fault(&status, "dispatcher", "join");
        assert_eq!((arrived.kind(), arrived.retry()), (kind, make(kind).retry()));
        assert!(arrived.to_string().starts_with("dispatcher failed to join: "));
    }
}

#[test]
fn a_worker_that_is_full_or_about_to_stop_says_so() {
    let status = sent(&overloaded(PAUSE));
    assert_eq!((status.code(), reason_of(&status).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    let arrived = status_to_ingest_error(&status);
    assert_eq!((arrived.retry(), arrived.is_unreachable()), (Retry::After(PAUSE), false));

    let status = sent(&shutting_down());
    assert_eq!((status.code(), reason_of(&status).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    let arrived = status_to_ingest_error(&status);
    assert_eq!((arrived.retry(), arrived.is_unreachable()), (Retry::After(Duration::from_secs(1)), true));
}

#[test]
fn the_end_of_the_time_and_a_silent_stream_have_their_reasons() {
    let second = Some(Duration::from_secs(1));
    for (status, code, reason, pause) in [
        (time_is_up(), Code::DeadlineExceeded, "TIMEOUT", None),
        (time_is_up_for_client(), Code::DeadlineExceeded, "TIMEOUT", second),
        (idle(), Code::Unavailable, "IDLE", second),
    ] {
        let status = sent(&status);
        assert_eq!((status.code(), reason_of(&status).as_str()), (code, reason));
        assert_eq!(status.get_details_retry_info().and_then(|info| info.retry_delay), pause, "{reason}");
    }
    assert_eq!(ingest_kind(&status_to_ingest_error(&time_is_up())), FaultKind::Timeout);
}

#[test]
fn who_broke_down_is_said() {
    for (status, reason) in
        [(worker_broke_down(), "WORKER_FAILED"), (dispatcher_broke_down(), "DISPATCHER_FAILED")]
    {
        assert_eq!((status.code(), reason_of(&status).as_str()), (Code::Internal, reason));
        assert!(status.get_details_retry_info().is_none(), "to send it again cannot help");
    }
    let failure = broke_down_failure();
    assert_eq!((failure.reason.as_str(), failure.retry_after_millis), ("DISPATCHER_FAILED", None));
    let status = wrong_answer(&WrongAnswer);
    assert_eq!((status.code(), reason_of(&status).as_str()), (Code::DataLoss, "WORKER_FAILED"));
}

#[test]
fn a_refused_message_names_its_field_and_is_not_sent_again() {
    let refused = Event::try_from(v1::Event::default()).unwrap_err().within_item("events", 3);
    let status = sent(&convert_error_to_status(&refused));
    assert_eq!((status.code(), reason_of(&status).as_str()), (Code::InvalidArgument, "INVALID_MESSAGE"));
    assert_eq!(status.message(), "events[3].id: must not be empty");
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata.get("field").map(String::as_str), Some("events[3].id"));
    let arrived = status_to_ingest_error(&status);
    assert_eq!((arrived.retry(), ingest_kind(&arrived)), (Retry::Never, FaultKind::Internal));

    let failure = convert_error_to_failure(&refused);
    assert_eq!(failure.reason, "INVALID_MESSAGE");
    assert_eq!((failure.detail.as_str(), failure.retry_after_millis), (status.message(), None));
}

/// What a client is told of what a dispatcher can answer.
fn told(error: &DispatchError) -> (Code, String, Option<Duration>) {
    let status = sent(&dispatch_error_to_status(error));
    let pause = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let failure = dispatch_error_to_failure(error);
    assert_eq!((&failure.reason, failure.detail.as_str()), (&reason_of(&status), status.message()));
    assert_eq!(failure.retry_after_millis.map(Duration::from_millis), pause);
    (status.code(), failure.reason, pause)
}

#[test]
fn a_client_of_the_dispatcher_is_told_what_failed_and_when_to_try_again() {
    let second = Some(Duration::from_secs(1));
    let append = |fault: Fault| DispatchError::Ingest(IngestError::Append(fault.into()));
    let read = |fault: Fault| DispatchError::Fetch(FetchError::Store(fault.into()));
    for (error, code, reason, pause) in [
        (DispatchError::NoWorkers, Code::Unavailable, "NO_WORKERS", second),
        (DispatchError::Overloaded, Code::ResourceExhausted, "OVERLOADED", second),
        (DispatchError::Timeout(PAUSE), Code::DeadlineExceeded, "TIMEOUT", second),
        (DispatchError::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN", second),
        (DispatchError::Batch(Arc::new(DispatchError::NoWorkers)), Code::Unavailable, "NO_WORKERS", second),
        (
            DispatchError::Ingest(IngestError::Screen(RegistryError::NoList)),
            Code::Unavailable,
            "NO_FRAUD_LIST",
            second,
        ),
        (append(fault(FaultKind::Unavailable)), Code::Unavailable, "STORE_FAILED", second),
        (append(fault(FaultKind::Timeout)), Code::DeadlineExceeded, "STORE_FAILED", second),
        (
            append(fault(FaultKind::Throttled).with_retry_after(PAUSE)),
            Code::ResourceExhausted,
            "STORE_FAILED",
            Some(PAUSE),
        ),
        (read(fault(FaultKind::Unavailable)), Code::Unavailable, "STORE_FAILED", second),
        (read(fault(FaultKind::Internal)), Code::Internal, "STORE_FAILED", None),
    ] {
        assert_eq!(told(&error), (code, reason.to_owned(), pause), "{error}");
    }
}

#[test]
fn what_a_backend_denies_to_a_worker_is_not_denied_to_the_client() {
    for kind in [FaultKind::Denied, FaultKind::Corrupt, FaultKind::Internal] {
        let error = DispatchError::Ingest(IngestError::Append(fault(kind).into()));
        assert_eq!(told(&error), (Code::Internal, "STORE_FAILED".to_owned(), None));
        assert!(!dispatch_error_to_status(&error).message().contains("no primary"), "causes stay inside");
    }
}

#[test]
fn a_status_of_the_transport_or_a_proxy_is_a_fault_of_the_worker() {
    use FaultKind::{Corrupt, Denied, Internal, Throttled, Timeout, Unavailable};
    for (code, kind) in [
        (Code::Ok, Corrupt),
        (Code::Cancelled, Unavailable),
        (Code::Unknown, Unavailable),
        (Code::InvalidArgument, Internal),
        (Code::DeadlineExceeded, Timeout),
        (Code::NotFound, Internal),
        (Code::AlreadyExists, Internal),
        (Code::PermissionDenied, Denied),
        (Code::ResourceExhausted, Throttled),
        (Code::FailedPrecondition, Internal),
        (Code::Aborted, Unavailable),
        (Code::OutOfRange, Internal),
        (Code::Unimplemented, Internal),
        (Code::Internal, Unavailable),
        (Code::Unavailable, Unavailable),
        (Code::DataLoss, Corrupt),
        (Code::Unauthenticated, Denied),
    ] {
        let status = Status::new(code, "somebody said so");
        let ingest = status_to_ingest_error(&status);
        assert!(matches!(&ingest, IngestError::Fault(fault) if fault.kind() == kind), "{code:?}: {ingest:?}");
        assert_eq!(ingest.is_unreachable(), kind == Unavailable, "{code:?}");
        let fetch = status_to_fetch_error(&status);
        assert!(matches!(&fetch, FetchError::Fault(fault) if fault.kind() == kind), "{code:?}: {fetch:?}");
        assert!(chain(&fetch).contains("somebody said so"));
    }
}

#[test]
fn what_tonic_makes_of_its_own_errors_is_understood() {
    let kind = |error: Box<dyn Error + Send + Sync>| {
        let status = Status::from_error(error);
        status_to_fault(&status, "worker", "answer").kind()
    };
    assert_eq!(kind(Box::new(TimeoutExpired(()))), FaultKind::Timeout);
    assert_eq!(kind("transport error".into()), FaultKind::Unavailable);
    let timed_out_there = sent(&Status::from_error(Box::new(TimeoutExpired(()))));
    assert_eq!(status_to_fault(&timed_out_there, "worker", "answer").kind(), FaultKind::Timeout);
    for io in [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe] {
        let status = Status::from(std::io::Error::from(io));
        assert_eq!(status_to_fault(&status, "worker", "answer").kind(), FaultKind::Unavailable, "{io:?}");
    }
}

#[test]
fn an_older_worker_is_named_as_such() {
    let fault = status_to_fault(&Status::unimplemented(""), "worker", "answer a fetch");
    assert!(chain(&fault).contains("is older"), "{}", chain(&fault));
}

#[test]
fn a_reason_of_a_newer_program_keeps_its_class() {
    for (kind, code) in KINDS {
        let details = ErrorDetails::with_error_info("INVENTED_LATER", "mini-platform", HashMap::new());
        let arrived = status_to_ingest_error(&Status::with_error_details(code, "", details));
        assert!(matches!(&arrived, IngestError::Fault(fault) if fault.kind() == kind), "{arrived:?}");
    }
}

#[test]
fn a_reason_of_another_domain_is_none_of_ours() {
    let details = ErrorDetails::with_error_info("NO_FRAUD_LIST", "elsewhere.example", HashMap::new());
    let arrived = status_to_ingest_error(&Status::with_error_details(Code::Internal, "", details));
    assert!(arrived.is_unreachable(), "{arrived:?}");
}

fn any(type_url: &str, value: &[u8]) -> pb::Status {
    let mut status = pb::Status { code: 14, ..pb::Status::default() };
    status.details.push(Default::default());
    let detail = status.details.last_mut().unwrap();
    detail.type_url = type_url.to_owned();
    detail.value = value.to_vec();
    status
}

fn with_details(details: Vec<u8>) -> Status {
    Status::with_details(Code::Unavailable, "", details.into())
}

#[test]
fn details_that_are_garbage_leave_the_code_to_decide() {
    const INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
    const RETRY: &str = "type.googleapis.com/google.rpc.RetryInfo";
    // A pause of i64::MIN seconds, and one of i32::MIN nanoseconds.
    let least_seconds = b"\x0a\x0b\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01";
    let least_nanos = b"\x0a\x0b\x10\x80\x80\x80\x80\xf8\xff\xff\xff\xff\x01";
    for details in [
        vec![0xff; 100],
        any(INFO, &[0xff; 100]).encode_to_vec(),
        any(RETRY, &[0xff; 100]).encode_to_vec(),
        any(RETRY, least_seconds).encode_to_vec(),
        any(RETRY, least_nanos).encode_to_vec(),
        any(RETRY, b"").encode_to_vec(),
    ] {
        let arrived = status_to_ingest_error(&with_details(details));
        assert_eq!((arrived.retry(), arrived.is_unreachable()), (Retry::Backoff, true));
    }
}

#[test]
fn a_pause_beyond_reason_is_cut() {
    for pause in [Duration::from_hours(2), Duration::MAX] {
        let status = sent(&overloaded(pause));
        assert_eq!(status_to_ingest_error(&status).retry(), Retry::After(MAX_RETRY_AFTER));
    }
}

#[test]
fn a_long_text_is_cut_before_it_is_sent_and_after_it_is_received() {
    let long = "no primary\n".repeat(1_000);
    let error = IngestError::Append(fault(FaultKind::Internal).with_source(long.clone()).into());
    let status = ingest_error_to_status(&error);
    assert!(status.message().len() <= text::MAX_TEXT_BYTES && !status.message().contains('\n'));
    let arrived = status_to_fault(&Status::internal(long), "worker", "answer");
    let said = arrived.source().unwrap().to_string();
    assert!(said.len() <= text::MAX_TEXT_BYTES && !said.contains('\n'));
}

#[test]
fn every_reason_is_found_by_its_name_and_is_promised_in_the_proto_files() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/mini_platform/v1/");
    let promised: String = ["worker.proto", "cluster.proto", "ingest.proto"]
        .map(|file| std::fs::read_to_string(format!("{folder}{file}")).unwrap())
        .concat();
    for reason in Reason::ALL {
        assert_eq!(Reason::named(reason.as_str()), Some(reason));
        assert!(promised.contains(&format!("`{}`", reason.as_str())), "{}", reason.as_str());
    }
    assert_eq!(Reason::named("NOTHING"), None);
}
